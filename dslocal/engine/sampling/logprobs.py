"""How likely the model itself finds a token: the logarithm of its softmax over the raw logits,
whatever was sampled from.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dslocal.types import TokenLogprobs

from .nucleus import likely

Floats = NDArray[np.float32]


def logprobs(logits: Floats, token: int, top: int) -> TokenLogprobs:
    """Of float32 ``[n_vocab]`` at temperature 1, with the ``top`` likeliest. The sum is taken in
    float64; -inf is never among ``top``.
    """
    best = float(logits.max())
    weights = np.subtract(logits, np.float32(best))
    np.exp(weights, out=weights)
    norm = best + math.log(float(weights.sum(dtype=np.float64)))
    listed: tuple[tuple[int, float], ...] = ()
    if top:
        ids = likely(logits, min(top, len(logits)))
        ids = ids[np.argsort(-logits[ids], kind="stable")[:top]]
        listed = tuple((int(i), float(logits[i]) - norm) for i in ids if logits[i] > -np.inf)
    return TokenLogprobs(token, float(logits[token]) - norm, listed)
