"""How a family's tensors become GGUF tensors: the vocabulary that the family tables are written in.

An architecture is a table: rows of (Hugging Face name, GGUF name, shape, operation), shapes written
in the names of the model's dimensions. :func:`map_tensors` turns rows into the list of GGUF tensors with
the exact source rows of each piece, and refuses a checkpoint whose tensors do not have the shapes
that its config.json promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from dslocal.convert.checkpoint.checkpoint import SCALE_SUFFIX, Checkpoint
from dslocal.convert.checkpoint.config import Config
from dslocal.errors import CheckpointError


class Transform(Enum):
    """What happens to a piece between reading and quantizing."""

    COPY = "copy"
    TRANSPOSE = "transpose"
    INTERLEAVE = "interleave"  # a head's two halves become neighbouring pairs


class SourceRows(NamedTuple):
    """Rows ``start`` to ``stop`` of a source tensor, which become consecutive rows of a GGUF
    tensor.
    """

    source: str
    start: int
    stop: int
    op: Transform = Transform.COPY


@dataclass(frozen=True, slots=True)
class MappedTensor:
    """A GGUF tensor to be. ``shape`` is row-major (numpy's order): the last number is the row's
    length.

    ``values`` are float32 values that are computed instead of read; then there are no pieces.
    """

    name: str
    shape: tuple[int, ...]
    pieces: tuple[SourceRows, ...]
    values: tuple[float, ...] = ()

    @property
    def columns(self) -> int:
        return self.shape[-1]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def always_f32(self) -> bool:
        """Vectors, norms, biases and the router are never quantized (llama.cpp's converter:
        prepare_tensors).
        """
        return len(self.shape) < 2 or self.name.endswith(
            (".bias", "_norm.weight", "ffn_gate_inp.weight")
        )


@dataclass(frozen=True)
class TensorMapping:
    """One line of a family's table: ``hf`` and ``gguf`` are names inside a block (or whole ones
    outside of it).

    ``shape`` is the source's, in names of dimensions. ``split`` yields (GGUF name, shape, pieces)
    for a source that does not map one to one.
    """

    hf: str
    gguf: str
    shape: tuple[str, ...]
    split: Callable[[str, Mapping[str, int]], Iterable[MappedTensor]] | None = None
    op: Transform = Transform.COPY


@dataclass(frozen=True)
class ExpertsMapping:
    """A projection of all routed experts: E tensors in, one stacked ``[E, out, in]`` tensor out.
    ``{e}`` numbers the expert.
    """

    hf: str
    gguf: str
    shape: tuple[str, str]


@dataclass(frozen=True)
class Architecture:
    """An architecture that can be converted.

    ``accepts`` are the class names in config.json; ``metadata`` gives the GGUF keys (without the
    architecture's prefix where they start with a dot); ``tensors`` the GGUF tensors, with the MTP
    layer's when asked; ``extra_layers`` how many MTP layers follow the main ones; ``warnings`` what
    the user should know before it starts.
    """

    arch: str
    accepts: tuple[str, ...]
    models: str
    metadata: Callable[[Config], Iterable[tuple[str, Any]]]
    tensors: Callable[[Checkpoint, bool], list[MappedTensor]]
    extra_layers: Callable[[Config], int] = lambda _: 0
    warnings: Callable[[Config], Iterable[str]] = lambda _: ()


def map_tensors(
    checkpoint: Checkpoint,
    rows: Iterable[TensorMapping | ExpertsMapping],
    dims: Mapping[str, int],
    hf: str = "",
    gguf: str = "",
) -> Iterator[MappedTensor]:
    """The GGUF tensors of ``rows``, with ``hf`` and ``gguf`` put before their names. Raises
    CheckpointError on a wrong shape.
    """
    for row in rows:
        shape = tuple(dims[d] for d in row.shape)
        if isinstance(row, ExpertsMapping):
            pieces = tuple(
                SourceRows(name, 0, shape[0])
                for name in checkpoint.require_each(hf + row.hf, dims["experts"], shape)
            )
            yield MappedTensor(gguf + row.gguf, (dims["experts"], *shape), pieces)
            continue
        name = hf + row.hf
        checkpoint.require(name, shape)
        if row.split is not None:
            for part in row.split(name, dims):
                yield MappedTensor(gguf + part.name, part.shape, part.pieces)
        else:
            step = dims["head"] if row.op is Transform.INTERLEAVE else shape[0]
            yield MappedTensor(
                gguf + row.gguf,
                shape,
                tuple(SourceRows(name, i, i + step, row.op) for i in range(0, shape[0], step)),
            )


def reject_unmapped(
    checkpoint: Checkpoint, mapped: Iterable[MappedTensor], ignored: Callable[[str], bool]
) -> None:
    """Raises CheckpointError for a source tensor that nothing reads and the family does not leave
    out on purpose.
    """
    if not checkpoint.tensors:  # an outline, which has none but those that are asked for
        return
    used = {piece.source for tensor in mapped for piece in tensor.pieces}
    used |= {name + SCALE_SUFFIX for name in used if checkpoint.tensor(name).dtype == "F8_E4M3"}
    for name, tensor in checkpoint.tensors.items():
        if name not in used and not ignored(name):
            raise CheckpointError(
                "is not a tensor that this family has", file=tensor.file, tensor=name
            )
