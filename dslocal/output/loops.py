"""Notice an endless repetition: the same tokens over and over.

It takes constant time a token and memory that grows with the answer. Only an exact cycle counts,
and only one that lasts far longer than what texts repeat on purpose: a table's rule, a matrix of
zeros, a list that was asked for. A model that counts while it goes round in circles is not noticed.
"""

from __future__ import annotations

from dataclasses import dataclass

SEED = 6  # tokens alike in a row that make a period worth following
MIN_TIMES = 6
WORD_TOKENS = 768  # tokens that a cycle with letters in it must fill
SIGN_TOKENS = 4096  # tokens that a cycle of numbers and signs alone must fill
SUSPECT_TOKENS = 128  # tokens that are enough to name a loop once the answer was cut anyway


@dataclass(frozen=True, slots=True)
class Loop:
    """``text`` came ``times`` times without a change."""

    text: str
    times: int

    def __str__(self) -> str:
        shown = " ".join(self.text.split())
        if len(shown) > 60:
            shown = shown[:59] + "…"
        return f"{shown!r} {self.times:,} times"


class LoopDetector:
    """Look for a repetition in the tokens of one answer.

    Attributes:
        found: The loop, once there is one; it stays until :meth:`reset`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all tokens."""
        self.found: Loop | None = None
        self._ids: list[int] = []
        self._texts: list[str] = []
        self._last_seen: dict[tuple[int, ...], int] = {}  # where a run of SEED tokens ended last
        self._period = 0  # tokens of the cycle that is being followed; 0 for none
        self._alike = 0  # tokens in a row that equal those a period before
        self._needed = WORD_TOKENS

    def feed(self, token: int, text: str) -> None:
        """Read one token with its text."""
        place = len(self._ids)
        self._ids.append(token)
        self._texts.append(text)
        if self._period and self._ids[place - self._period] == token:
            self._alike += 1
        else:
            self._period = 0
            self._alike = 0
            self._needed = WORD_TOKENS
        if place + 1 >= SEED:
            self._look_for_period(place)
        if (
            self.found is None
            and self._alike >= self._needed
            and self._alike >= (MIN_TIMES - 1) * self._period
        ):
            self._needed = SIGN_TOKENS
            if self._alike >= SIGN_TOKENS or self._has_letters():
                self.found = self._loop()

    @property
    def suspected(self) -> Loop | None:
        """Return the loop that the end looks like, by less evidence than :attr:`found` needs.

        It says of an answer that was cut why it became so long.
        """
        if self.found:
            return self.found
        enough = max(SUSPECT_TOKENS, (MIN_TIMES - 1) * self._period)
        return self._loop() if self._alike >= enough and self._has_letters() else None

    def _look_for_period(self, place: int) -> None:
        """Follow a period if the last SEED tokens, which end at ``place``, came before."""
        recent = tuple(self._ids[-SEED:])
        if not self._period and recent in self._last_seen:
            self._period = place - self._last_seen[recent]
            self._alike = SEED
        self._last_seen[recent] = place

    def _has_letters(self) -> bool:
        cycle = self._texts[-self._period :]
        return any(character.isalpha() for text in cycle for character in text)

    def _loop(self) -> Loop:
        return Loop("".join(self._texts[-self._period :]), self._alike // self._period + 1)
