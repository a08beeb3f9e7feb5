"""Settings of one answer: the sampling, and the seed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypedDict

from dslocal.errors import UsageError

from .arguments.argument_types import WHOLE_NUMBER, require

MAX_SEED = (1 << 63) - 1


class SamplingSettings(TypedDict, total=False):
    """Settings of one answer. Settings that are left out have the values of the model card.

    ``temperature`` 0 takes the likeliest token. ``max_tokens`` counts reasoning and answer,
    ``think_budget`` only the reasoning. ``stop`` has texts that end the answer. ``logit_bias`` has
    entries such as ``"TOKEN=VALUE"``.
    """

    temperature: float
    top_p: float
    max_tokens: int
    top_k: int
    min_p: float
    presence_penalty: float
    frequency_penalty: float
    repeat_penalty: float
    logit_bias: Sequence[str]
    stop: str | Sequence[str]
    think_budget: int


def new_seed(seed: int | None = None, name: str = "seed") -> int:
    """Return ``seed``, or a new random one.

    Raises:
        UsageError: ``seed`` is not a whole number, is negative, or has more than 63 bits; ``name``
            is in the message.
    """
    if seed is None:
        return int.from_bytes(os.urandom(4), "little")
    require(WHOLE_NUMBER, **{name: seed})
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"{name}: {seed} is out of range", hint=f"0 to {MAX_SEED}")
    return seed
