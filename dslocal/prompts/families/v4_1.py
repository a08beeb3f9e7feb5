"""DeepSeek-V4.1-Flash (September 2026): a system token, and an effort from 1 to 100.

Prompt: the vendor's encoder as vLLM has adapted it (vllm/tokenizers/deepseek_v41_encoding.py) and
its recorded prompts. llama.cpp does not run the model yet; other engines do.
"""

from __future__ import annotations

from dslocal.prompts.messages import Thinking
from dslocal.prompts.settings import Setting, Settings

from .base import Family, Signs
from .dsml import SYSTEM, Dsml
from .dsml_tools import DSML, V4_DECLARATION, DsmlToolFormat
from .r1 import R1

CARD = "V4.1-Flash's model card"
LONGEST = "DeepSeek API, default for thinking"
# Each tag's name comes after a space.
V4_1_DECLARATION = (
    V4_DECLARATION.replace("｜tool_calls", "｜ calls")
    .replace("｜invoke", "｜ invoke")
    .replace("｜parameter", "｜ parameter")
)


def _effort(budget: int) -> str:
    return (
        f"Reasoning Effort: {budget} (range 1-100, the higher the value, the more thorough the "
        "reasoning)\n\n"
    )


V4_1 = Family(
    name="v4.1",
    title="DeepSeek-V4.1-Flash",
    signs=Signs(
        architectures=frozenset({"deepseek41"}),
        tokens=R1.signs.tokens | {DSML.token, SYSTEM.token},
        name=r"\bv4 1\b",
    ),
    format=Dsml(
        tools=DsmlToolFormat(
            V4_1_DECLARATION, block=" calls", invoke=" invoke", parameter=" parameter"
        ),
        system=(SYSTEM,),
    ),
    thinking_modes=(Thinking.FORCED, Thinking.BYPASSED),
    defaults=Settings(Setting(1.0, CARD), Setting(1.0, CARD), Setting(32768, LONGEST)),
    efforts={"low": _effort(50), "high": _effort(75), "max": _effort(100)},
    default_effort="high",
)
