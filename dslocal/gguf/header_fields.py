"""The fields that a GGUF header is made of: numbers, texts and arrays, never past a given size.

Nothing is made of a count or a length before the bytes for it are known to be there.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, TypeAlias

from dslocal.errors import GgufError
from dslocal.file_kinds import HEAD_BYTES, content_kind

MAX_DEPTH = 4  # arrays of arrays
_MIN_ITEM_BYTES = 8  # that an item of an array takes at least

Scalar: TypeAlias = int | float | bool | str
Value: TypeAlias = "Scalar | list[Value]"

# enum gguf_metadata_value_type; the numbers are given as struct's codes
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


class FieldReader:
    """Reads little-endian fields and never past ``size``. Every method raises GgufError."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        """Read from the start of ``file``, at most ``size`` bytes; ``name`` is for messages."""
        self._file, self._size = file, size
        self.name = name
        self.position = 0

    def require_magic(self) -> None:
        """Read the first four bytes; name the file for what it is where they are another's."""
        magic = self._file.read(min(4, self._size))
        self.position = len(magic)
        if magic == b"GGUF":
            return
        head = magic + self._file.read(max(min(self._size, HEAD_BYTES) - len(magic), 0))
        kind = content_kind(head, self._size)
        if kind is None:
            raise GgufError(
                f"{self.name}: not a GGUF file",
                hint="dslocal convert makes a GGUF file from a checkpoint",
            )
        raise GgufError(f"{self.name}: not a GGUF file, but {kind.what}", hint=kind.hint)

    def _cut_off(self, position: int) -> GgufError:
        return GgufError(
            f"{self.name}: cut off inside the header, after {position:,} bytes",
            hint="download or convert it again",
        )

    def require_room(self, count: int, min_bytes: int, what: str) -> None:
        """Reject ``count`` items of at least ``min_bytes`` where the file has no room for them."""
        if count * min_bytes > self._size - self.position:
            raise GgufError(f"{self.name}: claims {count:,} {what}, more than the file can hold")

    def take(self, n: int) -> bytes:
        """Read exactly ``n`` bytes."""
        if n > self._size - self.position:
            raise self._cut_off(self.position)
        data = self._file.read(n)
        if len(data) != n:
            raise self._cut_off(self.position + len(data))
        self.position += n
        return data

    def number(self, code: str) -> int:
        """Read an integer of one of struct's codes."""
        return int(struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0])

    def string(self) -> str:
        """Read a string; bytes that are not UTF-8 are replaced."""
        return self.take(self.number("Q")).decode("utf-8", "replace")

    def value(self, kind: int, key: str, depth: int = 0) -> Value:
        """Read a metadata value.

        Args:
            kind: Its number in ``enum gguf_metadata_value_type``.
            key: Its key, for messages.
            depth: How many arrays it lies in.
        """
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array(key, depth)
        if code := _SCALARS.get(kind):
            scalar: Scalar = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]
            return scalar
        raise GgufError(f"{self.name}: {key[:80]}: unknown value type {kind}")

    def _array(self, key: str, depth: int) -> list[Value]:
        if depth >= MAX_DEPTH:
            raise GgufError(f"{self.name}: {key[:80]}: arrays nested too deep")
        item, count = self.number("I"), self.number("Q")
        if code := _SCALARS.get(item):
            width = struct.calcsize("<" + code)
            self.require_room(count, width, f"numbers in {key[:80]}")
            return list(struct.unpack(f"<{count}{code}", self.take(count * width)))
        self.require_room(count, _MIN_ITEM_BYTES, f"items in {key[:80]}")
        return [self.value(item, key, depth + 1) for _ in range(count)]
