"""DeepSeek-V3-0324 (March 2025): V3's turns, and a temperature that DeepSeek maps.

The model card, "Temperature": 0.3 in DeepSeek's own web and application; the API's temperature of
1.0 is mapped to 0.3.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.settings import Setting, Settings

from .base import Recommendation
from .marked import REVISED
from .v3 import V3

CARD = "V3-0324 model card, Temperature"

V3_0324 = replace(
    V3,
    name="v3-0324",
    title="DeepSeek-V3-0324",
    signs=replace(V3.signs, name=r"\bv3\b.*\b0324\b", template=REVISED),
    defaults=Settings(
        Setting(0.3, CARD),
        Setting(0.95, "V3-0324's generation_config.json"),
        V3.defaults.max_tokens,
    ),
    recommendations=(
        Recommendation(
            "temperature", 0.3, 0.3, "V3-0324's model card uses 0.3 (which the API calls 1.0)"
        ),
    ),
)
