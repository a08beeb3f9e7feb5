"""End an answer at a stop text: what stands before it is the answer, and no part of it is shown.

Only the answer's text is searched, not its reasoning and not its calls. Text that comes in pieces
is treated as if it came character by character, so that the result does not depend on how tokens
cut it: the answer ends at the stop text that is complete first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .reasoning import AnswerEvent, Text


class FoundStop(NamedTuple):
    """A stop text, and where it ends and begins."""

    end: int
    begin: int
    text: str


class StopTexts:
    """Hold back the end of a text while it may be the beginning of a stop text.

    Without stop texts everything passes as it comes.

    Attributes:
        reached: The stop text that was found; None while there is none.
    """

    def __init__(self, texts: Sequence[str], *, verbatim: bool = False) -> None:
        """Look for ``texts``.

        Args:
            texts: The stop texts.
            verbatim: Whether white space before a stop text belongs to the answer.
        """
        self.reached: str | None = None
        self._texts = tuple(texts)
        self._verbatim = verbatim
        self._held = ""

    def filter(self, events: Iterable[AnswerEvent]) -> Iterator[AnswerEvent]:
        """Yield those of ``events`` that certainly stand before a stop text."""
        for event in events:
            if self.reached is not None:
                return
            if not isinstance(event, Text) or not self._texts:
                yield from self.finish()
                yield event
                continue
            yield from self._search(self._held + event.text)

    def ended_in(self, waiting: str) -> bool:
        """Return whether a stop text is reached.

        Args:
            waiting: White space at the end of the text that has not come as an event yet.
        """
        if self.reached is None and waiting and self._texts:
            found = self._find(self._held + waiting)
            self.reached = found.text if found else None
        return self.reached is not None

    def finish(self) -> Iterator[AnswerEvent]:
        """Yield what is held back, when no more text comes."""
        held = self._held
        self._held = ""
        if held and self.reached is None:
            yield Text(held)

    def _search(self, text: str) -> Iterator[AnswerEvent]:
        found = self._find(text)
        if found:
            self.reached = found.text
        end = found.begin if found else self._find_beginning(text)
        shown = text[:end]
        if end < len(text) and not self._verbatim:
            shown = shown.rstrip()
        self._held = text[len(shown) :]
        if shown:
            yield Text(shown)

    def _find(self, text: str) -> FoundStop | None:
        """Return the stop text that is complete first, the longest of several."""
        found = []
        for stop in self._texts:
            at = text.find(stop)
            if at >= 0:
                found.append(FoundStop(at + len(stop), at, stop))
        return min(found) if found else None

    def _find_beginning(self, text: str) -> int:
        """Return where an end of ``text`` begins that may grow into a stop text."""
        longest = max(len(stop) for stop in self._texts)
        for at in range(max(0, len(text) - longest + 1), len(text)):
            if any(stop.startswith(text[at:]) for stop in self._texts):
                return at
        return len(text)
