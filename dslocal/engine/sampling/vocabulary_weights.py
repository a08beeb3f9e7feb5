"""The weights of a whole vocabulary: filled in, summed and drawn from, in memory that is reused.

Fresh arrays of this size cost more time than what is computed in them. What a method returns is
valid until the next call, so nothing here leaves the package: see :class:`.nucleus.Nucleus`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .top_n import Floats

BLOCK = 256  # weights that are summed together, so that a draw searches two short lists
Mask = NDArray[np.bool_]


class Draw(NamedTuple):
    """A token that was drawn.

    Attributes:
        token: Its id.
        within: Where in the token's own weight the draw fell, 0 to 1. That is evenly spread
            whichever token was drawn, so it can serve as another draw.
        total: The mass of all weights.
    """

    token: int
    within: float
    total: float


class VocabularyWeights:
    """Weights by token id, relative to the likeliest token's 1."""

    def __init__(self) -> None:
        # rows of BLOCK weights; the last row's end stays 0
        self._weights = np.zeros((0, BLOCK), np.float32)
        self._kept_weights = np.zeros((0, BLOCK), np.float32)
        self._mask = np.zeros(0, np.bool_)
        self._other_mask = np.zeros(0, np.bool_)

    def resize(self, n_vocab: int) -> None:
        """Make room for ``n_vocab`` tokens, unless there is just that already."""
        if len(self._mask) == n_vocab:
            return
        rows = -(-n_vocab // BLOCK)
        self._weights = np.zeros((rows, BLOCK), np.float32)
        self._kept_weights = np.zeros((rows, BLOCK), np.float32)
        self._mask = np.zeros(n_vocab, np.bool_)
        self._other_mask = np.zeros(n_vocab, np.bool_)

    def fill(self, logits: Floats, top: float, temperature: float) -> None:
        """Weigh all tokens.

        Args:
            logits: float32 ``[n_vocab]``.
            top: Their maximum.
            temperature: Divides them.
        """
        weights = self._weights.reshape(-1)[: len(logits)]
        np.subtract(logits, np.float32(top), out=weights)
        np.divide(weights, np.float32(temperature), out=weights)
        np.exp(weights, out=weights)

    def total(self) -> float:
        """Return the mass of all weights."""
        return float(_block_sums(self._weights).sum(dtype=np.float64))

    def weight_of(self, token: int) -> float:
        """Return the weight of one token."""
        return float(self._weights.reshape(-1)[token])

    def mass_above(self, logits: Floats, logit: float) -> float:
        """Return the mass of all tokens that are likelier than one with ``logit``."""
        if logit == math.inf:
            return 0.0
        above = np.flatnonzero(np.greater(logits, np.float32(logit), out=self._mask))
        return float(self._weights.reshape(-1).take(above).sum(dtype=np.float64))

    def between(self, logits: Floats, low: float, high: float) -> Floats:
        """Return the logits from ``low`` to ``high``, both included, largest first."""
        inside = np.greater_equal(logits, np.float32(low), out=self._mask)
        inside &= np.less_equal(logits, np.float32(high), out=self._other_mask)
        return np.sort(logits[np.flatnonzero(inside)])[::-1]

    def at_least(self, logits: Floats, least: float) -> Mask:
        """Return which of the ``logits`` are ``least`` or more: bool ``[n_vocab]``."""
        return np.greater_equal(logits, np.float32(least), out=self._mask)

    def above_or_first(self, logits: Floats, least: float, n_equal: int) -> Mask:
        """Return which tokens have logits above ``least``, or are the first ``n_equal`` with it."""
        mask = np.greater(logits, np.float32(least), out=self._mask)
        if math.isfinite(least):
            equal = np.equal(logits, np.float32(least), out=self._other_mask)
            mask[np.flatnonzero(equal)[:n_equal]] = True
        return mask

    def draw(self, share: float) -> Draw:
        """Return the token at ``share`` (0 to 1) of the mass of all, counted by id."""
        return _draw(self._weights, share)

    def draw_among(self, kept: Mask, share: float) -> Draw:
        """Return the token at ``share`` of the mass of those that are ``kept``, counted by id."""
        n = len(kept)
        kept_weights = self._kept_weights.reshape(-1)[:n]
        np.multiply(self._weights.reshape(-1)[:n], kept, out=kept_weights)
        return _draw(self._kept_weights, share)

    def possible(self) -> NDArray[np.intp]:
        """Return the ids of all tokens that weigh anything, ascending."""
        return np.flatnonzero(self._weights.ravel())


def _draw(weights: Floats, share: float) -> Draw:
    """Draw from rows of BLOCK weights: find the row by the rows' sums, then the column."""
    mass = np.cumsum(_block_sums(weights), dtype=np.float64)
    total = float(mass[-1])
    at = share * mass[-1]
    row = min(int(mass.searchsorted(at, side="right")), len(mass) - 1)
    if row:
        at -= mass[row - 1]
    row_mass = np.cumsum(weights[row], dtype=np.float64)
    column = int(row_mass.searchsorted(at, side="right"))
    if column == BLOCK or not weights[row, column]:  # past the last weight, by rounding
        last = int(np.flatnonzero(weights[row])[-1])
        return Draw(row * BLOCK + last, 0.0, total)
    before = row_mass[column - 1] if column else 0.0
    return Draw(row * BLOCK + column, float((at - before) / weights[row, column]), total)


def _block_sums(weights: Floats) -> Floats:
    """Return the sum of each row: float32 ``[rows]``.

    Sums of 256 in float32 are good to 1e-7; they are added up in float64.
    """
    sums: Floats = np.einsum("ij->i", weights)
    return sums
