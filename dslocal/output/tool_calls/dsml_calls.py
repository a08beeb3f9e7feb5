"""Read DSML tool calls out of an answer as it comes: the reverse of ``DsmlToolFormat.calls``.

``<｜DSML｜invoke name="f">`` begins a call, ``<｜DSML｜parameter name="key" string="true">`` an
argument of it. In V4's vocabulary ``｜DSML｜`` is one token, and then text that merely spells it is
text. Arguments come as JSON while they are written: a text is escaped, anything else is JSON
already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from dslocal.prompts.families.dsml_tools import DSML, DsmlToolFormat

from .tool_call_parser import MAX_NAME, CallEvent, ToolCallArguments, ToolCallStarted

MARK = "\ufdd0"  # stands for ｜DSML｜ here: a code point that no text has
REPLACEMENT = "\ufffd"
OPENING_TAGS = (f"<{MARK}", f"</{MARK}")
MAX_TAG = 1024  # characters; a longer one is not a tag
# The parts of <｜DSML｜parameter name="…" string="true"> after the mark. A name may hold a >.
_NAMED = re.compile(r'\s*[^\s>]+ name="')
_END = re.compile('">')
_TYPED_END = re.compile('" string="(true|false)">')


class BeforeCalls(NamedTuple):
    """Text that comes before the calls, and the rest, which may begin them."""

    text: str
    rest: str
    begins_calls: bool


class _DsmlTag(NamedTuple):
    """A tag: ``kind`` is its name, without the space that V4.1 has before it."""

    kind: str
    closes: bool
    name: str
    is_text: bool


class DsmlCallParser:
    """Read an answer's text from the opening of the calls to their end.

    Attributes:
        is_open: Whether the calls have started and not ended.
    """

    def __init__(self, form: DsmlToolFormat, token: int | None) -> None:
        """Start before the first call.

        Args:
            form: How the family writes calls.
            token: The id of ``｜DSML｜``; None where the vocabulary spells it in several tokens.
        """
        self.is_open = False
        self._block = form.block.strip()
        self._invoke = form.invoke.strip()
        self._parameter = form.parameter.strip()
        self._token = token
        self._held = ""
        self._in_tag = False  # after the mark, before the end of the tag
        self._closes = False  # whether that tag closes
        self._in_value = False  # of an argument
        self._is_text = False  # whether that value is a text
        self._index = -1
        self._n_arguments = -1  # of the call at work; -1 between calls
        self._rest: str | None = None  # what came after the calls

    def marked(self, token: int, text: str) -> str:
        """Return what ``token`` adds, with :data:`MARK` in place of ``｜DSML｜``."""
        if token == self._token:
            return MARK
        return text.replace(MARK, REPLACEMENT)

    def split(self, text: str) -> BeforeCalls:
        """Divide ``text`` of the answer before the calls, with marks, at what may begin them."""
        text = self._with_marks(text)
        start = text.find(OPENING_TAGS[0])
        if start >= 0:
            return BeforeCalls(spelled(text[:start]), text[start:], begins_calls=True)
        uncertain = _suffix_that_begins(text, self._openings())
        certain = len(text) - uncertain
        return BeforeCalls(spelled(text[:certain]), text[certain:], begins_calls=False)

    def text(self, text: str) -> Iterator[CallEvent]:
        """Yield the events of more text of the calls, with marks."""
        self._held = self._with_marks(self._held + text)
        while self._rest is None:
            before = len(self._held), self._in_tag
            yield from self._read_tag() if self._in_tag else self._read_until_tag()
            if (len(self._held), self._in_tag) == before:
                return

    def flush(self) -> Iterator[CallEvent]:
        """Yield the events that end the open call, if one is open."""
        if self._in_value and not self._in_tag:
            yield from self._value(self._held)
        self._held = ""
        self._in_tag = self._in_value = False

    def take_rest(self) -> str | None:
        """Return the text after the end of the calls; None while they have not ended."""
        rest, self._rest = self._rest, None
        return rest if rest is None else spelled(rest)

    def _openings(self) -> tuple[str, ...]:
        """Return how tags begin in the text as it comes."""
        if self._token is not None:
            return OPENING_TAGS
        return f"<{DSML.token}", f"</{DSML.token}"

    def _with_marks(self, text: str) -> str:
        """Return ``text`` with marks, if the vocabulary spells ``｜DSML｜`` in several tokens."""
        if self._token is not None:
            return text
        return text.replace(f"<{DSML.token}", OPENING_TAGS[0]).replace(
            f"</{DSML.token}", OPENING_TAGS[1]
        )

    def _read_until_tag(self) -> Iterator[CallEvent]:
        """Read what stands before the next tag: an argument's value, or space between tags."""
        found = [(self._held.find(opening), opening) for opening in OPENING_TAGS]
        start, opening = min((at for at in found if at[0] >= 0), default=(-1, ""))
        if not opening:
            start = len(self._held) - _suffix_that_begins(self._held, self._openings())
        if self._in_value:
            yield from self._value(self._held[:start])
        self._held = self._held[start + len(opening) :]
        if opening:
            self._in_tag = True
            self._closes = opening == OPENING_TAGS[1]

    def _read_tag(self) -> Iterator[CallEvent]:
        """Read the tag at work if its end is there."""
        length = self._tag_length(self._held[:MAX_TAG])
        if not length and len(self._held) < MAX_TAG:
            return
        tag = self._parse_tag(self._held[:length])
        written, self._held = self._held[:length], self._held[length:]
        self._in_tag = False
        if not self._in_value:
            yield from self._apply(tag)
        elif tag.kind == self._parameter and tag.closes:
            self._in_value = False
            yield from self._value_end()
        else:  # what looks like another tag belongs to the value
            yield from self._value(OPENING_TAGS[self._closes] + written)

    def _tag_length(self, text: str) -> int:
        """Return the length of the tag that ``text`` begins with, ``>`` included; 0 if none ends.

        Only what stands there decides, not how much of it comes at a time.
        """
        named = _NAMED.match(text)
        if self._closes or not named:  # the name of the block alone, or not yet more
            at = text.find(">")
            is_whole = at >= 0 and (self._closes or '"' not in text[:at])
            return at + 1 if is_whole else 0
        is_parameter = text.strip().startswith(self._parameter)
        end = (_TYPED_END if is_parameter else _END).search(text, named.end())
        return end.end() if end else 0

    def _apply(self, tag: _DsmlTag) -> Iterator[CallEvent]:
        if tag.kind == self._block:
            self.is_open = not tag.closes
            if tag.closes:
                self._rest, self._held = self._held, ""
        elif tag.kind == self._invoke and not tag.closes:
            self._index += 1
            self._n_arguments = 0
            yield ToolCallStarted(self._index, tag.name[:MAX_NAME])
        elif tag.kind == self._invoke and self._n_arguments >= 0:
            yield ToolCallArguments(self._index, "}" if self._n_arguments else "{}")
            self._n_arguments = -1
        elif tag.kind == self._parameter and not tag.closes and self._n_arguments >= 0:
            yield self._begin_value(tag)

    def _begin_value(self, tag: _DsmlTag) -> CallEvent:
        opening = ", " if self._n_arguments else "{"
        self._n_arguments += 1
        self._in_value = True
        self._is_text = tag.is_text
        quote = '"' if tag.is_text else ""
        key = json.dumps(tag.name, ensure_ascii=False)
        return ToolCallArguments(self._index, f"{opening}{key}: {quote}")

    def _value_end(self) -> Iterator[CallEvent]:
        if self._is_text:
            yield ToolCallArguments(self._index, '"')

    def _value(self, text: str) -> Iterator[CallEvent]:
        """Yield more of an argument's value."""
        if text:
            text = spelled(text)
            escaped = json.dumps(text, ensure_ascii=False)[1:-1] if self._is_text else text
            yield ToolCallArguments(self._index, escaped)

    def _parse_tag(self, text: str) -> _DsmlTag:
        """Return what a whole tag says."""
        kind = text.strip().split(" ")[0].split(">")[0]
        named = _NAMED.match(text)
        if not named:
            return _DsmlTag(kind, self._closes, "", False)
        typed = _TYPED_END.search(text, named.end())
        end = typed or _END.search(text, named.end())
        name = text[named.end() : end.start() if end else len(text)]
        return _DsmlTag(kind, self._closes, spelled(name), typed is not None and typed[1] == "true")


def _suffix_that_begins(text: str, openings: tuple[str, ...]) -> int:
    """Return how many characters at the end of ``text`` may be the beginning of an opening."""
    longest = max(len(opening) for opening in openings)
    for length in range(min(longest, len(text)), 0, -1):
        if any(opening.startswith(text[-length:]) for opening in openings):
            return length
    return 0


def spelled(text: str) -> str:
    """Return ``text`` with ``｜DSML｜`` spelled out."""
    return text.replace(MARK, DSML.token)
