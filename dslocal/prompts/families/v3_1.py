"""DeepSeek-V3.1 and V3.1-Terminus (August 2025): the prompt says whether the model reasons.

Prompt: the chat_template in its tokenizer_config.json: ``<think>`` after ``<｜Assistant｜>`` opens
the reasoning, ``</think>`` alone skips it, and earlier answers come without theirs. Tools: the
model card's "ToolCall", for answers without reasoning. Settings: its generation_config.json.
"""

from __future__ import annotations

from dslocal.prompts.messages import Thinking
from dslocal.prompts.settings import Setting, Settings

from .base import Family, Signs
from .base_models import FIM
from .marked import CLOSE, OPEN, Marked
from .r1 import R1
from .tools import V3_1_TOOLS

CONFIG = "V3.1's generation_config.json"

V3_1 = Family(
    name="v3.1",
    title="DeepSeek-V3.1",
    signs=Signs(
        architectures=frozenset({"deepseek2"}),
        tokens=R1.signs.tokens,
        name=r"\bdeepseek( chat)? ?v3 [12]\b",  # V3.2 keeps the turns
        template=r"\bthinking\b",
    ),
    format=Marked(
        begin={Thinking.FORCED: (OPEN,), Thinking.BYPASSED: (CLOSE,)},
        past=(CLOSE,),
        closed=(CLOSE,),
        think=(OPEN, CLOSE),
        tools=V3_1_TOOLS,
    ),
    thinking_modes=(Thinking.BYPASSED, Thinking.FORCED),
    defaults=Settings(
        Setting(0.6, CONFIG),
        Setting(0.95, CONFIG),
        Setting(32768, "DeepSeek API, default for thinking"),
    ),
    fim=FIM,
)
