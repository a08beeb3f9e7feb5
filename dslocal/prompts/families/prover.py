"""DeepSeek-Prover-V2: V3's turns, for Lean 4.

Prompt: its chat_template; what to ask it is in its README's "Quick Start".
"""

from __future__ import annotations

from dslocal.prompts.settings import Setting, Settings

from .base import Family, Signs
from .marked import TURNS, Marked

CHOSEN = "dslocal's choice, as Prover-V1.5's README; Prover-V2's names none"

PROVER = Family(
    name="prover",
    title="DeepSeek-Prover-V2",
    signs=Signs(
        architectures=frozenset({"deepseek2", "llama"}),
        tokens=TURNS,
        name=r"\bprover ?v2\b",
    ),
    format=Marked(),
    defaults=Settings(
        Setting(1.0, CHOSEN),
        Setting(0.95, CHOSEN),
        Setting(8192, "Prover-V2's README, Quick Start"),
    ),
)
