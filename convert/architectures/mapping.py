"""How an architecture's tensors become GGUF tensors: the vocabulary that its table is written in.

An architecture is a table of rows (Hugging Face name, GGUF name, shape, transform), with shapes
written in the names of the model's dimensions. :func:`map_tensors` turns rows into GGUF tensors,
each with the source rows that it is made of, and rejects a checkpoint whose tensors do not have the
shapes that its config.json promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from dslocal.convert.checkpoint.config import Config
from dslocal.gguf.tensor_types import GgmlType


class Transform(Enum):
    """What happens to source rows between reading and quantizing."""

    COPY = "copy"
    TRANSPOSE = "transpose"
    INTERLEAVE = "interleave"  # the two halves of a head become neighbouring pairs


class SourceRows(NamedTuple):
    """Rows ``start`` to ``stop`` of a source tensor: they become consecutive rows of a GGUF tensor.

    ``tensor`` is its Hugging Face name.
    """

    tensor: str
    start: int
    stop: int
    transform: Transform = Transform.COPY

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class MappedTensor:
    """A GGUF tensor to be, and what it is made of.

    ``shape`` is row-major (numpy's order): the last number is the length of a row. ``values`` are
    float32 values that are computed instead of read; then there are no ``sources``. ``native`` is
    the type that llama.cpp's converter gives the tensor whatever output is asked of it, as it does
    for V4; None where it has none. ``stored`` is the type that it has in the GGUF file that it is
    read from; None for a checkpoint's.
    """

    name: str
    shape: tuple[int, ...]
    sources: tuple[SourceRows, ...]
    values: tuple[float, ...] = ()
    native: GgmlType | None = None
    stored: GgmlType | None = None

    @property
    def columns(self) -> int:
        """Return the length of a row."""
        return self.shape[-1]

    @property
    def elements(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)

    @property
    def slices(self) -> int:
        """Return how many matrices are stacked: experts or heads; 1 for a matrix or a vector."""
        return self.shape[0] if len(self.shape) > 2 else 1

    @property
    def is_routed_expert(self) -> bool:
        """Return whether it stacks a projection of all routed experts."""
        return self.name.endswith("_exps.weight")

    @property
    def always_f32(self) -> bool:
        """Return whether it is never quantized: vectors, norms, biases and the router.

        V4's table of the experts that a token id is routed to is not quantized either. Source:
        llama.cpp's convert_hf_to_gguf, ``ModelBase.prepare_tensors``, and src/llama-quant.cpp,
        ``tensor_allows_quantization``.
        """
        return len(self.shape) < 2 or self.name.endswith(
            (".bias", "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight")
        )

    @property
    def is_fp4(self) -> bool:
        """Return whether the source has it in four bits: MXFP4 keeps every value of it."""
        return self.native is GgmlType.MXFP4

    @property
    def lossless(self) -> GgmlType | None:
        """Return the quantized type that keeps every value of the source; None where none does."""
        if self.stored is not None and self.stored.block > 1:
            return self.stored
        return GgmlType.MXFP4 if self.is_fp4 else None


@dataclass(frozen=True)
class TensorMapping:
    """One row of an architecture's table.

    Attributes:
        hf: The Hugging Face name inside a layer, or the whole name outside of layers.
        gguf: The GGUF name, likewise; not used where ``split`` is given.
        shape: The source's shape, in names of dimensions.
        split: For a source that does not map one to one: takes its name and the dimensions, and
            returns the GGUF tensors.
        transform: What happens to each head's rows.
        published: The type that the vendor publishes it in, as safetensors names it; empty where
            that follows from the name.
    """

    hf: str
    gguf: str
    shape: tuple[str, ...]
    split: Callable[[str, Mapping[str, int]], Iterable[MappedTensor]] | None = None
    transform: Transform = Transform.COPY
    published: str = ""


@dataclass(frozen=True)
class ExpertsMapping:
    """One projection of all routed experts: E tensors in, one stacked ``[E, out, in]`` tensor out.

    ``{e}`` in ``hf`` stands for the expert's number; ``published`` is as in
    :class:`TensorMapping`.
    """

    hf: str
    gguf: str
    shape: tuple[str, str]
    published: str = ""


AnyMapping = TensorMapping | ExpertsMapping


class CheckpointTensors(Protocol):
    """What a table is expanded over: a checkpoint, or a record of what one would have to hold."""

    @property
    def config(self) -> Config:
        """Return config.json."""

    @property
    def names(self) -> Collection[str]:
        """Return the Hugging Face names of the tensors that are known to exist."""

    def require(self, name: str, shape: tuple[int, ...], published: str = "") -> None:
        """Require a tensor of that name and shape, whatever its type. Raises CheckpointError.

        ``published`` is the type that the vendor's checkpoint has it in.
        """

    def require_each(
        self, pattern: str, count: int, shape: tuple[int, ...], published: str = ""
    ) -> Iterator[str]:
        """Require ``count`` tensors, and yield the name of each. Raises CheckpointError."""

    def dtype_of(self, name: str, published: str) -> str:
        """Return a tensor's type as safetensors names it; ``published`` without a file."""

    def have_same_data(self, one: str, other: str) -> bool:
        """Return whether two tensors, both in ``names``, hold the same bytes."""


def _none_ignored(_config: Config, _mtp: bool, _name: str) -> bool:
    return False


def _main_layers(config: Config) -> int:
    return config.integer("num_hidden_layers")


@dataclass(frozen=True)
class Architecture:
    """An architecture that can be converted.

    Attributes:
        arch: llama.cpp's name of it, such as ``deepseek2``.
        accepts: The class names in config.json.
        models: The models that it is for, as the user reads them.
        metadata: Takes the configuration, returns the GGUF keys in order; a key that starts with a
            dot gets the architecture's name in front.
        tensors: Takes the source and whether MTP layers are kept, returns the GGUF tensors.
        is_ignored: Takes the configuration, whether MTP layers are kept, and a Hugging Face name;
            returns whether that tensor is left out on purpose.
        mtp_layers: Returns how many multi-token-prediction layers follow the main ones.
        warnings: Returns what the user should know before the conversion starts.
        layers: Returns how many layers come before the MTP layers.
        drafter: Returns the architecture of the draft model that the checkpoint carries and that
            needs a file of its own, or None.
        converter_order: Where llama.cpp's converter puts a tensor, by GGUF name: tensors with a
            smaller key come first, those with the same key follow the checkpoint's order. None
            where its files are laid out in llama-quantize's order.
    """

    arch: str
    accepts: tuple[str, ...]
    models: str
    metadata: Callable[[Config], Iterable[tuple[str, Any]]]
    tensors: Callable[[CheckpointTensors, bool], list[MappedTensor]]
    is_ignored: Callable[[Config, bool, str], bool] = _none_ignored
    mtp_layers: Callable[[Config], int] = lambda _: 0
    warnings: Callable[[Config], Iterable[str]] = lambda _: ()
    layers: Callable[[Config], int] = _main_layers
    drafter: Callable[[Config], Architecture | None] = lambda _: None
    converter_order: Callable[[str], tuple[int, ...]] | None = None


def map_tensors(
    source: CheckpointTensors,
    mappings: Iterable[AnyMapping],
    dims: Mapping[str, int],
    hf: str = "",
    gguf: str = "",
) -> Iterator[MappedTensor]:
    """Yield the GGUF tensors of a table, or of one layer of it.

    Args:
        source: What must have the tensors.
        mappings: The rows of the table.
        dims: The model's dimensions, by the names that shapes are written in.
        hf: What comes before each Hugging Face name.
        gguf: What comes before each GGUF name.

    Raises:
        CheckpointError: A tensor is missing or of another shape.
    """
    for mapping in mappings:
        shape = tuple(dims[d] for d in mapping.shape)
        if isinstance(mapping, ExpertsMapping):
            experts = dims["experts"]
            names = source.require_each(hf + mapping.hf, experts, shape, mapping.published)
            rows = tuple(SourceRows(name, 0, shape[0]) for name in names)
            yield MappedTensor(gguf + mapping.gguf, (experts, *shape), rows)
            continue
        name = hf + mapping.hf
        source.require(name, shape, mapping.published)
        if mapping.split is not None:
            for part in mapping.split(name, dims):
                yield MappedTensor(gguf + part.name, part.shape, part.sources)
        else:
            rows = tuple(_source_rows(name, shape[0], mapping.transform, dims))
            yield MappedTensor(gguf + mapping.gguf, shape, rows)


def _source_rows(
    name: str, rows: int, transform: Transform, dims: Mapping[str, int]
) -> Iterator[SourceRows]:
    """Yield a whole tensor's rows: all at once, or head by head where a head is transformed."""
    step = dims["head"] if transform is Transform.INTERLEAVE else rows
    for start in range(0, rows, step):
        yield SourceRows(name, start, start + step, transform)
