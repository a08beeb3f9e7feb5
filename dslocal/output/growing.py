"""Attributes that grow piece by piece, in time that is proportional to their length.

Both are descriptors: read and set like any attribute. Pieces are joined when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from dslocal.prompts.messages import ToolCall


class _Growing:
    """Keeps the pieces of one attribute in the object that has it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._pieces_name = f"_{name}_pieces"

    def pieces(self, instance: Any) -> list[str]:
        """Return the pieces, to which more may be appended."""
        found: list[str] = instance.__dict__.setdefault(self._pieces_name, [])
        return found


class GrowingText(_Growing):
    """A text."""

    @overload
    def __get__(self, instance: None, owner: type) -> str: ...
    @overload
    def __get__(self, instance: object, owner: type) -> str: ...
    def __get__(self, instance: object | None, owner: type) -> str:
        """Return the text; of a class, the empty one, which is the default."""
        if instance is None:
            return ""
        pieces = self.pieces(instance)
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""

    def __set__(self, instance: object, text: str) -> None:
        self.pieces(instance)[:] = [text]


class GrowingCalls(_Growing):
    """Tool calls; the pieces are the arguments of the last one."""

    def __set_name__(self, owner: type, name: str) -> None:
        super().__set_name__(owner, name)
        self._calls_name = f"_{name}_list"

    @overload
    def __get__(self, instance: None, owner: type) -> Sequence[ToolCall]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> list[ToolCall]: ...
    def __get__(self, instance: object | None, owner: type) -> Sequence[ToolCall]:
        """Return the calls; of a class, none, which is the default."""
        if instance is None:
            return ()
        calls: list[ToolCall] = instance.__dict__[self._calls_name]
        pieces = self.pieces(instance)
        if pieces:
            last = calls[-1]
            calls[-1] = ToolCall(last.name, "".join((last.arguments, *pieces)))
            pieces.clear()
        return calls

    def __set__(self, instance: object, calls: Sequence[ToolCall]) -> None:
        instance.__dict__[self._calls_name] = list(calls)
        self.pieces(instance).clear()


def grow(instance: object, name: str, piece: str) -> None:
    """Append ``piece`` to the growing attribute called ``name``."""
    attribute: _Growing = vars(type(instance))[name]
    attribute.pieces(instance).append(piece)
