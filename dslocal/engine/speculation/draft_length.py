"""Choose how many tokens to draft at a time, by what drafting costs and brings.

Knows seconds and counts, nothing of models. A cycle evaluates one token and the drafts after it.
For each length that may be drafted, what a cycle took lately is kept, and for each position in a
draft, how often it was right when all before it were. The two give the tokens per second of each
length. The fastest is used. Its neighbours, not drafting among them, are tried again from time to
time: seldom while nothing changes, and even more seldom if they were far slower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

# Cycles of each length in the first trial. On a GPU the first two after a change of length are
# slow: llama.cpp builds a graph, then CUDA records it.
TRIAL_CYCLES = 4
# The last cycles of a length that its cost follows from: enough for a steady one, and few enough
# that a change of text or machine shows within two trials.
COST_CYCLES = 12
# It is this quantile of them, the second fastest of four: one or two cycles that something else
# slowed down decide nothing.
COST_QUANTILE = 0.4
# By what the knowledge of a position shrinks with each new observation; after 23 it weighs half.
DECAY = 0.97
# Tokens between two trials while drafting is fastest. The interval doubles after each trial that
# changes nothing, and the cycles of a trial with it, so that what is decided for longer is decided
# with more care. Both are reset if acceptance or cost have changed since.
FIRST_INTERVAL = 64  # after the first trial, which knows little of acceptance
TRIAL_INTERVAL = 256
MAX_INTERVAL = 1024
CHANGED_TOKENS = 0.12  # of the tokens that a cycle is expected to bring
CHANGED_COST = 0.4  # less is what other programs do
# A neighbour with less than this share of the best one's tokens per second takes part in one trial
# of every FULL_TRIAL only.
FAR_BEHIND = 0.85
FULL_TRIAL = 4
MIN_GAIN = 1.02  # by which another length must be faster to take over
# Tokens before the next trial while not drafting is fastest, doubled after each trial that does not
# change that. Such a trial takes 4 cycles, so a model that never gains loses less than 1 %.
FIRST_PAUSE = 512
MAX_PAUSE = 16_384
MIN_SECONDS = 1e-9  # of a cycle, against division by 0


class DraftLength:
    """Says how many tokens to draft next.

    Attributes:
        best: The length that was fastest when it was last judged; 0 for not drafting.
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
        self._drafting_lengths = sorted(set(lengths))
        self._lengths = [0, *self._drafting_lengths] if optional else self._drafting_lengths
        longest = max(self._lengths)
        # seconds of recent cycles, by the number of tokens that were drafted
        self._costs: list[deque[float]] = [deque(maxlen=COST_CYCLES) for _ in range(longest + 1)]
        # how often a position was right, and how often it was reached
        self._right = [0.0] * longest
        self._reached = [0.0] * longest
        self._interval = FIRST_INTERVAL
        self._next_pause = FIRST_PAUSE
        self._tokens_to_trial = FIRST_PAUSE
        self._tokens_since_trial = 0
        self._n_trials = 0
        self._trial: deque[int] = deque()  # the lengths of the next cycles
        self._rivals: set[int] = set()  # the lengths that are judged after the trial
        # what a cycle of the best length brought and took when it was judged
        self._judged_tokens = self._judged_cost = 0.0
        self.best = 0
        if expect or not optional:
            self.best = self._drafting_lengths[0]
            self._start_trial([n for n in self._lengths if n != self.best], with_best=True)

    @property
    def active(self) -> bool:
        """Whether anything will be drafted in the near future."""
        return self.best > 0 or bool(self._trial)

    def length(self) -> int:
        """Return how many tokens to draft next."""
        return self._trial[0] if self._trial else self.best

    def record(self, wanted: int, proposed: int, right: int, seconds: float) -> None:
        """Take in what a cycle brought.

        Args:
            wanted: How many tokens were to be drafted.
            proposed: How many the drafter had.
            right: How many of those, from the first on, were right.
            seconds: What the cycle took.
        """
        self._costs[wanted if proposed else 0].append(seconds)
        # a draft that the drafter was not sure enough of to propose counts as a wrong one
        for position in range(min(right + 1, wanted) if proposed else 0):
            is_right = 1.0 if position < right else 0.0
            self._right[position] = self._right[position] * DECAY + is_right
            self._reached[position] = self._reached[position] * DECAY + 1
        if self._trial:
            # a drafter without an idea is asked again
            if proposed or not wanted:
                self._trial.popleft()
            if not self._trial:
                self._judge()
            return
        self._tokens_to_trial -= right + 1
        self._tokens_since_trial += right + 1
        if self._is_trial_due():
            self._start_trial(self._neighbours())

    def rate(self, length: int) -> float:
        """Return the tokens per second of a length; 0 if it was never tried."""
        if not self._costs[length]:
            return 0.0
        return self._expected_tokens(length) / self._cost(length)

    def _expected_tokens(self, length: int) -> float:
        """Return how many tokens a cycle with ``length`` drafts brings."""
        expected = all_right = 1.0
        for right, reached in zip(self._right[:length], self._reached[:length], strict=True):
            all_right *= right / reached if reached else 0.0
            expected += all_right
        return expected

    def _cost(self, length: int) -> float:
        """Return the seconds of a cycle with ``length`` drafts, which has been tried."""
        costs = sorted(self._costs[length])
        return max(costs[int(COST_QUANTILE * (len(costs) - 1))], MIN_SECONDS)

    def _is_trial_due(self) -> bool:
        if self._tokens_to_trial <= 0:
            return True
        return bool(
            self.best and self._tokens_since_trial >= TRIAL_INTERVAL and self._has_changed()
        )

    def _has_changed(self) -> bool:
        """Return whether the best length brings or takes something else than when it was judged."""
        if not self._judged_cost or not self._costs[self.best]:
            return False
        tokens = self._expected_tokens(self.best) / self._judged_tokens
        cost = self._cost(self.best) / self._judged_cost
        if abs(tokens - 1) <= CHANGED_TOKENS and abs(cost - 1) <= CHANGED_COST:
            return False
        self._interval = TRIAL_INTERVAL
        return True

    def _neighbours(self) -> list[int]:
        """Return the lengths to try: those next to the best, or the shortest if the best is 0."""
        if not self.best:
            return self._drafting_lengths[:1]
        at = self._lengths.index(self.best)
        found = [n for n in self._lengths[max(0, at - 1) : at + 2] if n != self.best]
        if self._n_trials % FULL_TRIAL == 0:
            return found
        least = FAR_BEHIND * self.rate(self.best)
        return [n for n in found if self.rate(n) >= least]

    def _start_trial(self, lengths: Sequence[int], *, with_best: bool = False) -> None:
        """Try ``lengths``.

        Args:
            lengths: What is tried. The best is not among them: its last cycles are known.
            with_best: Try the best, too, before them.
        """
        self._n_trials += 1
        cycles = TRIAL_CYCLES * max(1, self._interval // TRIAL_INTERVAL)
        cycles = min(cycles, COST_CYCLES)
        self._trial.extend([self.best] * (cycles if with_best else 0))
        for n in lengths:
            self._costs[n].clear()
            self._trial.extend([n] * cycles)
        self._rivals = set(lengths)
        if not self._trial:
            self._judge()

    def _judge(self) -> None:
        before = self.best
        fastest = max([before, *self._rivals], key=self.rate)
        if self.rate(fastest) > MIN_GAIN * self.rate(before):
            self.best = fastest
        self._tokens_since_trial = 0
        if not self.best:
            self._tokens_to_trial = self._next_pause
            self._next_pause = min(2 * self._next_pause, MAX_PAUSE)
            return
        self._next_pause = FIRST_PAUSE
        self._tokens_to_trial = self._interval
        longest = MAX_INTERVAL if self.best == before else TRIAL_INTERVAL
        self._interval = min(2 * self._interval, longest)
        self._judged_tokens = self._expected_tokens(self.best)
        self._judged_cost = self._cost(self.best) if self._costs[self.best] else 0.0
