"""Telling an answer's reasoning from the answer itself, and both from calls of tools, token by
token.

Working on ids makes it exact: the closing tag is one token, and text that merely spells it is not
it. White space around the tags belongs to neither part; it is held back until what follows shows
that it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from dslocal.prompts.families import Family
from dslocal.prompts.messages import Segment, Special, Vocabulary

from .tool_calls import TOKENS, CallPart, ToolCallParser


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A stretch of the thought."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A stretch of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reclassified:
    """All that came as :class:`Text` so far was reasoning: its opening tag was missing."""


AnswerEvent = Reasoning | Text | Reclassified | CallPart


class _ReasoningState(Enum):
    START = auto()
    THOUGHT = auto()
    ANSWER = auto()
    CALLS = auto()


class ReasoningParser:
    """Feed it token ids with their text; it yields stretches of reasoning and answer.

    ``tags`` are the opening and closing tag, each as (id, spelling), or None where the family knows
    no thought. ``inside`` says that the prompt already opened the thought, ``bypassed`` that it
    also closed it. A tag where none is due, as in the answer's code, is text. ``calls`` reads calls
    of tools, which follow the answer. ``verbatim`` keeps white space around the answer, for text
    that goes on. ``begun`` says that the prompt ends in the midst of a part.
    """

    def __init__(
        self,
        tags: tuple[tuple[int, str], tuple[int, str]] | None,
        *,
        inside: bool = False,
        bypassed: bool = False,
        calls: ToolCallParser | None = None,
        verbatim: bool = False,
        begun: bool = False,
    ) -> None:
        self._spelling = dict(tags or ())
        self._open, self._close = (id for id, _ in tags) if tags else (-1, -1)
        self._state = (
            _ReasoningState.THOUGHT
            if inside
            else _ReasoningState.ANSWER
            if bypassed or not tags
            else _ReasoningState.START
        )
        self._closed = bypassed
        self._calls, self.verbatim = calls, verbatim
        self._held = ""
        self._begun = begun  # whether the current part has shown anything but white space
        self._before_calls: str | None = (
            None  # white space between an answer and calls, where an answer may go on after them
        )

    @property
    def thinking(self) -> bool:
        """Whether a thought is open."""
        return self._state is _ReasoningState.THOUGHT

    @property
    def waiting(self) -> str:
        """White space at the end of the answer so far: it belongs to the answer if more follows."""
        return self._held if self._state is _ReasoningState.ANSWER else ""

    @property
    def unsure(self) -> bool:
        """Whether what comes as answer may yet turn out to have been a thought, its opening tag
        missing.
        """
        return bool(self._spelling) and not self._closed and not self.thinking

    def feed(self, token: int, text: str) -> Iterator[AnswerEvent]:
        """``text`` is what ``token`` adds in whole characters; it is ignored for the tags."""
        if (
            self._calls
            and not self.thinking
            and (self._state is _ReasoningState.CALLS or self._calls.opens(token))
        ):
            yield from self._called(self._calls, token, text)
        elif token == self._open and self._state is _ReasoningState.START:
            self._enter(_ReasoningState.THOUGHT)
        elif token == self._close and not self._closed:
            if self._state is _ReasoningState.ANSWER:
                yield Reclassified()
            self._closed = True
            self._enter(_ReasoningState.ANSWER)
        else:
            yield from self.text(self._spelling.get(token, text))

    def text(self, text: str) -> Iterator[AnswerEvent]:
        """More text of the current part."""
        if self._state is _ReasoningState.CALLS and self._calls:
            yield from self._calls.text(text)
            return
        if self.verbatim:
            if text:
                yield Text(text)
            return
        text = self._held + text
        if not self._begun and self._before_calls is None:
            text = text.lstrip()
        shown = text.rstrip()
        self._held = text[len(shown) :]
        if not shown:
            return
        if self._before_calls is not None:
            apart = self._before_calls + shown[: len(shown) - len(shown.lstrip())]
            shown, self._before_calls = (apart or "\n") + shown.lstrip(), None
        self._begun = True
        if self._state is _ReasoningState.START:
            self._state = _ReasoningState.ANSWER
        yield Reasoning(shown) if self.thinking else Text(shown)

    def finish(self, text: str = "") -> Iterator[AnswerEvent]:
        """The last ``text``, and what waits when nothing more comes."""
        yield from self.text(text)
        if self._state is _ReasoningState.CALLS and self._calls:
            yield from self._calls.flush()

    def _called(self, calls: ToolCallParser, token: int, text: str) -> Iterator[AnswerEvent]:
        if self._state is not _ReasoningState.CALLS:
            if self._state is _ReasoningState.ANSWER and self._begun:
                self._before_calls = self._held
            self._enter(_ReasoningState.CALLS)
        yield from calls.feed(token, text)
        if not calls.open:
            self._enter(_ReasoningState.ANSWER)

    def _enter(self, state: _ReasoningState) -> None:
        self._state, self._held, self._begun = state, "", False


def make_parser(
    family: Family, prompt: Sequence[Segment], vocabulary: Vocabulary
) -> ReasoningParser:
    """The parser of the answer to ``prompt``: where in a thought the prompt ends, its own segments
    say.
    """
    calls = None
    if family.format.tools:
        ids = {
            spelling: id for spelling in TOKENS if (id := vocabulary.special(spelling)) is not None
        }
        calls = ToolCallParser(ids, typed=family.format.tools.typed)
    filling = family.fim is not None and family.fim.end in prompt
    if family.format.think is None or filling:
        return ReasoningParser(None, calls=calls, verbatim=filling or family.is_base)
    (opening, closing), last, begun = family.format.think, None, ""
    for segment in reversed(prompt):
        if isinstance(segment, Special):
            last = segment
            break
        begun = segment.text + begun
    tags = [
        (-1 if (id := vocabulary.special(tag.token)) is None else id, tag.token)
        for tag in (opening, closing)
    ]
    inside, begun = last == opening, begun.strip()
    return ReasoningParser(
        (tags[0], tags[1]),
        inside=inside,
        bypassed=last == closing or bool(begun and not inside),
        calls=calls,
        begun=bool(begun),
    )
