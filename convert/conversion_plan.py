"""The plan of a whole conversion: the tensors, the metadata and the work of every output.

One read of the source can feed several outputs (recipes), each of one or more files; a unit of work
knows all the places that its rows go to. :func:`.plan_conversion.plan_conversion` lays it out.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dslocal.gguf.tensor_types import GgmlType

from .architectures.mapping import Architecture, MappedTensor
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.safetensors import SCALED, TensorInfo
from .output.layout import FileLayout
from .recipes.imatrix import Imatrix
from .recipes.recipe import Recipe
from .work_units import UNIT_WEIGHTS, Destination, UnitIndex, WorkUnit


@dataclass(frozen=True)
class PlannedOutput:
    """One GGUF: ``tensors`` and ``metadata`` in file order, ``files`` in that of their numbers."""

    architecture: Architecture
    recipe: Recipe
    tensors: tuple[MappedTensor, ...]
    metadata: tuple[tuple[str, Any], ...]
    files: tuple[FileLayout, ...]


@dataclass(frozen=True)
class ConversionPlan:
    """What a conversion will do. ``warnings`` are for the user, before it starts."""

    checkpoint: Checkpoint
    outputs: tuple[PlannedOutput, ...]
    imatrix: Imatrix | None
    warnings: tuple[str, ...]

    @property
    def architecture(self) -> Architecture:
        """Return the architecture of the first output."""
        return self.outputs[0].architecture

    @functools.cached_property
    def tensors(self) -> tuple[MappedTensor, ...]:
        """Return the tensors of all outputs, each once."""
        return tuple(dict.fromkeys(t for output in self.outputs for t in output.tensors))

    @property
    def layouts(self) -> list[FileLayout]:
        """Return all files of all outputs, as :class:`Destination` counts them."""
        return [layout for output in self.outputs for layout in output.files]

    @property
    def shards(self) -> tuple[str, ...]:
        """Return the shards that are read, in order."""
        return tuple(shard for shard in self.checkpoint.shards if shard in self._index.shards)

    @functools.cached_property
    def source_bytes(self) -> int:
        """Return the bytes to be read."""
        sources = self.checkpoint.tensors
        return sum(
            rows.rows * sources[rows.tensor].row_bytes
            for tensor in self.tensors
            for rows in tensor.sources
        )

    @property
    def scales_elsewhere(self) -> list[TensorInfo]:
        """Return the block scales that lie in another shard than their weight, once each."""
        sources = self.checkpoint.tensors
        names = {rows.tensor for tensor in self.tensors for rows in tensor.sources}
        scaled = [sources[name] for name in sorted(names) if sources[name].dtype in SCALED]
        scales = [(weight, self.checkpoint.scale_of(weight)) for weight in scaled]
        return [scale for weight, scale in scales if scale.file != weight.file]

    def units(self, shard: str) -> Iterator[WorkUnit]:
        """Yield the work that reads ``shard``, in the order in which its bytes lie."""
        return self._index.units(shard)

    def count(self, shard: str) -> int:
        """Return how many units read ``shard``."""
        return self._index.count(shard)

    def fingerprint(self) -> str:
        """Return a hash of everything that the bytes of the outputs depend on.

        That includes the identity of the source's files.

        Returns:
            A SHA-256, 64 hexadecimal digits.
        """
        seen = hashlib.sha256(f"{UNIT_WEIGHTS}".encode())
        for output in self.outputs:
            files = [
                [(p.tensor.name, p.tensor.shape, p.kind, p.offset) for p in file.tensors]
                for file in output.files
            ]
            seen.update(repr((output.metadata, files)).encode())
        for shard in self.checkpoint.shards:
            seen.update(f"\0{shard}\0{self.checkpoint.source.identity(shard)}".encode())
        if self.imatrix:
            for name, values in sorted(self.imatrix.entries.items()):
                seen.update(name.encode() + values.tobytes())
        return seen.hexdigest()

    @functools.cached_property
    def _index(self) -> UnitIndex:
        return UnitIndex(self.tensors, self.checkpoint.tensors, _destinations(self.outputs))


def _destinations(
    outputs: Iterable[PlannedOutput],
) -> Mapping[MappedTensor, Sequence[Destination]]:
    """Return where each GGUF tensor begins in every output that has it."""
    found: defaultdict[MappedTensor, list[Destination]] = defaultdict(list)
    numbers = itertools.count()
    for output in outputs:
        for layout in output.files:
            number = next(numbers)
            for placed in layout.tensors:
                via = _type_between(output.recipe, placed.tensor, placed.kind)
                destination = Destination(number, placed.kind, placed.offset, via)
                found[placed.tensor].append(destination)
    return found


def _type_between(recipe: Recipe, tensor: MappedTensor, kind: GgmlType) -> GgmlType | None:
    """Return the type that llama.cpp's converter gives FP8 weights before they are quantized.

    That is bf16, and for V4 Q8_0. Recipes of our own quantize V4's from the source's values.
    """
    if tensor.native is None:
        return GgmlType.BF16 if recipe.quantizes or kind.block > 1 else None
    is_requantized = recipe.quantizes and tensor.native is GgmlType.Q8_0 is not kind
    return GgmlType.Q8_0 if is_requantized else None
