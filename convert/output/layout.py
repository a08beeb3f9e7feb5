"""Where every tensor lies in which output file: types, offsets, and the splitting of a GGUF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.errors import UsageError
from dslocal.gguf.header import DEFAULT_ALIGNMENT
from dslocal.gguf.parts import PartName
from dslocal.gguf.tensor_types import GgmlType

# bytes of GGUF's fields (ggml/docs/gguf.md)
_MAGIC_AND_COUNTS = 24
_LENGTH = 8  # of a string
_TYPE = 4
_ARRAY_HEAD = 12  # type and length
_DIMENSION = 8
_N_DIMENSIONS = 4
_OFFSET = 8


class RawValue(NamedTuple):
    """A metadata value as the bytes of another GGUF file: its type, and what follows that."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A GGUF tensor with its type and its place.

    ``offset`` counts bytes from the start of the data section.
    """

    tensor: MappedTensor
    kind: GgmlType
    offset: int

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes, without padding."""
        return self.kind.nbytes(self.tensor.elements)


@dataclass(frozen=True)
class FileLayout:
    """One file. ``data_size`` is in bytes and includes the padding behind each tensor."""

    tensors: tuple[PlacedTensor, ...]
    data_size: int


@dataclass(frozen=True)
class Split:
    """How to cut an output into files.

    ``experts`` puts routed experts into files of their own; ``size`` is the most bytes of weights
    in a file (0: no limit).
    """

    experts: bool = False
    size: int = 0


def lay_out(
    tensors: Iterable[MappedTensor], types: Mapping[str, GgmlType], split: Split
) -> tuple[FileLayout, ...]:
    """Return the files of one output, with ``tensors`` in their order.

    Args:
        tensors: All tensors of the output.
        types: Their types by GGUF name.
        split: How to cut it.

    Raises:
        UsageError: A tensor alone is over the size limit.
    """
    tensors = list(tensors)
    groups = [tensors]
    if split.experts:
        groups = [
            [t for t in tensors if not t.is_routed_expert],
            [t for t in tensors if t.is_routed_expert],
        ]
    parts = [part for group in groups for part in _cut(group, types, split.size)]
    return tuple(_layout(part, types) for part in parts)


def file_names(out: Path, count: int) -> list[Path]:
    """Return the names of an output's files in llama.cpp's convention; the first is opened."""
    if count == 1:
        return [out]
    names = PartName(out.name.removesuffix(".gguf"), 1, count).all_parts()
    return [out.with_name(name) for name in names]


def header_size(
    arch: str, metadata: Iterable[tuple[str, Any]], tensors: Iterable[MappedTensor]
) -> int:
    """Return the bytes of an unsplit file before its weights, with padding.

    That is: magic, counts, metadata and tensor table.
    """
    entries = [("general.architecture", arch), *metadata]
    keys = sum(_LENGTH + len(key.encode()) + _value_size(value) for key, value in entries)
    table = sum(
        _LENGTH + len(t.name.encode()) + _N_DIMENSIONS + _DIMENSION * len(t.shape) + _TYPE + _OFFSET
        for t in tensors
    )
    return padded(_MAGIC_AND_COUNTS + keys + table)


def _value_size(value: Any) -> int:
    """Return the bytes of a metadata value and its type, as :mod:`.gguf_file` writes them."""
    if isinstance(value, RawValue):
        return len(value.data)
    if isinstance(value, str):
        return _TYPE + _LENGTH + len(value.encode())
    if isinstance(value, list):
        if value and isinstance(value[0], str):
            return _TYPE + _ARRAY_HEAD + sum(_LENGTH + len(v.encode()) for v in value)
        return _TYPE + _ARRAY_HEAD + 4 * len(value)
    return _TYPE + (1 if isinstance(value, bool) else 4)


def _layout(tensors: list[MappedTensor], types: Mapping[str, GgmlType]) -> FileLayout:
    """Place tensors one after another."""
    placed, end = [], 0
    for tensor in tensors:
        placed.append(PlacedTensor(tensor, types[tensor.name], end))
        end += padded(placed[-1].nbytes)
    return FileLayout(tuple(placed), end)


def _cut(
    tensors: list[MappedTensor], types: Mapping[str, GgmlType], size: int
) -> Iterator[list[MappedTensor]]:
    """Yield the tensors of each file of at most ``size`` bytes. Raises UsageError."""
    part: list[MappedTensor] = []
    total = 0
    for tensor in tensors:
        nbytes = padded(types[tensor.name].nbytes(tensor.elements))
        if size and nbytes > size:
            raise UsageError(
                f"--split-size: {tensor.name} alone takes {nbytes:,} bytes, more than {size:,}"
            )
        if part and size and total + nbytes > size:
            yield part
            part, total = [], 0
        part.append(tensor)
        total += nbytes
    if part:
        yield part


def padded(nbytes: int) -> int:
    """Return a number of bytes rounded up to GGUF's alignment."""
    return -(-nbytes // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT
