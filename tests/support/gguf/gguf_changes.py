"""GGUF files with something wrong in them, made from a whole one: other metadata, other tensors,
other bytes; all else stays valid.

A :data:`Change` alters a :class:`Parts` in place; most are made by the small functions here, so
that a test is one row of a table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType

U32 = 4
I32 = 5
F32 = 6
BOOL = 7
STRING = 8
ARRAY = 9
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
ALIGNMENT = 32
NAN = float("nan")


@dataclass
class Tensor:
    shape: tuple[int, ...]
    type: int
    data: bytes


@dataclass
class Parts:
    """What a GGUF file consists of. ``metadata`` has type and bytes of each value; tensors are in
    the order of their data.
    """

    metadata: dict[str, tuple[int, bytes]]
    tensors: dict[str, Tensor]

    def write(self, path: Path) -> Path:
        """Write a file whose tensor table fits its data."""
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.metadata))
        for key, (kind, value) in self.metadata.items():
            head += text(key) + struct.pack("<I", kind) + value
        data = bytearray()
        for name, tensor in self.tensors.items():
            head += text(name) + struct.pack(
                f"<I{len(tensor.shape)}QIQ",
                len(tensor.shape),
                *tensor.shape,
                tensor.type,
                len(data),
            )
            data += tensor.data + bytes(-len(tensor.data) % ALIGNMENT)
        path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + data)
        return path


Change = Callable[[Parts], None]


def parts_of(path: Path) -> Parts:
    """Take apart the GGUF file at ``path``."""
    header, data = read_header(path), path.read_bytes()
    metadata, at = {}, 24
    for key in header.metadata:
        at += 8 + len(key.encode())
        kind = struct.unpack_from("<I", data, at)[0]
        end = _end(data, at + 4, kind)
        metadata[key] = (kind, data[at + 4 : end])
        at = end
    tensors = {}
    for tensor in sorted(header.tensors, key=lambda tensor: tensor.offset):
        start = header.data_start + tensor.offset
        tensors[tensor.name] = Tensor(
            tensor.shape, int(tensor.type), data[start : start + tensor.nbytes]
        )
    return Parts(metadata, tensors)


def text(value: str | bytes) -> bytes:
    """Return a string in GGUF's encoding."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def put(
    key: str, value: float | bool | str | Sequence[int] | None, kind: int | None = None
) -> Change:
    """Set metadata; None removes the key. A whole number becomes a U32, or an I32 when it is
    negative.
    """

    def do(parts: Parts) -> None:
        if value is None:
            del parts.metadata[key]
        elif isinstance(value, str):
            parts.metadata[key] = (STRING, text(value))
        elif isinstance(value, bool):
            parts.metadata[key] = (BOOL, bytes([value]))
        elif isinstance(value, float):
            parts.metadata[key] = (F32, struct.pack("<f", value))
        elif isinstance(value, int):
            parts.metadata[key] = (
                kind or (U32 if value >= 0 else I32),
                struct.pack("<I", value % (1 << 32)),
            )
        else:
            parts.metadata[key] = (
                ARRAY,
                struct.pack("<IQ", kind or U32, len(value))
                + struct.pack(f"<{len(value)}I", *value),
            )

    return do


def tokens(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Replace the vocabulary."""

    def do(parts: Parts) -> None:
        data = parts.metadata["tokenizer.ggml.tokens"][1]
        at = 12
        words = []
        while at < len(data):
            end = _end(data, at, STRING)
            words.append(data[at + 8 : end])
            at = end
        words = change(words)
        parts.metadata["tokenizer.ggml.tokens"] = (
            ARRAY,
            struct.pack("<IQ", STRING, len(words)) + b"".join(map(text, words)),
        )

    return do


def without(name: str) -> Change:
    """Remove one tensor."""

    def do(parts: Parts) -> None:
        del parts.tensors[name]

    return do


def reshaped(name: str, *shape: int) -> Change:
    """Give one tensor another shape, with as many bytes as that takes."""

    def do(parts: Parts) -> None:
        tensor = parts.tensors[name]
        tensor.shape = shape
        _resize(tensor)

    return do


def retyped(name: str, kind: GgmlType) -> Change:
    """Give one tensor another type, with as many bytes as that takes."""

    def do(parts: Parts) -> None:
        tensor = parts.tensors[name]
        tensor.type = int(kind)
        _resize(tensor)

    return do


def filled(pattern: bytes, name: str = "") -> Change:
    """Fill the data of one tensor, or of all, with ``pattern``."""

    def do(parts: Parts) -> None:
        for tensor in [parts.tensors[name]] if name else parts.tensors.values():
            tensor.data = (pattern * (len(tensor.data) // len(pattern) + 1))[: len(tensor.data)]

    return do


def _resize(tensor: Tensor) -> None:
    elements = 1
    for n in tensor.shape:
        elements *= n
    size = GgmlType(tensor.type).nbytes(elements)
    tensor.data = (tensor.data * (size // len(tensor.data) + 1))[:size]


def _end(data: bytes, at: int, kind: int) -> int:
    """Return where a value that begins ``at`` ends."""
    if kind == STRING:
        return at + 8 + int(struct.unpack_from("<Q", data, at)[0])
    if kind != ARRAY:
        return at + WIDTHS[kind]
    item, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if item != STRING:
        return at + int(count) * WIDTHS[item]
    for _ in range(count):
        at = _end(data, at, STRING)
    return at
