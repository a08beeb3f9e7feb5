"""Naming an endless repetition: the same tokens over and over, in constant time a token and memory
that grows with the answer.

Only an exact cycle counts, and only one that goes on long past what texts repeat on purpose: a
table's rule, a matrix of zeros, a list that was asked for. A model that counts while it goes round
in circles is not noticed.
"""

from __future__ import annotations

from dataclasses import dataclass

SEED = 6  # tokens alike in a row that make a period worth following
MIN_TIMES = 6
WORDS, SIGNS = (
    768,
    4096,
)  # tokens that a cycle must fill: one with letters in it, and one of numbers and signs alone
SUSPECT = 128  # tokens that are enough to name a loop once the answer was cut anyway


@dataclass(frozen=True, slots=True)
class Loop:
    """``text`` came ``times`` times without a change."""

    text: str
    times: int

    def __str__(self) -> str:
        shown = " ".join(self.text.split())
        return f"{shown if len(shown) <= 60 else shown[:59] + '…'!r} {self.times:,} times"


class LoopDetector:
    """Feed it every token with its text; :attr:`found` names a loop once there is one, and stays
    until :meth:`reset`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        self.found: Loop | None = None
        self._ids: list[int] = []
        self._texts: list[str] = []
        self._last: dict[tuple[int, ...], int] = {}  # where a run of tokens began last
        self._period = self._alike = 0  # tokens in a row that equal those a period before
        self._needed = WORDS

    def feed(self, token: int, text: str) -> None:
        ids, place = self._ids, len(self._ids)
        ids.append(token)
        self._texts.append(text)
        if self._period and ids[place - self._period] == token:
            self._alike += 1
        else:
            self._period, self._alike, self._needed = 0, 0, WORDS
        if place + 1 >= SEED:
            recent = tuple(ids[-SEED:])
            if not self._period and recent in self._last:
                self._period, self._alike = place - self._last[recent], SEED
            self._last[recent] = place
        if self._alike >= self._needed and self._alike >= (MIN_TIMES - 1) * self._period:
            self._needed = SIGNS
            if self._alike >= SIGNS or self._in_words():
                self.found = self._loop()

    @property
    def suspected(self) -> Loop | None:
        """The loop that the end looks like, by less evidence: for an answer that was cut, to say
        why it became so long.
        """
        long_enough = (
            self._alike >= max(SUSPECT, (MIN_TIMES - 1) * self._period) and self._in_words()
        )
        return self.found or (self._loop() if long_enough else None)

    def _in_words(self) -> bool:
        return any(sign.isalpha() for text in self._texts[-self._period :] for sign in text)

    def _loop(self) -> Loop:
        return Loop("".join(self._texts[-self._period :]), self._alike // self._period + 1)
