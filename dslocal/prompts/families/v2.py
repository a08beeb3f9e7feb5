"""DeepSeek-V2-Chat and V2-Lite-Chat: plain words for turns.

Prompt: the README's "chat template" and the chat_template in tokenizer_config.json. Settings: the
README's sample for vLLM and generation_config.json.
"""

from __future__ import annotations

from dslocal.prompts.settings import Setting, Settings

from .base import BOS, EOS, Family, Signs
from .plain import Plain

README = "V2's README, sample for vLLM"
CONFIG = "V2's generation_config.json"

V2 = Family(
    name="v2",
    title="DeepSeek-V2-Chat and V2-Lite-Chat",
    signs=Signs(
        architectures=frozenset({"deepseek2"}),
        tokens=frozenset((BOS.token, EOS.token)),
        name=r"\bdeepseek ?v2\b",
        template="'Assistant: '",
    ),
    format=Plain(),
    defaults=Settings(
        Setting(0.3, README),
        Setting(0.95, CONFIG),
        Setting(4096, "DeepSeek API of V2, longest answer"),
    ),
)
