"""Reading calls of tools out of an answer, token by token: the reverse of
:class:`.families.tools.ToolFormat`.

Like the reasoning parser it works on ids, so text that merely spells a tool's tokens calls nothing.
A name is told once it is whole, its arguments as they come but for what may turn out to be the
fence around them.
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
_MAX_NAME = 256  # characters; a name that goes on is cut there


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


CallPart = ToolCallStarted | ToolCallArguments


class _CallState(Enum):
    BETWEEN = auto()
    HEAD = auto()  # before the separator
    NAME = auto()  # after it, where the name comes second
    ARGUMENTS = auto()


class ToolCallParser:
    """Feed it tokens from the opening of the calls to their end. ``typed`` is as in ToolFormat;
    ``tokens`` are ids by spelling.
    """

    def __init__(self, tokens: Mapping[str, int], *, typed: bool) -> None:
        self._spelled = {id: spelling for spelling, id in tokens.items()}
        self._typed = typed
        self._state = _CallState.BETWEEN
        self._held = ""
        self._index = -1
        self._fenced = False
        self.open = False

    def opens(self, token: int) -> bool:
        """Whether ``token`` begins calls. A single call may come without what encloses all of
        them.
        """
        return self._spelled.get(token) in (CALLS_BEGIN.token, CALL_BEGIN.token)

    def feed(self, token: int, text: str) -> Iterator[CallPart]:
        """``text`` is what ``token`` adds, ignored for the calls' own tokens."""
        spelling = self._spelled.get(token)
        if spelling is None:
            yield from self.text(text)
        elif spelling == CALLS_BEGIN.token:
            self.open = True
        elif spelling == CALLS_END.token:
            yield from self.flush()
            self.open = False
        elif spelling == CALL_BEGIN.token:
            yield from self.flush()
            self.open, self._state = True, _CallState.HEAD
        elif spelling == CALL_END.token:
            yield from self.flush()
        elif self._state is _CallState.HEAD and not self._typed:
            yield from self._named(self._held)
        elif self._state is _CallState.HEAD:
            self._state, self._held = _CallState.NAME, ""

    def text(self, text: str) -> Iterator[CallPart]:
        """More text of the current part of a call."""
        if self._state is _CallState.BETWEEN:
            return
        self._held += text
        if self._state is _CallState.NAME and "\n" in self._held:
            name, _, rest = self._held.partition("\n")
            yield from self._named(name)
            self._held = rest
        if self._state is _CallState.ARGUMENTS:
            yield from self._arguments(last=False)

    def flush(self) -> Iterator[CallPart]:
        """Ends the call that is open, if one is."""
        if self._state is _CallState.NAME or (
            self._state is _CallState.HEAD and self._held.strip()
        ):
            yield from self._named(self._held)
        if self._state is _CallState.ARGUMENTS:
            yield from self._arguments(last=True)
        self._state, self._held = _CallState.BETWEEN, ""

    def _named(self, name: str) -> Iterator[CallPart]:
        self._index += 1
        self._state, self._held, self._fenced = _CallState.ARGUMENTS, "", not self._typed
        yield ToolCallStarted(self._index, name.strip()[:_MAX_NAME])

    def _arguments(self, *, last: bool) -> Iterator[CallPart]:
        """What is surely of the arguments; the rest stays held."""
        if not self._fenced:
            begun = self._held.lstrip()
            if not last and FENCE.startswith(begun):
                return
            self._fenced, self._held = True, begun.removeprefix(FENCE)
        sure = _before_fence(self._held) if self._typed else self._held
        self._held = "" if last else self._held[len(sure) :]
        if sure:
            yield ToolCallArguments(self._index, sure)


def _before_fence(text: str) -> str:
    """``text`` without what may belong to the closing fence at its end: white space, up to three
    backticks, white space.
    """
    text = text.rstrip()
    ticks = len(text) - len(text.rstrip("`"))
    return text[: len(text) - min(ticks, 3)].rstrip()
