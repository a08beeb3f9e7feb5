"""DeepSeek-V3.2-Exp, V3.2 and V3.2-Speciale (September and December 2025).

Prompt: encoding/encoding_dsv32.py beside the weights. An answer opens or closes its reasoning, and
earlier answers come without theirs. Speciale always reasons, and its model card has no tool calls.
Settings: generation_config.json.
"""

from __future__ import annotations

from dslocal.prompts.messages import Thinking
from dslocal.prompts.settings import Setting, Settings

from .base import Family, Signs
from .base_models import FIM
from .dsml import Dsml
from .dsml_tools import V3_2_DECLARATION, DsmlToolFormat
from .r1 import R1

CONFIG = "V3.2's generation_config.json"
LONGEST = "DeepSeek API, default for thinking"
SETTINGS = Settings(Setting(1.0, CONFIG), Setting(0.95, CONFIG), Setting(32768, LONGEST))

V3_2 = Family(
    name="v3.2",
    title="DeepSeek-V3.2 and V3.2-Exp",
    signs=Signs(
        architectures=frozenset({"deepseek32"}),
        tokens=R1.signs.tokens,
        name=r"\bdeepseek( chat)? ?v3 2\b",
        template=r"function_calls",
    ),
    format=Dsml(
        tools=DsmlToolFormat(V3_2_DECLARATION, block="function_calls"),
        results="continued",
        keeps_reasoning=False,
    ),
    thinking_modes=(Thinking.FORCED, Thinking.BYPASSED),
    defaults=SETTINGS,
    fim=FIM,
)

V3_2_SPECIALE = Family(
    name="v3.2-speciale",
    title="DeepSeek-V3.2-Speciale",
    signs=Signs(
        architectures=frozenset({"deepseek32"}),
        tokens=R1.signs.tokens,
        name=r"\bspeciale\b",
    ),
    format=Dsml(
        tools=None,
        results="continued",
        keeps_reasoning=False,
    ),
    thinking_modes=(Thinking.FORCED,),
    defaults=SETTINGS,
)
