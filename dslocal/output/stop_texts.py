"""End an answer at a stop text: what stands before it is the answer, and no part of it is shown.

Only the answer's text is searched, not its reasoning and not its calls. What comes in stretches is
treated as if it came character by character, so that the result does not depend on how tokens cut
it: the answer ends at the stop text that is complete first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .reasoning import AnswerEvent, Text


class StopTexts:
    """Hold back the end of a text while it may be the beginning of a stop text.

    Without stop texts everything passes as it comes.

    Attributes:
        reached: Whether a stop text was found.
    """

    def __init__(self, texts: Sequence[str], *, verbatim: bool = False) -> None:
        """Look for ``texts``.

        Args:
            texts: The stop texts.
            verbatim: Whether white space before a stop text belongs to the answer.
        """
        self.reached = False
        self._texts = tuple(texts)
        self._verbatim = verbatim
        self._held = ""

    def filter(self, events: Iterable[AnswerEvent]) -> Iterator[AnswerEvent]:
        """Yield those of ``events`` that certainly stand before a stop text."""
        for event in events:
            if self.reached:
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
        if not self.reached and waiting and self._texts:
            self.reached = self._find(self._held + waiting) is not None
        return self.reached

    def finish(self) -> Iterator[AnswerEvent]:
        """Yield what is held back, when no more text comes."""
        held = self._held
        self._held = ""
        if held and not self.reached:
            yield Text(held)

    def _search(self, text: str) -> Iterator[AnswerEvent]:
        end = self._find(text)
        self.reached = end is not None
        if end is None:
            end = self._find_beginning(text)
        shown = text[:end]
        if end < len(text) and not self._verbatim:
            shown = shown.rstrip()
        self._held = text[len(shown) :]
        if shown:
            yield Text(shown)

    def _find(self, text: str) -> int | None:
        """Return where the stop text begins that is complete first, the longest of several."""
        found = []
        for stop in self._texts:
            at = text.find(stop)
            if at >= 0:
                found.append((at + len(stop), at))
        return min(found)[1] if found else None

    def _find_beginning(self, text: str) -> int:
        """Return where an end of ``text`` begins that may grow into a stop text."""
        longest = max(len(stop) for stop in self._texts)
        for at in range(max(0, len(text) - longest + 1), len(text)):
            if any(stop.startswith(text[at:]) for stop in self._texts):
                return at
        return len(text)
