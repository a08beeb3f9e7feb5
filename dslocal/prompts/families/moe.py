"""DeepSeekMoE-16B Chat: LLM's turns on an architecture of its own.

Settings: its generation_config.json.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.settings import Setting, Settings

from .llm import LLM

CONFIG = "DeepSeekMoE's generation_config.json"

MOE = replace(
    LLM,
    name="moe",
    title="DeepSeekMoE-16B Chat",
    signs=replace(LLM.signs, architectures=frozenset({"deepseek"}), name=r"\bdeepseek ?moe\b"),
    defaults=Settings(Setting(0.7, CONFIG), Setting(0.95, CONFIG), LLM.defaults.max_tokens),
)
