"""Cut a short list of candidate tokens by top-k, top-p and min-p, and draw one of them.

The candidates are sorted outright, which is exact and quick for some thousands. They need not be
the whole vocabulary: what the other tokens can weigh is bounded, and where that bound could change
what is kept, the result is None and the whole vocabulary has to be weighed (:mod:`.nucleus`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .top_n import Floats, Ids

MIN_WEIGHT = 5e-324  # the least float64 above 0: a token that weighs less cannot be drawn


@dataclass(frozen=True, slots=True)
class Filters:
    """The settings that decide which tokens are kept.

    They apply in the order of Hugging Face's ``GenerationMixin._get_logits_processor``, which is
    what model cards mean by their numbers; llama.cpp's default chain applies temperature last. One
    token is always kept.

    Attributes:
        temperature: Divides the logits; above 0.
        top_k: Keeps so many likeliest tokens, the lower ids among equals; 0 keeps all.
        top_p: Keeps the smallest set of likeliest tokens that reaches this share of what top-k
            left; 1 keeps all.
        min_p: Keeps the tokens at least so likely as a share of the likeliest; 0 keeps all.
    """

    temperature: float
    top_k: int
    top_p: float
    min_p: float

    @property
    def keeps_all(self) -> bool:
        """Whether no token is cut."""
        return self.top_k == 0 and self.top_p >= 1 and self.min_p <= 0


class Unseen(NamedTuple):
    """The tokens that are not among the candidates.

    ``weight`` is the most that each of the ``tokens`` weighs, the likeliest candidate being 1.
    """

    tokens: int
    weight: float


NOTHING_UNSEEN = Unseen(0, 0.0)


@dataclass(frozen=True, slots=True)
class Candidates:
    """A list of candidates and what is kept of it.

    Attributes:
        ids: All candidates, ascending.
        logits: Theirs: float32 ``[candidates]``.
        kept_logits: The logits of those that are kept, from the likeliest down: float32 ``[kept]``.
        mass: The weights of those that are kept, added up: float64 ``[kept]``.
    """

    ids: Ids
    logits: Floats
    kept_logits: Floats
    mass: NDArray[np.float64]

    def kept_ids(self) -> Ids:
        """Return the ids that are kept, from the likeliest down, lower ones first among equals."""
        return self.ids[np.argsort(-self.logits, kind="stable")[: len(self.kept_logits)]]

    def draw(self, share: float) -> int:
        """Return the id at ``share`` (0 to 1) of the mass, counted from the likeliest down."""
        rank = int(self.mass.searchsorted(share * self.mass[-1], side="right"))
        rank = min(rank, len(self.kept_logits) - 1)
        logit = self.kept_logits[rank]
        first_rank = int((self.kept_logits == logit).argmax())
        equals = np.flatnonzero(self.logits == logit)
        return int(self.ids[equals[rank - first_rank]])


def cut_candidates(
    filters: Filters, ids: Ids, logits: Floats, unseen: Unseen = NOTHING_UNSEEN
) -> Candidates | None:
    """Return what ``filters`` keep of the candidates.

    Args:
        filters: Temperature, top-k, top-p and min-p.
        ids: The candidates, ascending; at least one, the likeliest token of all among them.
        logits: Theirs: float32 ``[candidates]``.
        unseen: The other tokens, none of which is likelier than a candidate.

    Returns:
        The cut, or None if it depends on unseen tokens.
    """
    sorted_logits = np.sort(logits)[::-1]
    scaled = (sorted_logits.astype(np.float64) - float(sorted_logits[0])) / filters.temperature
    weights = np.exp(scaled)
    if filters.top_k:
        if unseen.tokens and len(weights) < filters.top_k:
            return None
        weights = weights[: filters.top_k]
        unseen = NOTHING_UNSEEN
    mass = np.cumsum(weights)
    kept = len(weights)
    if filters.top_p < 1:
        kept = int(mass.searchsorted(filters.top_p * mass[-1])) + 1
        if unseen.tokens:
            most = mass[-1] + unseen.tokens * unseen.weight
            if kept != int(mass.searchsorted(filters.top_p * most)) + 1:
                return None
    elif unseen.tokens and unseen.weight >= filters.min_p:
        return None
    least_weight = max(filters.min_p, MIN_WEIGHT)
    too_light = int(weights[::-1].searchsorted(least_weight, side="left"))
    kept = max(1, min(kept, len(weights) - too_light))
    return Candidates(ids, logits, sorted_logits[:kept], mass[:kept])
