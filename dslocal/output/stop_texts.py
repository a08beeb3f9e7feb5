"""Ending an answer at a text: what stands before it is the answer, and nothing of it is ever passed
on.

Only the answer is searched, not the thought and not calls. What comes in stretches is treated as if
it came character by character, so that the result does not depend on how tokens cut it: the answer
ends at the stop text that is complete first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .reasoning import AnswerEvent, Text


class StopTexts:
    """Holds back the end of an answer while it may be the beginning of a stop text.

    ``verbatim`` is text that goes on, where white space before a stop text belongs to the answer;
    elsewhere it does not. Without stop texts everything passes as it comes.
    """

    def __init__(self, texts: Sequence[str], *, verbatim: bool = False) -> None:
        self._texts, self._verbatim = tuple(texts), verbatim
        self._held = ""
        self.reached = False

    def passed(self, parts: Iterable[AnswerEvent]) -> Iterator[AnswerEvent]:
        """Of ``parts``, what certainly stands before a stop text. After one, nothing."""
        for part in parts:
            if self.reached:
                return
            if not isinstance(part, Text) or not self._texts:
                yield from self.finish()
                yield part
                continue
            yield from self._answer(self._held + part.text)

    def ended_in(self, waiting: str) -> bool:
        """Whether a stop text is reached, counting ``waiting``: white space at the answer's end
        that has not been passed on.
        """
        if not self.reached and waiting and self._texts:
            self.reached = self._found(self._held + waiting) is not None
        return self.reached

    def finish(self) -> Iterator[AnswerEvent]:
        """What is held back, when no more of the answer comes."""
        held, self._held = self._held, ""
        if held and not self.reached:
            yield Text(held)

    def _answer(self, text: str) -> Iterator[AnswerEvent]:
        at = self._found(text)
        self.reached = at is not None
        if at is None:
            at = self._open(text)
        shown = text[:at] if self._verbatim else text[:at].rstrip()
        if at == len(text):
            shown = text
        self._held = text[len(shown) :]
        if shown:
            yield Text(shown)

    def _found(self, text: str) -> int | None:
        """Where the stop text begins that is complete first, the longest of those that end
        there.
        """
        ends = [(at + len(stop), at) for stop in self._texts if (at := text.find(stop)) >= 0]
        return min(ends)[1] if ends else None

    def _open(self, text: str) -> int:
        """Where the longest end of ``text`` begins with which a stop text begins."""
        longest = max(len(stop) for stop in self._texts)
        for at in range(max(0, len(text) - longest + 1), len(text)):
            if any(stop.startswith(text[at:]) for stop in self._texts):
                return at
        return len(text)
