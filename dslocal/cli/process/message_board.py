"""Messages from a child process to its parent: the last one of each kind, in memory of both.

Writing one takes no longer if the parent reads nothing, as it would with a pipe that is full. The
messages survive however the child ends.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

MAX_MESSAGE = 1024  # characters
_LENGTH = 4  # bytes of a message's length plus one; 0 where there is none
_SLOT = _LENGTH + 4 * MAX_MESSAGE  # bytes


class MessageBoard:
    """The last message of each kind. Make it before the fork."""

    def __init__(self, kinds: Sequence[str]) -> None:
        """Reserve the memory for messages of these kinds."""
        self._starts = {kind: index * _SLOT for index, kind in enumerate(kinds)}
        self._memory = mmap.mmap(-1, _SLOT * len(kinds))

    def put(self, kind: str, text: str) -> None:
        """Write a message, or as much of it as has room, in place of the last one of its kind."""
        data = text[:MAX_MESSAGE].encode("utf-8", "replace")
        start = self._starts[kind]
        self._set_length(start, 0)  # until it is complete
        self._memory[start + _LENGTH : start + _LENGTH + len(data)] = data
        self._set_length(start, len(data) + 1)

    def read(self) -> dict[str, str]:
        """Return the messages by kind."""
        found = {}
        for kind, start in self._starts.items():
            length = int.from_bytes(self._memory[start : start + _LENGTH], "little") - 1
            if length >= 0:
                data = self._memory[start + _LENGTH : start + _LENGTH + length]
                found[kind] = data.decode("utf-8", "replace")
        return found

    def _set_length(self, start: int, length: int) -> None:
        self._memory[start : start + _LENGTH] = length.to_bytes(_LENGTH, "little")
