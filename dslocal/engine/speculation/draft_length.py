"""Choose how many tokens to draft at a time, by what drafting costs and brings.

Knows seconds and counts, nothing of models. A cycle evaluates one token and the drafts after it.
For each position in a draft it is kept how often it was right when all before it were
(:class:`Acceptance`), and for each length what its last cycles took (:class:`CycleCosts`). The two
give the tokens per second of each length.

Which length to use next is a multi-armed bandit problem: a length that is not used is not measured
either. It is solved by optimism (upper confidence bounds, Auer et al. 2002): each length is taken
to be as good as is still plausible, and the most promising one is used. If it is as good as hoped,
nothing was lost; if not, the next few cycles show it. What is known counts less as it grows older
(Garivier and Moulines 2011), so that lengths are tried again and changes are noticed. Lengths that
are nearly alike are tried often, which costs little, and bad ones seldom. A change of length has
a cost of its own on a GPU, which is measured too, and weighed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import sqrt
from statistics import median

TRIAL_CYCLES = 4  # of a length that is tried
# On a GPU the first two cycles after a change of length are slow: llama.cpp builds a graph, then
# CUDA records it. What that takes is the median of the last few changes, and must be made up for
# within so many cycles of the new length.
CHANGE_CYCLES = 2
LAST_CHANGES = 7
CHANGE_HORIZON = 64
# Cycles of the length that seems fastest, before all are compared again.
RUN_CYCLES = 32
# By how many standard deviations a length may be better than measured, in a comparison.
CONFIDENCE = 1.0
# By what the count of observations of a position shrinks with each new one: about the last hundred
# count.
OBSERVATION_DECAY = 0.99
# By what all counts shrink with each cycle while drafting: of what is not observed any more, half
# is believed after 350 cycles.
AGE_DECAY = 0.998
# Before anything was observed, a position is believed to be right as often as the one before it,
# and the first half the time. That weighs as much as so many observations.
PRIOR_OBSERVATIONS = 2.0
FIRST_PRIOR = 0.5
# The last cycles of a length that its cost follows from, and which quantile of them it is: a low
# one, the fastest of four, so that cycles that something else slowed down decide nothing.
COST_CYCLES = 32
COST_QUANTILE = 0.25
COST_DEVIATION = 0.05  # of a cost that follows from one cycle, as a share of it
MIN_SECONDS = 1e-9  # of a cycle, against division by 0
# Cycles without drafts, once that is fastest; the pause doubles each time that this is confirmed.
# With trials of 4 cycles, a model that never gains loses less than 1 %.
FIRST_PAUSE = 512
MAX_PAUSE = 16_384
# So many observations of each position and length are believed after a pause.
KEPT_OBSERVATIONS = 8.0


class Acceptance:
    """Estimates how often each position in a draft is right, if all before it were."""

    def __init__(self, n_positions: int) -> None:
        """Start without any observation."""
        self._right = [0.0] * n_positions
        self._reached = [0.0] * n_positions

    def record(self, wanted: int, right: int) -> None:
        """Take in a draft of ``wanted`` tokens, whose first ``right`` were right."""
        for position in range(min(right + 1, wanted)):
            is_right = 1.0 if position < right else 0.0
            self._right[position] = self._right[position] * OBSERVATION_DECAY + is_right
            self._reached[position] = self._reached[position] * OBSERVATION_DECAY + 1

    def age(self) -> None:
        """Believe a little less in all that was observed."""
        self._scale([AGE_DECAY] * len(self._reached))

    def keep(self, observations: float) -> None:
        """Give each position at most the weight of so many observations."""
        self._scale([observations / max(reached, observations) for reached in self._reached])

    def expected_tokens(self, length: int, confidence: float = 0.0) -> float:
        """Return how many tokens a cycle with ``length`` drafts brings.

        Args:
            length: How many are drafted.
            confidence: Each position is taken for right by so many standard deviations more often
                than is likely.
        """
        expected = all_right = 1.0
        prior = FIRST_PRIOR
        for right, reached in zip(self._right[:length], self._reached[:length], strict=True):
            # mean and standard deviation of the beta distribution that the observations leave
            weight = reached + PRIOR_OBSERVATIONS
            share = (right + PRIOR_OBSERVATIONS * prior) / weight
            deviation = sqrt(share * (1 - share) / (weight + 1))
            all_right *= min(share + confidence * deviation, 1.0)
            expected += all_right
            prior = share
        return expected

    def _scale(self, factors: Sequence[float]) -> None:
        for position, factor in enumerate(factors):
            self._right[position] *= factor
            self._reached[position] *= factor


class CycleCosts:
    """Estimates what a cycle takes, by the number of tokens that are drafted."""

    def __init__(self, lengths: Sequence[int]) -> None:
        """Start without any observation; ``lengths`` ascend."""
        self._lengths = lengths
        self._seconds: dict[int, deque[float]] = {n: deque(maxlen=COST_CYCLES) for n in lengths}
        self._observations = dict.fromkeys(lengths, 0.0)
        self._changes: deque[float] = deque(maxlen=LAST_CHANGES)

    def record(self, length: int, seconds: float) -> None:
        """Take in a cycle."""
        self._seconds[length].append(seconds)
        self._observations[length] += 1

    def record_change(self, length: int, first: Sequence[float]) -> None:
        """Take in how many seconds the first cycles took after a change to ``length``."""
        self._changes.append(max(sum(first) - len(first) * self.seconds(length), 0.0))

    def change_seconds(self) -> float:
        """Return what a change of length takes more than cycles without one."""
        return median(self._changes) if self._changes else 0.0

    def age(self) -> None:
        """Believe a little less in all that was observed."""
        for length in self._lengths:
            self._observations[length] *= AGE_DECAY

    def keep(self, observations: float) -> None:
        """Give each length at most the weight of so many observations."""
        for length in self._lengths:
            self._observations[length] = min(self._observations[length], observations)

    def restart(self, length: int) -> None:
        """Forget what cycles of this length took: newer ones are to come."""
        self._seconds[length].clear()

    def is_known(self, length: int) -> bool:
        """Return whether there are cycles of this length."""
        return bool(self._seconds[length])

    def seconds(self, length: int) -> float:
        """Return the seconds of a cycle; for an unknown length, each draft is taken to cost the
        same."""
        if self.is_known(length):
            seconds = sorted(self._seconds[length])
            return max(seconds[int(COST_QUANTILE * (len(seconds) - 1))], MIN_SECONDS)
        known = [n for n in self._lengths if self.is_known(n)]
        if not known:
            return MIN_SECONDS
        least, most = self.seconds(known[0]), self.seconds(known[-1])
        a_draft = max(most - least, 0.0) / max(known[-1] - known[0], 1)
        return max(most + (length - known[-1]) * a_draft, MIN_SECONDS)

    def lowest_seconds(self, length: int) -> float:
        """Return the least that a cycle may plausibly take."""
        if not self.is_known(length):
            return self.seconds(length)
        observations = max(self._observations[length], MIN_SECONDS)
        return self.seconds(length) / (1 + CONFIDENCE * COST_DEVIATION / sqrt(observations))


class DraftLength:
    """Says how many tokens to draft next.

    Lengths are used in runs of cycles: a short run tries a length, a longer one uses the length
    that seems fastest. At the end of a run all lengths are compared again.

    Attributes:
        best: The length that was fastest when they were last compared; 0 for not drafting.
    """

    def __init__(
        self, lengths: Sequence[int], *, optional: bool = True, expect: bool = True
    ) -> None:
        """Start without any knowledge.

        Args:
            lengths: How many tokens may be drafted at a time.
            optional: Whether not drafting may turn out to be fastest.
            expect: Whether drafting is expected to pay. Otherwise nothing is drafted at first,
                since a trial has its cost too.
        """
        drafting = sorted(set(lengths))
        self._shortest = drafting[0]
        self._lengths = [0, *drafting] if optional else drafting
        self._acceptance = Acceptance(drafting[-1])
        self._costs = CycleCosts([0, *drafting])
        self._pause = FIRST_PAUSE
        self._is_paused = optional and not expect
        self._to_try: deque[int] = deque()
        self._length = 0
        if self._is_paused:
            self.best = 0
            self._begin_pause()
        else:
            self.best = self._shortest
            self._to_try.extend(n for n in self._lengths if n != self.best)
            self._begin_run(self.best, TRIAL_CYCLES)

    @property
    def active(self) -> bool:
        """Whether anything will be drafted in the near future."""
        return not self._is_paused

    def length(self) -> int:
        """Return how many tokens to draft next."""
        return self._length

    def rate(self, length: int) -> float:
        """Return the tokens per second of a length; 0 if it was never tried."""
        if not self._costs.is_known(length):
            return 0.0
        return self._acceptance.expected_tokens(length) / self._costs.seconds(length)

    def record(self, wanted: int, proposed: int, right: int, seconds: float) -> None:
        """Take in what a cycle brought.

        Args:
            wanted: How many tokens were to be drafted.
            proposed: How many the drafter had.
            right: How many of those, from the first on, were right.
            seconds: What the cycle took.
        """
        if not self._is_paused:
            self._acceptance.age()
            self._costs.age()
        self._costs.record(wanted if proposed else 0, seconds)
        if proposed:
            # a draft that the drafter was not sure enough of to propose counts as a wrong one
            self._acceptance.record(wanted, right)
        if wanted and not proposed:
            return  # a drafter without an idea is asked again
        if self._has_changed and len(self._first_seconds) < CHANGE_CYCLES:
            self._first_seconds.append(seconds)
        self._cycles_left -= 1
        if self._cycles_left > 0:
            return
        if self._has_changed:
            self._costs.record_change(self._length, self._first_seconds)
        if self._is_paused:
            self._end_pause()
        elif self._to_try:
            self._begin_run(self._to_try.popleft(), TRIAL_CYCLES)
        else:
            self._choose()

    def _highest_rate(self, length: int) -> float:
        """Return the most tokens per second that a length may plausibly bring."""
        tokens = self._acceptance.expected_tokens(length, CONFIDENCE)
        seconds = self._costs.lowest_seconds(length)
        if length != self._length:
            seconds += self._costs.change_seconds() / CHANGE_HORIZON
        return tokens / seconds

    def _choose(self) -> None:
        """Begin a run of the most promising length, or pause if that is not to draft."""
        self.best = max(self._lengths, key=self.rate)
        promising = max(self._lengths, key=self._highest_rate)
        if self.best > 0:
            self._pause = FIRST_PAUSE
        elif promising == 0:
            self._begin_pause()
            return
        if promising != self._length:
            self._costs.restart(promising)
        self._begin_run(promising, RUN_CYCLES if promising == self.best else TRIAL_CYCLES)

    def _begin_run(self, length: int, cycles: int) -> None:
        self._has_changed = length != self._length
        self._first_seconds: list[float] = []  # of the cycles since a change
        self._length = length
        self._cycles_left = cycles

    def _begin_pause(self) -> None:
        self._is_paused = True
        self._begin_run(0, self._pause)
        self._pause = min(2 * self._pause, MAX_PAUSE)

    def _end_pause(self) -> None:
        """Try the shortest draft, whatever was known before."""
        self._is_paused = False
        self._acceptance.keep(KEPT_OBSERVATIONS)
        self._costs.keep(KEPT_OBSERVATIONS)
        self._costs.restart(self._shortest)
        self._begin_run(self._shortest, TRIAL_CYCLES)
