"""DeepSeek-R1, R1-Zero and the models distilled from it (January 2025).

Prompt: the chat_template in R1's tokenizer_config.json. Settings and rules: the model card's "Usage
Recommendations": temperature 0.5-0.7 (0.6), no system prompt, the directive on mathematics, every
output started with ``<think>\\n``. A system prompt, where there is one, goes in front of the first
user message.
"""

from __future__ import annotations

from dslocal.prompts.messages import PlainText, Thinking
from dslocal.prompts.settings import Setting, Settings

from .base import Directive, Family, Recommendation, Signs
from .marked import CLOSE, OPEN, REASONING_TAGS, TURNS, Marked
from .tools import R1_TOOLS

CARD = "R1 model card, Usage Recommendations"
DIRECTIVE = Directive(
    english="Please reason step by step, and put your final answer within \\boxed{}.",
    chinese="请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。",
    automatic=True,
    source=f"{CARD}; in Chinese from DeepSeek-Math's card",
)
BEGIN = {
    Thinking.FORCED: (OPEN, PlainText("\n")),
    Thinking.FREE: (),
    Thinking.BYPASSED: (OPEN, PlainText("\n\n"), CLOSE, PlainText("\n\n")),
}
CLOSED = (PlainText("\n"), CLOSE, PlainText("\n\n"))

R1 = Family(
    name="r1",
    title="DeepSeek-R1 and its distills",
    signs=Signs(
        architectures=frozenset({"deepseek2", "qwen2", "llama"}),
        tokens=TURNS | REASONING_TAGS,
        name=r"\br1(t\d?)?\b",  # R1T: Chimera, R1 merged with V3
        template=r"(?s)\A(?!.*\bthinking\b).*</think>",  # V3.1's speaks of thinking
    ),
    format=Marked(folded=True, begin=BEGIN, closed=CLOSED, think=(OPEN, CLOSE), tools=R1_TOOLS),
    thinking_modes=(Thinking.FORCED, Thinking.FREE, Thinking.BYPASSED),
    defaults=Settings(Setting(0.6, CARD), Setting(0.95, CARD), Setting(32768, CARD)),
    recommendations=(
        Recommendation(
            "temperature",
            0.5,
            0.7,
            "R1's model card recommends 0.5 to 0.7 (0.6), against endless repetition and "
            "incoherence",
        ),
        Recommendation("top_p", 0.95, 0.95, "R1's model card uses 0.95"),
    ),
    directive=DIRECTIVE,
    against_bypassing="its model card recommends that every answer begins with <think>",
)
