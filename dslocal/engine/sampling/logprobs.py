"""The log probabilities that the model itself gives to tokens.

They are the logarithm of the softmax over the raw logits, whatever was sampled from.
"""

from __future__ import annotations

import math

import numpy as np

from dslocal.types import TokenLogprobs

from .top_n import Floats, ids_near_top


def token_logprobs(logits: Floats, token: int, top: int) -> TokenLogprobs:
    """Return the logprob of ``token`` and of the likeliest tokens, at temperature 1.

    The sum is taken in float64.

    Args:
        logits: float32 ``[n_vocab]``.
        token: The token that was taken.
        top: How many of the likeliest tokens are listed; impossible ones never are.
    """
    best = float(logits.max())
    weights = np.subtract(logits, np.float32(best))
    np.exp(weights, out=weights)
    log_sum = best + math.log(float(weights.sum(dtype=np.float64)))
    listed: tuple[tuple[int, float], ...] = ()
    if top:
        ids = ids_near_top(logits, min(top, len(logits)))
        ids = ids[np.argsort(-logits[ids], kind="stable")[:top]]
        listed = tuple((int(id), float(logits[id]) - log_sum) for id in ids if logits[id] > -np.inf)
    return TokenLogprobs(token, float(logits[token]) - log_sum, listed)
