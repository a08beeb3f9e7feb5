"""DeepSeek LLM 7B Chat and 67B Chat.

Prompt: the README's "Chat Completion", which also advises against a system prompt. Settings: its
generation_config.json.
"""

from __future__ import annotations

from dslocal.prompts.settings import Setting, Settings

from .base import BOS, EOS, Family, Signs
from .plain import Plain

CONFIG = "DeepSeek LLM's generation_config.json"

LLM = Family(
    name="llm",
    title="DeepSeek LLM Chat",
    signs=Signs(
        architectures=frozenset({"llama"}),
        tokens=frozenset((BOS.token, EOS.token)),
        name=r"\bdeepseek llm\b",
        template="'Assistant: '",
    ),
    format=Plain(),
    defaults=Settings(
        Setting(0.7, CONFIG), Setting(0.95, CONFIG), Setting(2048, "half of its context of 4,096")
    ),
    against_system="its model card does not recommend one: these models were not trained with it",
)
