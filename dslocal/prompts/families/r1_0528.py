"""DeepSeek-R1-0528 and R1-0528-Qwen3-8B (May 2025).

Prompt: the chat_template in its tokenizer_config.json. The model card on what changed since
January: a system prompt is supported, and ``<think>\\n`` at the beginning of the output is not
needed any more. Settings: its generation_config.json.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.messages import Thinking
from dslocal.prompts.settings import Setting, Settings

from .base import Family, Recommendation, Signs
from .marked import CLOSE, OPEN, REVISED, Marked
from .r1 import BEGIN, CLOSED, DIRECTIVE, R1
from .tools import V3_TOOLS

CARD = "R1-0528 model card"

R1_0528 = Family(
    name="r1-0528",
    title="DeepSeek-R1-0528 and R1-0528-Qwen3-8B",
    signs=Signs(
        architectures=frozenset({"deepseek2", "qwen3"}),
        tokens=R1.signs.tokens,
        name=r"\br1\b.*\b0528\b",
        template=REVISED,
    ),
    format=Marked(begin=BEGIN, closed=CLOSED, think=(OPEN, CLOSE), tools=V3_TOOLS),
    thinking_modes=(Thinking.FREE, Thinking.FORCED, Thinking.BYPASSED),
    defaults=Settings(Setting(0.6, CARD), Setting(0.95, CARD), Setting(32768, CARD)),
    recommendations=(
        Recommendation("temperature", 0.6, 0.6, "R1-0528's model card uses 0.6"),
        Recommendation("top_p", 0.95, 0.95, "R1-0528's model card uses 0.95"),
    ),
    directive=replace(
        DIRECTIVE, source="R1's model card (January), whose recommendations its card continues"
    ),
)
