"""DeepSeek-Math-Instruct and Math-RL: LLM's turns, and a directive with every question.

The directive is the model card's.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.settings import Setting, Settings

from .llm import LLM
from .r1 import DIRECTIVE

CARD = "DeepSeek-Math's README, Quick Start"
CONFIG = "DeepSeek-Math's generation_config.json"

MATH = replace(
    LLM,
    name="math",
    title="DeepSeek-Math",
    signs=replace(LLM.signs, name=r"\bdeepseek ?math\b", template=""),
    defaults=Settings(Setting(0.7, CONFIG), Setting(0.95, CONFIG), LLM.defaults.max_tokens),
    directive=replace(DIRECTIVE, source=CARD),
)
