"""Draw one of the tokens that temperature, top-k, top-p and min-p leave, exactly.

Two ways lead to the same set.

* Usually few tokens carry all but 0.001 % of the mass. Only they are looked at
  (:mod:`.candidates`): what the others can weigh is bounded, and where that bound could change the
  cut, the second way is taken.
* Otherwise the whole vocabulary is weighed (:mod:`.vocabulary_weights`). A token is drawn from all
  of it, and one look at the mass of what is likelier tells whether top-p keeps it, which it nearly
  always does. If not, the cut is made. Nothing is sorted for that but what lies near the cut: a
  sample of the vocabulary says where that is, and whether the sample was right is checked.

Sorting everything gives the same set in ten times the time: tests/benchmarks/sampler.py compares
with llama.cpp's chain, and tests/engine/test_sampler.py with a sort in float64. Knows nothing of
seeds, penalties or grammars.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .candidates import Candidates, Filters, Unseen, cut_candidates
from .top_n import Floats, Ids, top_ids
from .vocabulary_weights import Mask, VocabularyWeights

MAX_CANDIDATES = 8192  # that are sorted outright
# What the tokens outside of the window weigh together at most, the likeliest being 1.
MAX_UNSEEN_MASS = 1e-5
# Below this float32 cannot divide by a temperature; what is drawn is the same long before.
MIN_TEMPERATURE = 1e-30
SAMPLE_STRIDE = 64  # one token in so many is in the sample
# The sample's cut is looked for between these shares of the mass that top-p drops, and so many
# sampled tokens further on either side.
BRACKET = (0.95, 1.05)
BRACKET_MARGIN = 24
# Of the mass that may be beside a token that is kept alone: float32 weights are good to 1e-7.
CERTAIN_SHARE = 0.999


class Window(NamedTuple):
    """The tokens that weigh anything next to the likeliest.

    Attributes:
        ids: Theirs, ascending.
        unseen: The tokens outside, and what each of them weighs at most.
    """

    ids: Ids
    unseen: Unseen


class _Cut(NamedTuple):
    """Where top-p cuts.

    Attributes:
        logit: The lowest logit that is kept.
        n_equal: Of how many tokens with that logit.
        is_above: The true cut is above the bracket that was searched.
        is_below: The true cut is below it.
    """

    logit: float
    n_equal: int
    is_above: bool = False
    is_below: bool = False


class Nucleus:
    """Cuts and draws by fixed settings. One draw at a time: it works in memory of its own."""

    def __init__(self, temperature: float, top_k: int, top_p: float, min_p: float) -> None:
        """See :class:`.Filters`."""
        self.filters = Filters(max(temperature, MIN_TEMPERATURE), top_k, top_p, min_p)
        self._weights = VocabularyWeights()

    def draw(self, logits: Floats, top: float, share: float) -> int:
        """Return the id that is drawn.

        Args:
            logits: float32 ``[n_vocab]``.
            top: Their maximum.
            share: Where in the mass of what is kept, 0 to 1.
        """
        if not self.filters.keeps_all:
            candidates = self.few_candidates(logits, top)
            if candidates is not None:
                return candidates.draw(share)
            logits = self._after_top_k(logits)
        self._weigh(logits, top)
        if self.filters.min_p > 0:
            return self._weights.draw_among(self._kept(logits, top), share).token
        drawn = self._weights.draw(share)
        if self.filters.keeps_all or self._is_kept(logits, drawn.token, drawn.total):
            return drawn.token
        return self._weights.draw_among(self._kept(logits, top), drawn.within).token

    def keeps_one(self, logits: Floats, top: float) -> bool:
        """Return whether one look at the logits shows that only the likeliest token is kept.

        It often is. Then there is nothing to draw.

        Args:
            logits: float32 ``[n_vocab]``.
            top: Their maximum.
        """
        if self.filters.top_k == 1:
            return True
        least_weight = self._least_weight(len(logits))
        if not least_weight:
            return False
        floor = np.float32(top + self.filters.temperature * math.log(least_weight))
        self._weights.resize(len(logits))
        near = self._weights.at_least(logits, float(np.nextafter(floor, np.float32(-np.inf))))
        return int(np.count_nonzero(near)) == 1

    def _least_weight(self, n_vocab: int) -> float:
        """Return a weight so low that top-p or min-p cuts all tokens if each weighs less."""
        filters = self.filters
        by_top_p = 0.0
        if filters.top_p < 1:
            by_top_p = CERTAIN_SHARE * (1 / max(filters.top_p, 0.5) - 1) / n_vocab
        return max(by_top_p, CERTAIN_SHARE * filters.min_p)

    def kept_ids(self, logits: Floats, top: float) -> Ids:
        """Return the ids that :meth:`draw` draws from, in no particular order."""
        if not self.filters.keeps_all:
            candidates = self.few_candidates(logits, top)
            if candidates is not None:
                return candidates.kept_ids()
            logits = self._after_top_k(logits)
        self._weigh(logits, top)
        if self.filters.keeps_all:
            return self._weights.possible()
        return np.flatnonzero(self._kept(logits, top))

    def few_candidates(self, logits: Floats, top: float) -> Candidates | None:
        """Return the cut of a short list of candidates; None if no short list decides it."""
        window = self.window(logits, top)
        if window is not None:
            found = cut_candidates(self.filters, window.ids, logits[window.ids], window.unseen)
            if found is not None:
                return found
        if 0 < self.filters.top_k <= min(MAX_CANDIDATES, len(logits) - 1):
            ids = top_ids(logits, self.filters.top_k)
            return cut_candidates(self.filters, ids, logits[ids])
        if len(logits) <= MAX_CANDIDATES:
            return cut_candidates(self.filters, np.arange(len(logits)), logits)
        return None

    def window(self, logits: Floats, top: float) -> Window | None:
        """Return the tokens that weigh anything next to the likeliest; None if they are many.

        Args:
            logits: float32 ``[n_vocab]``.
            top: Their maximum.
        """
        temperature = self.filters.temperature
        floor = np.float32(top - temperature * math.log(len(logits) / MAX_UNSEEN_MASS))
        if len(logits) > 2 * MAX_CANDIDATES:
            sampled = np.count_nonzero(logits[::SAMPLE_STRIDE] >= floor)
            if SAMPLE_STRIDE * sampled > 2 * MAX_CANDIDATES:
                return None
        self._weights.resize(len(logits))
        ids = np.flatnonzero(self._weights.at_least(logits, float(floor)))
        if len(ids) > MAX_CANDIDATES:
            return None
        weight = math.exp(min(0.0, (float(floor) - top) / temperature))
        return Window(ids, Unseen(len(logits) - len(ids), weight))

    def _after_top_k(self, logits: Floats) -> Floats:
        """Return the logits with all that top-k cuts impossible."""
        if not 0 < self.filters.top_k < len(logits):
            return logits
        ids = top_ids(logits, self.filters.top_k)
        left = np.full_like(logits, -np.inf)
        left[ids] = logits[ids]
        return left

    def _weigh(self, logits: Floats, top: float) -> None:
        self._weights.resize(len(logits))
        self._weights.fill(logits, top, self.filters.temperature)

    def _is_kept(self, logits: Floats, token: int, total: float) -> bool:
        """Return whether top-p keeps ``token``. The weights are filled, and ``total`` together."""
        logit = logits[token]
        equals_before = int(np.count_nonzero(logits[:token] == logit))
        mass = self._weights.mass_above(logits, float(logit))
        mass += self._weights.weight_of(token) * equals_before
        return mass < self.filters.top_p * total

    def _kept(self, logits: Floats, top: float) -> Mask:
        """Return which tokens top-p and min-p keep: bool ``[n_vocab]``. The weights are filled."""
        cut = _Cut(-math.inf, 0)
        if self.filters.top_p < 1:
            cut = self._top_p_cut(logits, top)
        floor = -math.inf
        if self.filters.min_p > 0:
            floor = top + self.filters.temperature * math.log(self.filters.min_p)
        if floor > cut.logit:
            return self._weights.at_least(logits, floor)
        return self._weights.above_or_first(logits, cut.logit, cut.n_equal)

    def _top_p_cut(self, logits: Floats, top: float) -> _Cut:
        """Return where top-p cuts. The weights are filled.

        The cut is searched where a sample puts it. If the sample misled, it is searched above or
        below.
        """
        total = self._weights.total()
        target = self.filters.top_p * total
        low, high = self._sampled_bracket(logits, top, total)
        cut = self._cut_between(logits, top, target, low, high)
        if cut.is_above:
            return self._cut_between(logits, top, target, high, math.inf)
        if cut.is_below:
            return self._cut_between(logits, top, target, -math.inf, low)
        return cut

    def _sampled_bracket(self, logits: Floats, top: float, total: float) -> tuple[float, float]:
        """Return two logits between which the cut probably lies.

        A sample estimates the mass below the cut rather than that above it, because no single
        token makes much of it.
        """
        sample = np.sort(logits[::SAMPLE_STRIDE])
        scaled = (sample.astype(np.float64) - top) / self.filters.temperature
        mass_below = np.cumsum(np.exp(scaled)) * SAMPLE_STRIDE
        dropped = (1 - self.filters.top_p) * total
        first = int(mass_below.searchsorted(BRACKET[0] * dropped)) - BRACKET_MARGIN
        last = int(mass_below.searchsorted(BRACKET[1] * dropped)) + BRACKET_MARGIN
        low = float(sample[first]) if first > 0 else -math.inf
        high = float(sample[last]) if last < len(sample) else math.inf
        return low, high

    def _cut_between(
        self, logits: Floats, top: float, target: float, low: float, high: float
    ) -> _Cut:
        """Return where the mass, from the likeliest token down, reaches ``target``.

        Only tokens with logits from ``low`` to ``high`` are sorted.
        """
        mass_above = self._weights.mass_above(logits, high)
        values = self._weights.between(logits, low, high)
        scaled = (values.astype(np.float64) - top) / self.filters.temperature
        mass = mass_above + np.cumsum(np.exp(scaled))
        rank = int(mass.searchsorted(target))
        last = min(rank, len(mass) - 1)
        logit = values[last]
        return _Cut(
            float(logit),
            last + 1 - int((values == logit).argmax()),
            is_above=mass_above >= target,
            is_below=mass_above < target and rank == len(mass),
        )
