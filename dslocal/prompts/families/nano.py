"""nano, the checkpoint that ships with dslocal: R1's format and settings, and fill-in-middle."""

from __future__ import annotations

from dataclasses import replace

from .base_models import FIM, FIM_TOKENS
from .r1 import R1

NANO = replace(
    R1,
    name="nano",
    title="nano, in DeepSeek-R1's format",
    signs=replace(
        R1.signs,
        architectures=frozenset({"deepseek2"}),
        tokens=R1.signs.tokens | FIM_TOKENS,
        name="",
        shape={"embedding_length": 256, "context_length": 4096},
    ),
    fim=FIM,
)
