"""Choose how many tokens to draft at a time, by what drafting costs and brings.

Knows seconds and counts, nothing of models. A cycle evaluates one token and the drafts after it.
For each length that may be drafted, what a cycle took lately is kept, and for each position in a
draft, how often it was right when all before it were. The two give the tokens per second of each
length. The fastest is used. From time to time its neighbours are tried again, not drafting among
them; where not drafting is fastest, less and less often.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median_low

# Cycles of each length in a trial. Their lower median is the second fastest, so that one or two
# cycles that something else slowed down decide nothing.
TRIAL_CYCLES = 4
# The cost of a length is the median of its last so many cycles: enough for a steady one, and few
# enough that a change of text or machine shows within two trials.
COST_CYCLES = 9
# By what the knowledge of a position shrinks with each new observation; after 23 it weighs half.
DECAY = 0.97
# Tokens between two trials while drafting is fastest. A trial of three neighbours takes 12 cycles,
# and the neighbours are nearly as fast.
TRIAL_INTERVAL = 256
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
        self._pause = self._next_pause = FIRST_PAUSE
        self._trial: deque[int] = deque()  # the lengths of the next cycles
        self._rivals: set[int] = set()  # the lengths that are judged after the trial
        self.best = 0
        if expect or not optional:
            self.best = self._drafting_lengths[0]
            others = [n for n in self._lengths if n != self.best]
            self._start_trial([self.best, *others])

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
        self._costs[proposed].append(seconds)
        for position in range(min(right + 1, proposed)):
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
        self._pause -= right + 1
        if self._pause <= 0:
            self._start_trial(self._neighbours())

    def rate(self, length: int) -> float:
        """Return the tokens per second of a length; 0 if it was never tried."""
        costs = self._costs[length]
        if not costs:
            return 0.0
        expected_tokens = 1.0
        all_right = 1.0
        for right, reached in zip(self._right[:length], self._reached[:length], strict=True):
            all_right *= right / reached if reached else 0.0
            expected_tokens += all_right
        return expected_tokens / max(median_low(costs), MIN_SECONDS)

    def _neighbours(self) -> Sequence[int]:
        """Return the lengths to try: those next to the best, or the shortest if the best is 0."""
        if not self.best:
            return self._drafting_lengths[:1]
        at = self._lengths.index(self.best)
        return self._lengths[max(0, at - 1) : at + 2]

    def _start_trial(self, lengths: Sequence[int]) -> None:
        for n in lengths:
            if n != self.best:
                self._costs[n].clear()
            self._trial.extend([n] * TRIAL_CYCLES)
        self._rivals = {*lengths, self.best}

    def _judge(self) -> None:
        self.best = max(self._rivals, key=self.rate)
        if self.best:
            self._pause, self._next_pause = TRIAL_INTERVAL, FIRST_PAUSE
        else:
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, MAX_PAUSE)
