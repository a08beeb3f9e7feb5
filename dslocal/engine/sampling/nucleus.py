"""Which tokens temperature, top-k, top-p and min-p leave, exactly and over the whole vocabulary,
and drawing one of them.

The order is Hugging Face's (``GenerationMixin._get_logits_processor``: temperature, top-k, top-p,
min-p), which is what model cards mean by their numbers; llama.cpp's default chain applies
temperature last. Nothing here knows of seeds, penalties or grammars.

Two ways lead to the same set. Where few tokens carry all but 0.001 % of the mass, only they are
looked at: what the others can weigh at the most is bounded, and where that bound could move the
cut, or many tokens matter, everything is weighed. Even then a token is drawn first and its place
looked up; only where it has to be known is the cut made, and of what lies near it alone is anything
sorted: a sample of the vocabulary says where that is, and whether it was right is checked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.intp]

FEW = 8192  # candidates that are sorted outright
UNSEEN = 1e-5  # what the tokens outside the window weigh at the most, the likeliest being 1
BLOCK = 256  # weights that are summed together, so that a draw walks through two short lists
# below this float32 cannot divide by a temperature; what is drawn is the same long before
COOLEST = 1e-30
IMPOSSIBLE = 5e-324  # the least float64 above 0: what weighs less is not kept
NEAR = 24  # sampled tokens on either side of the presumed cut that are looked at in any case
STRIDE = 64  # one token in so many is in the sample


@dataclass(frozen=True, slots=True)
class Few:
    """What is kept of few candidates. ``ids`` ascending and ``logits`` are theirs, ``values`` the
    kept ones' logits from the likeliest down, ``mass`` float64 their weights added up."""

    ids: Ids
    logits: Floats
    values: Floats
    mass: NDArray[np.float64]

    def kept(self) -> Ids:
        """Ids from the likeliest down, lower ones first among equals."""
        return self.ids[np.argsort(-self.logits, kind="stable")[: len(self.values)]]

    def pick(self, share: float) -> int:
        """The id at ``share`` (0 to 1) of the mass, counted from the likeliest down."""
        at = min(
            int(self.mass.searchsorted(share * self.mass[-1], side="right")), len(self.values) - 1
        )
        value = self.values[at]
        before = int((self.values == value).argmax())
        return int(self.ids[np.flatnonzero(self.logits == value)[at - before]])


@dataclass(frozen=True, slots=True)
class Many:
    """What is kept of a whole vocabulary: ``weights`` float32, 0 where not kept, as rows of BLOCK;
    ``chosen`` bool ``[n_vocab]`` or all.
    """

    weights: Floats
    chosen: NDArray[np.bool_] | None

    def kept(self) -> Ids:
        """Ids in ascending order."""
        return np.flatnonzero(self.weights.ravel() if self.chosen is None else self.chosen)

    def pick(self, share: float) -> int:
        """The id at ``share`` (0 to 1) of the mass, counted by id."""
        return self.locate(share)[0]

    def locate(self, share: float) -> tuple[int, float, float]:
        """The id at ``share``, where in its own weight that lies, 0 to 1, and the mass of all."""
        mass = np.cumsum(_block_sums(self.weights), dtype=np.float64)
        at = share * mass[-1]
        row = min(int(mass.searchsorted(at, side="right")), len(mass) - 1)
        at -= mass[row - 1] if row else 0.0
        block = np.cumsum(self.weights[row], dtype=np.float64)
        column = int(block.searchsorted(at, side="right"))
        if column == BLOCK or not self.weights[row, column]:
            return row * BLOCK + int(np.flatnonzero(self.weights[row])[-1]), 0.0, float(mass[-1])
        within = (at - (block[column - 1] if column else 0.0)) / self.weights[row, column]
        return row * BLOCK + column, float(within), float(mass[-1])


class Uncut:
    """Many tokens of which top-p leaves out some, to be known only if need be.

    A token is drawn from all; nearly always one look at what is likelier than it tells that it is
    kept. Else the cut is made, and where in the refused token's weight the draw fell is the next
    draw: evenly spread whichever token it was.
    """

    def __init__(self, nucleus: Nucleus, logits: Floats, top: float) -> None:
        self._nucleus, self._logits, self._top = nucleus, logits, top

    def kept(self) -> Ids:
        """Ids in ascending order."""
        return self._nucleus.exactly(self._logits, self._top).kept()

    def pick(self, share: float) -> int:
        """An id, by ``share`` from 0 to 1."""
        token, rest, total = Many(self._nucleus.weigh(self._logits, self._top), None).locate(share)
        return (
            token
            if self._nucleus.keeps(self._logits, token, total)
            else self._nucleus.exactly(self._logits, self._top).pick(rest)
        )


class Nucleus:
    """Cuts and draws. ``top_k`` 0, ``top_p`` 1 and ``min_p`` 0 keep everything; ``temperature`` is
    above 0.

    ``top_k`` keeps the K likeliest tokens, the lower id among equals; ``top_p`` the smallest set of
    likeliest tokens that reaches that share of what top-k left; ``min_p`` those at least that
    likely as a share of the likeliest. One token is always kept.
    """

    def __init__(self, temperature: float, top_k: int, top_p: float, min_p: float) -> None:
        self.temperature, self.top_k, self.top_p, self.min_p = (
            max(temperature, COOLEST),
            top_k,
            top_p,
            min_p,
        )
        self._weights = self._scratch = np.zeros((0, BLOCK), np.float32)
        self._mask = self._other = np.zeros(0, np.bool_)

    def cut(self, logits: Floats, top: float) -> Few | Many | Uncut:
        """What is kept of float32 ``[n_vocab]``, whose maximum is ``top``; it holds until the next
        call.
        """
        self._prepare(len(logits))
        if self.top_k == 0 and self.top_p >= 1 and self.min_p <= 0:
            return Many(self.weigh(logits, top), None)
        ids, each = self.window(logits, top)
        if ids is not None and (few := self.few(ids, logits[ids], each, len(logits) - len(ids))):
            return few
        if 0 < self.top_k < len(logits):
            ids = _likeliest(logits, self.top_k)
            if len(ids) <= FEW and (few := self.few(ids, logits[ids])):
                return few
            logits = _only(logits, ids)
        if len(logits) <= FEW and (few := self.few(np.arange(len(logits)), logits)):
            return few
        return self.exactly(logits, top) if self.min_p > 0 else Uncut(self, logits, top)

    def window(self, logits: Floats, top: float) -> tuple[Ids | None, float]:
        """Ids of the tokens that weigh anything next to the likeliest, None when they are many; and
        what each other weighs at most.
        """
        self._prepare(len(logits))
        floor = np.float32(top - self.temperature * math.log(len(logits) / UNSEEN))
        each = math.exp(min(0.0, (float(floor) - top) / self.temperature))
        if (
            STRIDE * np.count_nonzero(logits[::STRIDE] >= floor) > 2 * FEW
        ):  # a sample is enough to tell that they are many
            return None, each
        inside = np.greater_equal(logits, floor, out=self._mask)
        return (np.flatnonzero(inside) if np.count_nonzero(inside) <= FEW else None), each

    def few(self, ids: Ids, logits: Floats, each: float = 0.0, others: int = 0) -> Few | None:
        """What is kept of ``ids``, ascending, and ``logits``, theirs, beside ``others`` tokens that
        weigh ``each`` at the most.

        None where it depends on those others. Weights are in terms of the likeliest one's.
        """
        values = np.sort(logits)[::-1]
        weights = np.exp((values.astype(np.float64) - float(values[0])) / self.temperature)
        if self.top_k:
            if others and len(values) < self.top_k:
                return None
            values, weights, others = values[: self.top_k], weights[: self.top_k], 0
        mass = np.cumsum(weights)
        kept = len(values)
        if self.top_p < 1:
            kept = int(mass.searchsorted(self.top_p * mass[-1])) + 1
            if (
                others
                and kept != int(mass.searchsorted(self.top_p * (mass[-1] + others * each))) + 1
            ):
                return None
        elif others and each >= self.min_p:
            return None
        possible = len(weights) - int(
            weights[::-1].searchsorted(max(self.min_p, IMPOSSIBLE), side="left")
        )
        kept = min(kept, possible)
        return Few(ids, logits, values[: max(kept, 1)], mass[: max(kept, 1)])

    def _prepare(self, n: int) -> None:
        """Working memory for ``n`` tokens: fresh arrays of this size cost more than what is done in
        them.
        """
        if len(self._mask) != n:
            rows = -(-n // BLOCK)
            self._weights, self._scratch = (
                np.zeros((rows, BLOCK), np.float32),
                np.zeros((rows, BLOCK), np.float32),
            )
            self._mask, self._other = np.zeros(n, np.bool_), np.zeros(n, np.bool_)

    def weigh(self, logits: Floats, top: float) -> Floats:
        """Weights in rows of BLOCK, the last one's end filled with 0."""
        flat = self._weights.reshape(-1)[: len(logits)]
        np.subtract(logits, np.float32(top), out=flat)
        np.divide(flat, np.float32(self.temperature), out=flat)
        np.exp(flat, out=flat)
        return self._weights

    def keeps(self, logits: Floats, token: int, total: float) -> bool:
        """Whether top-p keeps ``token``. The weights have been filled in and are ``total``
        together.
        """
        value = logits[token]
        before = self._mass_above(logits, float(value))
        before += float(self._weights.reshape(-1)[token]) * int(
            np.count_nonzero(logits[:token] == value)
        )
        return before < self.top_p * total

    def exactly(self, logits: Floats, top: float) -> Many:
        """What top-p and min-p leave of all."""
        weights = self.weigh(logits, top)
        if self.top_p < 1:
            total = float(_block_sums(weights).sum(dtype=np.float64))
            least, equals = self._least(logits, top, total)
        else:
            least, equals = -math.inf, len(logits)
        floor = top + self.temperature * math.log(self.min_p) if self.min_p > 0 else -math.inf
        if floor > least:
            chosen = np.greater_equal(logits, np.float32(floor), out=self._mask)
        else:
            chosen = np.greater(logits, np.float32(least), out=self._mask)
            chosen[
                np.flatnonzero(np.equal(logits, np.float32(least), out=self._other))[:equals]
            ] = math.isfinite(least)
        np.multiply(
            weights.reshape(-1)[: len(logits)], chosen, out=self._scratch.reshape(-1)[: len(logits)]
        )
        return Many(self._scratch, chosen)

    def _least(self, logits: Floats, top: float, total: float) -> tuple[float, int]:
        """The lowest logit that top-p keeps, and of how many tokens with it. The weights have been
        filled in and are ``total`` together.

        The mass below the cut is estimated from a sample rather than that above it: no single token
        makes much of it.
        """
        target, drop = self.top_p * total, (1 - self.top_p) * total
        sample = np.sort(logits[::STRIDE])
        below = np.cumsum(np.exp((sample.astype(np.float64) - top) / self.temperature)) * STRIDE
        first, last = (int(below.searchsorted(share * drop)) for share in (0.95, 1.05))
        low = float(sample[first - NEAR]) if first > NEAR else -math.inf
        high = float(sample[last + NEAR]) if last + NEAR < len(sample) else math.inf
        for last_try in (False, True):
            above = self._mass_above(logits, high)
            between = np.greater_equal(logits, np.float32(low), out=self._mask)
            between &= np.less_equal(logits, np.float32(high), out=self._other)
            values = np.sort(logits[np.flatnonzero(between)])[::-1]
            mass = above + np.cumsum(np.exp((values.astype(np.float64) - top) / self.temperature))
            at = int(mass.searchsorted(target))
            if last_try or (above < target and at < len(mass)):
                break
            low, high = (high, math.inf) if above >= target else (-math.inf, low)
        at = min(at, len(mass) - 1)
        return float(values[at]), at + 1 - int((values == values[at]).argmax())

    def _mass_above(self, logits: Floats, least: float) -> float:
        if least == math.inf:
            return 0.0
        above = np.flatnonzero(np.greater(logits, np.float32(least), out=self._mask))
        return float(self._weights.reshape(-1).take(above).sum(dtype=np.float64))


def likely(logits: Floats, n: int) -> Ids:
    """Ids of all tokens that may be among the ``n`` likeliest, ascending; for few of them without a
    look at more than each once.

    A column's maximum is a token's logit, so that the n-th largest of them is no more than the n-th
    largest of all.
    """
    columns = len(logits) // BLOCK
    if n <= columns:
        best = logits[: columns * BLOCK].reshape(BLOCK, columns).max(axis=0)
        least = np.partition(best, columns - n)[columns - n]
    else:
        least = np.partition(logits, len(logits) - n)[len(logits) - n]
    return np.flatnonzero(logits >= least)


def _likeliest(logits: Floats, n: int) -> Ids:
    """Ids of the ``n`` likeliest tokens, ascending; the lower ones among equals."""
    ids = likely(logits, n)
    theirs = logits[ids]
    least = np.partition(theirs, len(theirs) - n)[len(theirs) - n]
    equal = np.flatnonzero(theirs == least)
    surplus = equal[n - int(np.count_nonzero(theirs > least)) :]
    return np.delete(ids, surplus)


def _only(logits: Floats, ids: Ids) -> Floats:
    """``logits`` of ``ids``, all others impossible."""
    left = np.full_like(logits, -np.inf)
    left[ids] = logits[ids]
    return left


def _block_sums(weights: Floats) -> Floats:
    """float32 ``[rows]``. Sums of 256 in float32 are good to 1e-7; they are added up in float64."""
    sums: Floats = np.einsum("ij->i", weights)
    return sums
