"""DeepSeek-V3 (December 2024): no reasoning, a system prompt before the first turn.

Prompt: the chat_template in its tokenizer_config.json. Settings: its report and API only name
"temperature 1.0 for general use", in the API's terms; see V3-0324 for what that means.
"""

from __future__ import annotations

from dslocal.prompts.settings import Setting, Settings

from .base import Family, Signs
from .base_models import FIM
from .marked import TURNS, Marked
from .tools import V3_TOOLS
from .v2_5 import ORIGINAL

CHOSEN = "as V3-0324's model card; V3's names none"

V3 = Family(
    name="v3",
    title="DeepSeek-V3 (December 2024)",
    signs=Signs(
        architectures=frozenset({"deepseek2"}),
        tokens=TURNS | {"<｜▁pad▁｜>"},
        name=r"\bdeepseek( chat)? ?v3\b",
        template=ORIGINAL,
    ),
    format=Marked(tools=V3_TOOLS),
    defaults=Settings(
        Setting(0.3, CHOSEN),
        Setting(0.95, CHOSEN),
        Setting(8192, "DeepSeek API, longest answer of deepseek-chat"),
    ),
    fim=FIM,
)
