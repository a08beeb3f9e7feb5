"""How many tokens to draft at a time, none included: by what it costs and what comes of it,
measured as it goes.

Knows seconds and counts, nothing of models. For each length that may be drafted it keeps what a
cycle took lately, and for each place in a draft how often it was right when all before it were.
From the two follows how fast each length is. The best is used, the others are tried again now and
then, none at all among them; where none is best, less and less often.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median_low

TRIAL = 4  # cycles of one length before it is judged
RECENT = 9  # cycles of each length that its cost is taken from
FORGET = 0.97  # of what is known of a place, each time that something is learnt of it
AGAIN = 256  # tokens between two trials while drafts are used
LATER = 16_384  # tokens between two trials at the most, where they do not pay
FIRST = 512  # tokens before the first trial, where they are not expected to pay


class DraftLength:
    """Says how many to draft next. ``lengths`` are those to choose from; with ``optional`` none may
    turn out best.

    Unless ``expect``, nothing is drafted at first, since a trial has its cost too.
    """

    def __init__(
        self, lengths: Sequence[int], *, optional: bool = True, expect: bool = True
    ) -> None:
        self._lengths = tuple(sorted({*lengths, *([0] if optional else [])}))
        self._costs: dict[int, deque[float]] = {
            n: deque(maxlen=RECENT) for n in range(max(self._lengths) + 1)
        }
        self._right, self._tried = [0.0] * max(self._lengths), [0.0] * max(self._lengths)
        self._pause = self._back_off = FIRST
        self._trials: deque[int] = deque()
        self._rivals: set[int] = set()
        self.best = 0
        if expect or not optional:
            self.best = min(n for n in self._lengths if n)
            self._try(sorted(self._lengths, key=lambda n: (n != self.best, n)))

    @property
    def active(self) -> bool:
        """Whether anything will be drafted in the near future."""
        return self.best > 0 or bool(self._trials)

    def length(self) -> int:
        """How many to draft next."""
        return self._trials[0] if self._trials else self.best

    def record(self, wanted: int, proposed: int, right: int, seconds: float) -> None:
        """A cycle took ``seconds``: ``wanted`` were asked for, ``proposed`` were drafted, the first
        ``right`` of them rightly.
        """
        self._costs[proposed].append(seconds)
        for place in range(min(right + 1, proposed)):
            self._tried[place] = self._tried[place] * FORGET + 1
            self._right[place] = self._right[place] * FORGET + (place < right)
        if self._trials:
            if proposed or not wanted:
                self._trials.popleft()
            if not self._trials:
                self._judge()
            return
        self._pause -= right + 1
        if self._pause <= 0:
            drafted = [n for n in self._lengths if n]
            at = self._lengths.index(self.best)
            self._try(self._lengths[max(0, at - 1) : at + 2] if self.best else drafted[:1])

    def rate(self, length: int) -> float:
        """Tokens a second when ``length`` are drafted at a time; 0 when that was never tried."""
        costs = self._costs[length]
        if not costs:
            return 0.0
        expected, likely = 1.0, 1.0
        for place in range(length):
            likely *= self._right[place] / self._tried[place] if self._tried[place] else 0.0
            expected += likely
        return expected / max(median_low(costs), 1e-9)

    def _try(self, lengths: Sequence[int]) -> None:
        for n in lengths:
            if n != self.best:
                self._costs[n].clear()
        self._rivals = {*lengths, self.best}
        self._trials.extend(n for n in lengths for _ in range(TRIAL))

    def _judge(self) -> None:
        self.best = max(self._rivals, key=self.rate)
        if self.best:
            self._pause, self._back_off = AGAIN, FIRST
        else:
            self._pause, self._back_off = self._back_off, min(2 * self._back_off, LATER)
