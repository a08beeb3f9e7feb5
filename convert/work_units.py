"""The units of work of a conversion: which source rows become which rows of which files.

Knows where bytes lie, not what is done with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dslocal.convert.architectures.mapping import MappedTensor, SourceRows, Transform
from dslocal.convert.checkpoint.safetensors import TensorInfo
from dslocal.gguf.tensor_types import GgmlType

# Weights in a unit of work: few enough for the processor's cache, so many that Python's share of
# the time is nothing.
UNIT_WEIGHTS = 1 << 20


class Destination(NamedTuple):
    """Where rows are written.

    Attributes:
        file: The number of the file, counted over all outputs.
        kind: The type that they are written in.
        offset: Bytes from the start of the file's data section.
        via: The type that FP8 values go through first, as they do when llama.cpp quantizes what
            its converter wrote; None where they do not.
    """

    file: int
    kind: GgmlType
    offset: int
    via: GgmlType | None


class WorkUnit(NamedTuple):
    """Rows of one source tensor that become consecutive rows of one GGUF tensor.

    Attributes:
        source: The source tensor.
        start: Its first row that is read.
        stop: The row after the last.
        transform: What happens to them.
        name: The GGUF tensor.
        slice: Which of its experts or heads they are of; 0 where it has none.
        column: The GGUF tensor's column that they begin at.
        destinations: Where they go, in every output.
    """

    source: TensorInfo
    start: int
    stop: int
    transform: Transform
    name: str
    slice: int
    column: int
    destinations: tuple[Destination, ...]

    @property
    def nbytes(self) -> int:
        """Return the bytes to read."""
        return (self.stop - self.start) * self.source.row_bytes

    @property
    def first_byte(self) -> int:
        """Return where the rows begin in the source's file."""
        return self.source.start + self.start * self.source.row_bytes

    @property
    def weights(self) -> int:
        """Return the number of weights."""
        return (self.stop - self.start) * self.source.columns


class _PlacedRows(NamedTuple):
    """Source rows, and their place in the GGUF tensor that they become a part of.

    ``slice`` is the number of the expert or head, ``elements_before`` how many weights of the
    tensor come first.
    """

    source: TensorInfo
    rows: SourceRows
    tensor: MappedTensor
    slice: int
    elements_before: int

    @property
    def first_byte(self) -> int:
        """Return where the rows begin in the source's file."""
        return self.source.start + self.rows.start * self.source.row_bytes

    @property
    def rows_per_unit(self) -> int:
        """Return how many rows a unit of work has. Rows that change places stay together."""
        if self.rows.transform is not Transform.COPY or len(self.source.shape) < 2:
            return self.rows.rows
        return max(1, UNIT_WEIGHTS // self.source.columns)


class UnitIndex:
    """All units of work of a conversion, by the shard that they read."""

    def __init__(
        self,
        tensors: Iterable[MappedTensor],
        sources: Mapping[str, TensorInfo],
        destinations: Mapping[MappedTensor, Sequence[Destination]],
    ) -> None:
        """Sort the rows of all tensors by where they lie.

        Args:
            tensors: The GGUF tensors.
            sources: The source tensors, by Hugging Face name.
            destinations: Where each GGUF tensor begins.
        """
        self._destinations = destinations
        by_shard: defaultdict[str, list[_PlacedRows]] = defaultdict(list)
        for tensor in tensors:
            for placed in _place(tensor, sources):
                by_shard[placed.source.file].append(placed)
        for placed_rows in by_shard.values():
            placed_rows.sort(key=lambda placed: placed.first_byte)
        self._by_shard: Mapping[str, Sequence[_PlacedRows]] = dict(by_shard)

    @property
    def shards(self) -> Collection[str]:
        """Return the shards that are read."""
        return self._by_shard.keys()

    def units(self, shard: str) -> Iterator[WorkUnit]:
        """Yield the work that reads ``shard``, in the order in which its bytes lie."""
        for placed in self._by_shard.get(shard, ()):
            yield from self._cut(placed)

    def count(self, shard: str) -> int:
        """Return how many units read ``shard``."""
        return sum(
            -(-placed.rows.rows // placed.rows_per_unit) for placed in self._by_shard.get(shard, ())
        )

    def _cut(self, placed: _PlacedRows) -> Iterator[WorkUnit]:
        """Yield the units of some rows."""
        source, rows = placed.source, placed.rows
        before = placed.elements_before
        starts = self._destinations[placed.tensor]
        # rows that are shorter than the GGUF tensor's stand side by side in it
        column = before % placed.tensor.columns if len(source.shape) > 1 else 0
        for start in range(rows.start, rows.stop, placed.rows_per_unit):
            stop = min(start + placed.rows_per_unit, rows.stop)
            destinations = tuple(
                d._replace(offset=d.offset + d.kind.nbytes(before)) for d in starts
            )
            name, slice_ = placed.tensor.name, placed.slice
            yield WorkUnit(source, start, stop, rows.transform, name, slice_, column, destinations)
            before += (stop - start) * source.columns


def _place(tensor: MappedTensor, sources: Mapping[str, TensorInfo]) -> Iterator[_PlacedRows]:
    """Yield the rows that a GGUF tensor is made of, in its order."""
    before = 0
    for number, rows in enumerate(tensor.sources):
        source = sources[rows.tensor]
        slice_ = number if tensor.slices > 1 else 0
        yield _PlacedRows(source, rows, tensor, slice_, before)
        before += rows.rows * source.columns
