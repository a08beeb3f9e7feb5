"""Logits of many kinds, each from a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

KINDS = (
    "normal",
    "peaked",
    "flat",
    "equal",
    "ties",
    "one hot",
    "banned",
    "two humps",
    "huge",
    "zipf",
)


def logits_of(kind: str, n: int, seed: int) -> Floats:
    """float32 ``[n]``."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(0, 1, n)
    match kind:
        case "peaked":
            logits *= 6
        case "flat":
            logits *= 0.01
        case "equal":
            logits[:] = dice.normal()
        case "ties":
            logits = np.round(logits * 2)
        case "one hot":
            logits[dice.integers(n)] = 200
        case "banned":
            logits[dice.random(n) < 0.7] = -np.inf
            logits[n // 2] = 0
        case "two humps":
            logits[: n // 2] -= 7
        case "huge":
            logits *= 1e30
        case "zipf":
            logits = dice.permutation(-1.5 * np.log(np.arange(1, n + 1))) + 20
    return logits.astype(np.float32)
