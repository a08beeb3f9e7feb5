"""DeepSeek-Coder-V2-Instruct and Coder-V2-Lite-Instruct: V2's turns.

Prompt: the README's "chat template" and the chat_template in tokenizer_config.json. Settings: the
README's sample for vLLM and generation_config.json.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.settings import Setting, Settings

from .base_models import FIM
from .v2 import V2

README = "Coder-V2's README, sample for vLLM"
CONFIG = "Coder-V2's generation_config.json"

CODER_V2 = replace(
    V2,
    name="coder-v2",
    title="DeepSeek-Coder-V2-Instruct",
    signs=replace(V2.signs, name=r"\bcoder ?v2\b", template=""),
    defaults=Settings(
        Setting(0.3, README),
        Setting(0.95, CONFIG),
        Setting(8192, "DeepSeek API of Coder-V2, longest answer"),
    ),
    fim=FIM,
)
