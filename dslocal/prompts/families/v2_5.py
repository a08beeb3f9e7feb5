"""DeepSeek-V2.5, V2.5-1210 and Coder-V2-Instruct-0724: V2's weights with the turns that V3 kept.

Prompt: the chat_template in its tokenizer_config.json. Tools: the model card's "Function calling".
"""

from __future__ import annotations

from dslocal.prompts.settings import Setting, Settings

from .base import Family, Signs
from .base_models import FIM
from .marked import TURNS, Marked
from .tools import V3_TOOLS

# the template that V2.5 and V3 shared until spring 2025
ORIGINAL = r"(?s)\A(?!.*think).*is_output_first"
README = "V2.5's model card, sample for vLLM"
CONFIG = "V2.5's generation_config.json"

V2_5 = Family(
    name="v2.5",
    title="DeepSeek-V2.5",
    signs=Signs(
        architectures=frozenset({"deepseek2"}),
        tokens=TURNS,
        name=r"\bdeepseek ?v2 5\b|\bcoder ?v2\b.*\b0724\b",
        template=ORIGINAL,
    ),
    format=Marked(tools=V3_TOOLS),
    defaults=Settings(
        Setting(0.3, README),
        Setting(0.95, CONFIG),
        Setting(8192, "DeepSeek API of V2.5, longest answer"),
    ),
    fim=FIM,
)
