"""DeepSeek-Coder-Instruct (V1): instructions and responses.

Prompt: the chat_template in its tokenizer_config.json, with the system text that stands there when
the user gives none. Settings: the README's "Chat Model Inference" decodes greedily.
"""

from __future__ import annotations

from dslocal.prompts.settings import Setting, Settings

from .base import BOS, EOS, Family, Signs
from .plain import EOT, Instruction

README = "Coder's README, Chat Model Inference"

CODER = Family(
    name="coder",
    title="DeepSeek-Coder-Instruct",
    signs=Signs(
        architectures=frozenset({"llama"}),
        tokens=frozenset(s.token for s in (BOS, EOS, EOT)),
        name=r"\bcoder\b",
        template="### Instruction:",
    ),
    format=Instruction(
        system="You are an AI programming assistant, utilizing the Deepseek Coder model, developed "
        "by Deepseek Company, and you only answer questions related to computer science. For "
        "politically sensitive questions, security and privacy issues, and other non-computer "
        "science questions, you will refuse to answer\n"
    ),
    defaults=Settings(
        Setting(0.0, README),
        Setting(0.95, README),
        Setting(4096, "a quarter of its context of 16,384"),
    ),
)
