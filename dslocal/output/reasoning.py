"""Tell an answer's reasoning from its text, and both from tool calls, token by token.

Reading token ids makes it exact: the closing tag is one token, and text that merely spells the tag
is text. White space around the tags belongs to neither part, so it is held back until the next text
shows that it belongs to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from dslocal.prompts.families import Family
from dslocal.prompts.families.dsml_tools import DSML, DsmlToolFormat
from dslocal.prompts.families.tools import CALL_BEGIN, CALL_END, ToolFormat
from dslocal.prompts.messages import Segment, Special, Vocabulary

from .tool_calls import TOKENS, CallEvent, ToolCallParser
from .tool_calls.dsml_calls import DsmlCallParser, spelled


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A part of the reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A part of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Reclassified:
    """All :class:`Text` so far was reasoning, because its opening tag was missing."""


AnswerEvent = Reasoning | Text | Reclassified | CallEvent


# Characters of white space that are held back: beyond them it is part of the text. So the work for
# a token does not grow with the answer.
MAX_HELD_SPACE = 4096


class Tag(NamedTuple):
    """A tag around the reasoning: its token id, -1 where the vocabulary lacks it, and spelling."""

    id: int
    spelling: str


class _ReasoningState(Enum):
    START = auto()  # before anything but white space
    REASONING = auto()
    TEXT = auto()
    CALLS = auto()


class ReasoningParser:
    """Read token ids with their text, and yield parts of the reasoning, the text and the calls.

    A tag where none is expected, for example in the answer's code, is text.
    """

    def __init__(
        self,
        tags: tuple[Tag, Tag] | None,
        *,
        inside: bool = False,
        bypassed: bool = False,
        calls: ToolCallParser | DsmlCallParser | None = None,
        verbatim: bool = False,
        mid_part: bool = False,
        partial_call: Sequence[CallEvent] | None = None,
    ) -> None:
        """Start where the prompt ends.

        Args:
            tags: The opening and the closing tag; None where the family has no reasoning.
            inside: Whether the prompt opens the reasoning.
            bypassed: Whether the prompt also closes it.
            calls: Reads tool calls, which follow the text.
            verbatim: Whether white space around the text is kept, for text that is completed.
            mid_part: Whether the prompt ends within a part, so that white space belongs to it.
            partial_call: Events of the call within which the prompt ends; None where it does not.
        """
        self.verbatim = verbatim
        self._opening = tags[0] if tags else None
        self._closing = tags[1] if tags else None
        self._partial_call = list(partial_call or ())  # yielded with the first token
        if partial_call is not None:
            self._state = _ReasoningState.CALLS
        elif inside:
            self._state = _ReasoningState.REASONING
        elif bypassed or tags is None:
            self._state = _ReasoningState.TEXT
        else:
            self._state = _ReasoningState.START
        self._closed = bypassed or partial_call is not None
        self._calls = calls if isinstance(calls, ToolCallParser) else None
        self._dsml = calls if isinstance(calls, DsmlCallParser) else None
        self._held = ""  # white space that may belong to the current part, or the calls' beginning
        self._has_shown = mid_part  # whether the part has shown anything but white space
        self._before_calls: str | None = None  # white space between text and the calls after it

    @property
    def is_reasoning(self) -> bool:
        """Return whether the reasoning is open."""
        return self._state is _ReasoningState.REASONING

    @property
    def is_uncertain(self) -> bool:
        """Return whether what comes as text may turn out to be reasoning without an opening tag."""
        return self._opening is not None and not self._closed and not self.is_reasoning

    @property
    def held_space(self) -> str:
        """Return white space at the end of the text, which belongs to it if more text follows."""
        return self._held if self._state is _ReasoningState.TEXT else ""

    def feed(self, token: int, text: str) -> Iterator[AnswerEvent]:
        """Yield the events of one token.

        Args:
            token: The token's id.
            text: What it adds in whole characters; ignored for tags.
        """
        yield from self._take_partial_call()
        if self._calls and self._belongs_to_calls(self._calls, token):
            yield from self._feed_calls(self._calls, token, text)
        elif self._is_tag(self._opening, token) and self._state is _ReasoningState.START:
            self._enter(_ReasoningState.REASONING)
        elif self._is_tag(self._closing, token) and not self._closed:
            if self._state is _ReasoningState.TEXT:
                yield Reclassified()
            self._closed = True
            self._enter(_ReasoningState.TEXT)
        else:
            text = self._spelling(token, text)
            yield from self.text(self._dsml.marked(token, text) if self._dsml else text)

    def text(self, text: str) -> Iterator[AnswerEvent]:
        """Yield the events of more text of the current part."""
        if self._state is _ReasoningState.CALLS and self._calls:
            yield from self._calls.text(text)
            return
        if self._state is _ReasoningState.CALLS and self._dsml:
            yield from self._dsml_text(self._dsml, text)
            return
        if self.verbatim:
            if text:
                yield Text(text)
            return
        text = self._held + text
        if self._dsml is None or self.is_reasoning:
            yield from self._show(spelled(text) if self._dsml else text, "")
            return
        found = self._dsml.split(text)
        yield from self._show(found.text, found.rest)
        if found.begins_calls:
            if self._state is _ReasoningState.TEXT and self._has_shown:
                # the blank line between text and calls belongs to the calls
                self._before_calls = self._held.removesuffix(found.rest).removesuffix("\n\n")
            self._enter(_ReasoningState.CALLS)
            yield from self._dsml_text(self._dsml, found.rest)

    def _show(self, text: str, uncertain: str) -> Iterator[AnswerEvent]:
        """Yield ``text`` but for white space at its end, which is held with what is uncertain."""
        if not self._has_shown and self._before_calls is None:
            text = text.lstrip()
        shown = text.rstrip()
        if len(text) - len(shown) > MAX_HELD_SPACE:
            shown = text
        self._held = text[len(shown) :] + uncertain
        if not shown:
            return
        if self._before_calls is not None:
            shown = self._after_calls(self._before_calls, shown)
            self._before_calls = None
        self._has_shown = True
        if self._state is _ReasoningState.START:
            self._state = _ReasoningState.TEXT
        yield Reasoning(shown) if self.is_reasoning else Text(shown)

    def finish(self, text: str = "") -> Iterator[AnswerEvent]:
        """Yield the events of the last ``text``, and of a call that no token ended."""
        yield from self._take_partial_call()
        yield from self.text(text)
        if self._state is _ReasoningState.CALLS:
            parser = self._calls or self._dsml
            if parser:
                yield from parser.flush()
        elif self._held.strip():  # what could have been the beginning of calls
            held, self._dsml = spelled(self._held), None
            self._held = ""
            yield from self.text(held)

    def _dsml_text(self, dsml: DsmlCallParser, text: str) -> Iterator[AnswerEvent]:
        """Yield the events of more text of the calls, and of the text after them."""
        yield from dsml.text(text)
        rest = dsml.take_rest()
        if not dsml.is_open and rest is not None:
            self._enter(_ReasoningState.TEXT)
            yield from self.text(rest)

    def _take_partial_call(self) -> list[CallEvent]:
        partial_call, self._partial_call = self._partial_call, []
        return partial_call

    def _is_tag(self, tag: Tag | None, token: int) -> bool:
        return tag is not None and token == tag.id

    def _spelling(self, token: int, text: str) -> str:
        """Return ``text``, or how a tag is spelled that stands where none is expected."""
        for tag in (self._opening, self._closing):
            if tag is not None and token == tag.id:
                return tag.spelling
        return text

    def _belongs_to_calls(self, calls: ToolCallParser, token: int) -> bool:
        if self.is_reasoning:
            return False
        return self._state is _ReasoningState.CALLS or calls.opens(token)

    def _feed_calls(self, calls: ToolCallParser, token: int, text: str) -> Iterator[AnswerEvent]:
        if self._state is not _ReasoningState.CALLS:
            if self._state is _ReasoningState.TEXT and self._has_shown:
                self._before_calls = self._held
            self._enter(_ReasoningState.CALLS)
        yield from calls.feed(token, text)
        if not calls.is_open:
            self._enter(_ReasoningState.TEXT)

    def _after_calls(self, before: str, shown: str) -> str:
        """Return text that follows calls, apart from the text ``before`` them by white space."""
        text = shown.lstrip()
        space = before + shown[: len(shown) - len(text)]
        return (space or "\n") + text

    def _enter(self, state: _ReasoningState) -> None:
        self._state = state
        self._held = ""
        self._has_shown = False


def make_parser(
    family: Family, prompt: Sequence[Segment], vocabulary: Vocabulary
) -> ReasoningParser:
    """Return the parser of the answer to ``prompt``, whose last segments say where it starts."""
    dsml = _make_dsml_parser(family, vocabulary)
    calls = _make_call_parser(family, vocabulary)
    fills_gap = family.fim is not None and family.fim.end in prompt
    partial_call = _partial_call_events(prompt, calls, vocabulary) if calls else None
    if family.format.think is None or fills_gap:
        return ReasoningParser(
            None,
            calls=calls,
            verbatim=fills_gap or family.is_base,
            partial_call=partial_call,
        )
    opening, closing = family.format.think
    last, text = _end_of_prompt(prompt)
    inside = last == opening
    mid_part = bool(text.strip())
    return ReasoningParser(
        (_tag(opening, vocabulary), _tag(closing, vocabulary)),
        inside=inside,
        bypassed=last == closing or (mid_part and not inside),
        calls=dsml or calls,
        mid_part=mid_part,
        partial_call=partial_call,
    )


def _partial_call_events(
    prompt: Sequence[Segment], calls: ToolCallParser, vocabulary: Vocabulary
) -> list[CallEvent] | None:
    """Have ``calls`` read the call within which the prompt ends, and return its events.

    Returns:
        None where the prompt does not end within a call.
    """
    specials = [place for place, segment in enumerate(prompt) if segment in (CALL_BEGIN, CALL_END)]
    if not specials or prompt[specials[-1]] == CALL_END:
        return None
    events: list[CallEvent] = []
    for segment in prompt[specials[-1] :]:
        if isinstance(segment, Special):
            id = vocabulary.special_id(segment.token)
            events += calls.feed(-1 if id is None else id, "")
        else:
            events += calls.text(segment.text)
    return events


def _make_call_parser(family: Family, vocabulary: Vocabulary) -> ToolCallParser | None:
    if not isinstance(family.format.tools, ToolFormat):
        return None
    found = {spelling: vocabulary.special_id(spelling) for spelling in TOKENS}
    ids = {spelling: id for spelling, id in found.items() if id is not None}
    return ToolCallParser(ids, typed=family.format.tools.typed)


def _make_dsml_parser(family: Family, vocabulary: Vocabulary) -> DsmlCallParser | None:
    tools = family.format.tools
    if not isinstance(tools, DsmlToolFormat):
        return None
    return DsmlCallParser(tools, vocabulary.special_id(DSML.token))


def _end_of_prompt(prompt: Sequence[Segment]) -> tuple[Special | None, str]:
    """Return the last special token of ``prompt``, and the text after it."""
    text = ""
    for segment in reversed(prompt):
        if isinstance(segment, Special):
            return segment, text
        text = segment.text + text
    return None, text


def _tag(special: Special, vocabulary: Vocabulary) -> Tag:
    id = vocabulary.special_id(special.token)
    return Tag(-1 if id is None else id, special.token)
