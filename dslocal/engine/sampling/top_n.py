"""Find the likeliest tokens of a vocabulary without sorting all of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.intp]

ROWS = 256  # the vocabulary is looked at as a matrix of so many rows


def ids_near_top(logits: Floats, n: int) -> Ids:
    """Return the ids of all tokens that may be among the ``n`` likeliest, ascending.

    For small ``n`` each logit is looked at once: the maximum of a column is the logit of some
    token, so the n-th largest maximum is at most the n-th largest logit.

    Args:
        logits: float32 ``[n_vocab]``.
        n: From 1 to n_vocab.
    """
    columns = len(logits) // ROWS
    if n <= columns:
        maxima = logits[: columns * ROWS].reshape(ROWS, columns).max(axis=0)
        least = np.partition(maxima, columns - n)[columns - n]
    else:
        least = np.partition(logits, len(logits) - n)[len(logits) - n]
    return np.flatnonzero(logits >= least)


def top_ids(logits: Floats, n: int) -> Ids:
    """Return the ids of the ``n`` likeliest tokens, ascending; lower ids first among equals.

    Args:
        logits: float32 ``[n_vocab]``.
        n: From 1 to n_vocab.
    """
    ids = ids_near_top(logits, n)
    near = logits[ids]
    least = np.partition(near, len(near) - n)[len(near) - n]
    n_above = int(np.count_nonzero(near > least))
    surplus = np.flatnonzero(near == least)[n - n_above :]
    return np.delete(ids, surplus)
