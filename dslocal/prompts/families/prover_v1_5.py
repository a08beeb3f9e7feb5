"""DeepSeek-Prover-V1.5 SFT and RL: they complete Lean 4 code and have no turns.

Prompt and settings: the README's "Quick Start".
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.prompts.settings import Setting, Settings

from .base_models import BASE

README = "Prover-V1.5's README, Quick Start"

PROVER_V1_5 = replace(
    BASE,
    name="prover-v1.5",
    title="DeepSeek-Prover-V1.5",
    signs=replace(BASE.signs, architectures=frozenset({"llama"}), name=r"\bprover ?v1\b"),
    defaults=Settings(Setting(1.0, README), Setting(0.95, README), Setting(2048, README)),
)
