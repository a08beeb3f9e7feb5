"""Read tool calls out of an answer, token by token: the reverse of ``ToolFormat.calls``.

Like the reasoning parser it works on token ids, so text that merely spells a tool's tokens calls
nothing. A call's name comes once it is whole; its arguments come as they are written, except for
what may turn out to be the fence around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from dslocal.prompts.families.tools import (
    CALL_BEGIN,
    CALL_END,
    CALLS_BEGIN,
    CALLS_END,
    FENCE,
    SEPARATOR,
)

TOKENS = tuple(
    special.token for special in (CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEPARATOR)
)
MAX_NAME = 256  # characters; a longer name is cut there
MAX_HELD = 4096  # characters that are held back, so that a token's work does not grow


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model calls the tool ``name``; ``index`` counts the calls of one answer from 0."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """A stretch of the arguments of the call that began last: JSON as the model writes it."""

    index: int
    text: str


CallEvent = ToolCallStarted | ToolCallArguments


class _CallState(Enum):
    BETWEEN = auto()
    HEAD = auto()  # before the separator
    NAME = auto()  # after it, where the name comes second
    ARGUMENTS = auto()


class ToolCallParser:
    """Read the tokens from the opening of the calls to their end.

    Attributes:
        is_open: Whether the calls have started and not ended.
    """

    def __init__(self, tokens: Mapping[str, int], *, typed: bool) -> None:
        """Start before the first call.

        Args:
            tokens: Token ids by spelling.
            typed: As in :class:`dslocal.prompts.families.tools.ToolFormat`.
        """
        self.is_open = False
        self._spellings = {id: spelling for spelling, id in tokens.items()}
        self._typed = typed
        self._state = _CallState.BETWEEN
        self._held = ""
        self._index = -1
        self._past_fence = False  # whether the opening fence of the arguments has been read

    def opens(self, token: int) -> bool:
        """Return whether ``token`` begins calls.

        A single call may come without the tokens that enclose all of them.
        """
        return self._spellings.get(token) in (CALLS_BEGIN.token, CALL_BEGIN.token)

    def feed(self, token: int, text: str) -> Iterator[CallEvent]:
        """Yield the events of one token.

        Args:
            token: The token's id.
            text: What it adds; ignored for the calls' own tokens.
        """
        spelling = self._spellings.get(token)
        if spelling is None:
            yield from self.text(text)
        elif spelling == CALLS_BEGIN.token:
            self.is_open = True
        elif spelling == CALLS_END.token:
            yield from self.flush()
            self.is_open = False
        elif spelling == CALL_BEGIN.token:
            yield from self.flush()
            self.is_open = True
            self._state = _CallState.HEAD
        elif spelling == CALL_END.token:
            yield from self.flush()
        elif self._state is _CallState.HEAD and not self._typed:
            yield self._start(self._held)
        elif self._state is _CallState.HEAD:
            self._state = _CallState.NAME
            self._held = ""

    def text(self, text: str) -> Iterator[CallEvent]:
        """Yield the events of more text of the current part of a call."""
        if self._state is _CallState.BETWEEN:
            return
        is_head = self._state is not _CallState.ARGUMENTS
        if is_head and len(self._held) > MAX_HELD and "\n" not in text:
            return  # the name is cut long before
        self._held += text
        if self._state is _CallState.NAME and "\n" in self._held:
            name, arguments = self._held.split("\n", 1)
            yield self._start(name)
            self._held = arguments
        if self._state is _CallState.ARGUMENTS:
            yield from self._arguments(last=False)

    def flush(self) -> Iterator[CallEvent]:
        """Yield the events that end the open call, if one is open."""
        has_head = self._state is _CallState.HEAD and self._held.strip()
        if self._state is _CallState.NAME or has_head:
            yield self._start(self._held)
        if self._state is _CallState.ARGUMENTS:
            yield from self._arguments(last=True)
        self._state = _CallState.BETWEEN
        self._held = ""

    def _start(self, name: str) -> ToolCallStarted:
        """Move on to the arguments of the call of ``name``."""
        self._index += 1
        self._state = _CallState.ARGUMENTS
        self._held = ""
        self._past_fence = not self._typed
        return ToolCallStarted(self._index, name.strip()[:MAX_NAME])

    def _arguments(self, *, last: bool) -> Iterator[CallEvent]:
        """Yield what certainly belongs to the arguments; the rest stays held back."""
        if not self._past_fence:
            text = self._held.lstrip()
            if not last and FENCE.startswith(text):
                return
            self._past_fence = True
            self._held = text.removeprefix(FENCE)
        certain = _before_fence(self._held) if self._typed else self._held
        if len(self._held) - len(certain) > MAX_HELD:  # more than what stands before a fence
            certain = self._held
        self._held = "" if last else self._held[len(certain) :]
        if certain:
            yield ToolCallArguments(self._index, certain)


def _before_fence(text: str) -> str:
    """Return ``text`` without what may belong to the closing fence at its end.

    That is white space, up to three backticks, and white space.
    """
    text = text.rstrip()
    ticks = len(text) - len(text.rstrip("`"))
    return text[: len(text) - min(ticks, 3)].rstrip()
