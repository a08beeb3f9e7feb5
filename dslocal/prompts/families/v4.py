"""DeepSeek-V4-Flash and V4-Pro: the previews of April 2026, and what replaced them since July.

Prompt: encoding/encoding_dsv4.py beside the weights. Both generations write turns and tool calls
alike. They differ in the words for an effort: the preview's "max" is the later "high". Settings:
the model cards.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.messages import Thinking
from dslocal.prompts.settings import Setting, Settings

from .base import Family, Recommendation, Signs
from .base_models import FIM
from .dsml import Dsml
from .dsml_tools import DSML, V4_DECLARATION, DsmlToolFormat
from .r1 import R1

CARD = "V4's model card"
LATER = "V4-Flash-0731's model card"
LONGEST = "DeepSeek API, default for thinking"
MAX_OUTPUT_ADVICE = (
    "V4-Flash-0731's model card: 1.0, and 0.95 for agents; the API keeps it in that range"
)

THOROUGH = (
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
    "resolve the root cause, rigorously stress-testing your logic against all potential paths, "
    "edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, "
    "considered alternative, and rejected hypothesis to ensure absolutely no assumption is left "
    "unchecked.\n\n"
)
UNCOMPROMISING = (
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
    "exhaustively decompose the problem into its most fundamental components, trace every causal "
    "chain to its root, and resolve the underlying cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple angles "
    "and are certain that no assumption remains unchecked and no error remains undiscovered.\n\n"
)

V4 = Family(
    name="v4",
    title="DeepSeek-V4-Flash and V4-Pro (April 2026, previews)",
    signs=Signs(
        architectures=frozenset({"deepseek4"}),
        tokens=R1.signs.tokens | {DSML.token},
        name=r"\bdeepseek ?v4\b|\bv4 (flash|pro)\b",
        template=r"\A(?!.*reasoning_effort_high)(?s:.*)DSML",
    ),
    format=Dsml(tools=DsmlToolFormat(V4_DECLARATION)),
    thinking_modes=(Thinking.FORCED, Thinking.BYPASSED),
    defaults=Settings(Setting(1.0, CARD), Setting(1.0, CARD), Setting(32768, LONGEST)),
    fim=FIM,
    efforts={"high": "", "max": THOROUGH},
    default_effort="high",
)

V4_0731 = replace(
    V4,
    name="v4-0731",
    title="DeepSeek-V4-Flash-0731, -DSpark and -Vision-Exp, V4-Pro-0813",
    signs=replace(
        V4.signs,
        name=r"\bv4\b.*\b(0731|0813|dspark|vision exp)\b",
        template=r"reasoning_effort_high",
    ),
    defaults=Settings(Setting(1.0, LATER), Setting(1.0, LATER), Setting(32768, LONGEST)),
    recommendations=(Recommendation("top_p", 0.95, 1.0, MAX_OUTPUT_ADVICE),),
    efforts={"low": "", "high": THOROUGH, "max": UNCOMPROMISING},
    default_effort="low",
)
