"""Where every tensor lies in which output file: types, offsets, and the splitting of one GGUF over
several files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.errors import UsageError
from dslocal.gguf.tensor_types import GgmlType

ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A GGUF tensor with its type and its place: ``offset`` counts bytes from the start of the data
    section.
    """

    tensor: MappedTensor
    kind: GgmlType
    offset: int

    @property
    def nbytes(self) -> int:
        return self.kind.nbytes(self.tensor.elements)


@dataclass(frozen=True)
class FileLayout:
    """One file. ``data_size`` includes the padding behind each tensor."""

    tensors: tuple[PlacedTensor, ...]
    data_size: int


@dataclass(frozen=True)
class Split:
    """How to cut an output: routed ``experts`` into files of their own, and no file over ``size``
    bytes of weights (0: no limit).
    """

    experts: bool = False
    size: int = 0


def lay_out(
    tensors: Iterable[MappedTensor], types: Mapping[str, GgmlType], split: Split
) -> tuple[FileLayout, ...]:
    """The files of one output, ``tensors`` in their order. Raises UsageError when a tensor alone is
    over the size limit.
    """
    tensors = list(tensors)
    groups = [tensors]
    if split.experts:
        groups = [[t for t in tensors if not _routed(t)], [t for t in tensors if _routed(t)]]
    cut = [part for group in groups if group for part in _cut(group, types, split.size)]
    return tuple(_layout(part, types) for part in cut)


def file_names(out: Path, count: int) -> list[Path]:
    """The names of an output of ``count`` files, in llama.cpp's convention: the one to open is the
    first.
    """
    if count == 1:
        return [out]
    stem = out.name.removesuffix(".gguf")
    return [out.with_name(f"{stem}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]


def header_size(
    arch: str, metadata: Iterable[tuple[str, Any]], tensors: Iterable[MappedTensor]
) -> int:
    """Bytes of an unsplit file before its weights: magic, counts, key-values and tensor table,
    padded.
    """
    entries = [("general.architecture", arch), *metadata]
    keys = sum(8 + len(key.encode()) + 4 + _value_size(value) for key, value in entries)
    table = sum(8 + len(t.name.encode()) + 4 + 8 * len(t.shape) + 4 + 8 for t in tensors)
    return padded(24 + keys + table)


def _value_size(value: Any) -> int:
    if isinstance(value, str):
        return 8 + len(value.encode())
    if isinstance(value, list):
        return 12 + (
            sum(8 + len(v.encode()) for v in value)
            if value and isinstance(value[0], str)
            else 4 * len(value)
        )
    return 1 if isinstance(value, bool) else 4


def _routed(tensor: MappedTensor) -> bool:
    return tensor.name.endswith("_exps.weight")


def _layout(tensors: list[MappedTensor], types: Mapping[str, GgmlType]) -> FileLayout:
    placed, end = [], 0
    for tensor in tensors:
        placed.append(PlacedTensor(tensor, types[tensor.name], end))
        end += padded(placed[-1].nbytes)
    return FileLayout(tuple(placed), end)


def _cut(
    tensors: list[MappedTensor], types: Mapping[str, GgmlType], size: int
) -> Iterator[list[MappedTensor]]:
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
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
