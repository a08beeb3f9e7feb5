"""The GGUF header that a conversion would give, and the size of the checkpoint that it would read,
from config.json's keys alone.

The family's own tables are expanded over a checkpoint that has whatever they ask for, so an outline
is what :func:`plan_conversion` lays out, tensor by tensor, without a file. Left out is what only the
files know: the tokenizer, and copies of the embeddings in the MTP layer that differ from the
trunk's.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from dslocal.convert.architectures.mapping import Architecture, MappedTensor
from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.config import Config
from dslocal.convert.checkpoint.source import FileRange
from dslocal.convert.output.layout import header_size, padded
from dslocal.convert.output.metadata import general_metadata
from dslocal.convert.recipes.named import ModelTraits, Recipe, recipe_named, tensor_order
from dslocal.errors import CheckpointError
from dslocal.gguf.header import GgufHeader, GgufTensor

from .conversion_plan import architecture_metadata, architecture_of, model_traits

FP8_PARTS = (
    ".self_attn.",
    ".mlp.",
)  # what V3 publishes in FP8, as far as it is a matrix and not the router
ROUTER = ".mlp.gate."


class RequiredTensors(NamedTuple):
    """So ``many`` source tensors of one shape."""

    name: str
    shape: tuple[int, ...]
    many: int


class _Mapping(NamedTuple):
    """What a configuration makes of its family's tables."""

    family: Architecture
    config: Config
    tensors: tuple[MappedTensor, ...]
    needs: tuple[RequiredTensors, ...]
    metadata: tuple[tuple[str, Any], ...]
    facts: ModelTraits


def header_from_config(
    config: Mapping[str, Any], recipe: Recipe, *, mtp: bool = True
) -> GgufHeader:
    """The header of the file that a checkpoint with this ``config`` would become; ``mtp`` keeps its
    MTP layer.

    Equal arguments give the same object. Raises UnsupportedModelError, and CheckpointError for a
    configuration that makes no sense.
    """
    key = _key(config)
    return (
        _outline(key, recipe, mtp)
        if isinstance(recipe, Hashable)
        else _laid_out(_mapped(key, mtp), recipe)
    )


def checkpoint_bytes(config: Mapping[str, Any], dtype: str) -> int:
    """Bytes of the tensors of a published checkpoint whose weights are in ``dtype``: bf16, or fp8
    with block scales.

    Raises as :func:`header_from_config` does.
    """
    return _checkpoint_bytes(_key(config), dtype)


@functools.lru_cache(maxsize=128)
def _checkpoint_bytes(key: str, dtype: str) -> int:
    found = _mapped(key, True)
    extra = found.family.extra_layers(found.config)
    vocab, embd = found.config.integer("vocab_size"), found.config.integer("hidden_size")
    copies = (
        2 * 2 * vocab * embd * extra
    )  # the MTP layer's own embeddings and output, in bf16, which nobody converts
    return copies + sum(need.many * _source_bytes(need, dtype) for need in found.needs)


@dataclass(frozen=True)
class _Imagined(Checkpoint):
    """Has every tensor that it is asked for, and notes it."""

    needs: list[RequiredTensors] = field(default_factory=list)

    def require(self, name: str, shape: tuple[int, ...]) -> None:
        self.needs.append(RequiredTensors(name, shape, 1))

    def require_each(self, pattern: str, count: int, shape: tuple[int, ...]) -> Iterator[str]:
        self.needs.append(RequiredTensors(pattern, shape, count))
        return iter(())


class _Nothing:
    """A source without files."""

    name = revision = ""

    def sha256(self, file: str) -> str:
        return ""

    def identity(self, file: str) -> str:
        return ""

    def exists(self, file: str) -> bool:
        return False

    def size(self, file: str) -> int:
        return 0

    def open(self, file: str) -> BinaryIO:
        raise CheckpointError("is not there: this is an outline", file=file)

    def read(self, file: str, start: int, nbytes: int) -> bytes:
        return b""

    def same(self, one: FileRange, other: FileRange) -> bool:
        return True

    def expect(self, files: Iterable[str]) -> None:
        """Nothing is read."""

    def begin(self, shards: Sequence[str], pieces: Iterable[FileRange]) -> Sequence[str]:
        return shards

    def release(self, file: str) -> None:
        """Nothing is held."""


def _key(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, default=dict)


@functools.lru_cache(maxsize=64)
def _mapped(key: str, mtp: bool) -> _Mapping:
    config = Config(json.loads(key), "config.json")
    family = architecture_of(config)
    imagined = _Imagined(_Nothing(), config, {}, ())
    asked = (
        MappedTensor(t.name, t.shape, (), t.values) for t in family.tensors(imagined, mtp)
    )  # what is read where is of no use here
    tensors = tuple(sorted(asked, key=lambda t: tensor_order(t.name)))
    extra = family.extra_layers(config) if mtp else 0
    own = tuple(family.metadata(config))
    n_main = config.integer("num_hidden_layers")
    metadata = (
        *general_metadata(imagined, recipe_named("F32"), tensors),
        *architecture_metadata(family.arch, own, n_main, extra),
    )
    facts = model_traits(own, tensors, n_main, extra, family.arch, None)
    return _Mapping(family, config, tensors, tuple(imagined.needs), metadata, facts)


@functools.lru_cache(maxsize=128)
def _outline(key: str, recipe: Recipe, mtp: bool) -> GgufHeader:
    return _laid_out(_mapped(key, mtp), recipe)


def _laid_out(found: _Mapping, recipe: Recipe) -> GgufHeader:
    arch = found.family.arch
    size = header_size(arch, found.metadata, found.tensors)
    types = recipe.assign(found.tensors, found.facts, size)
    tensors, end = [], 0
    for tensor in found.tensors:
        kind = types[tensor.name]
        nbytes = kind.nbytes(tensor.elements)
        tensors.append(GgufTensor(tensor.name, tensor.shape[::-1], kind, end, nbytes))
        end += padded(nbytes)
    vocabulary = {f"{arch}.vocab_size": found.config.integer("vocab_size")}
    metadata = {
        "general.architecture": arch,
        **vocabulary,
        **dict(found.metadata),
        "general.file_type": recipe.file_type,
    }
    return GgufHeader(3, metadata, tuple(tensors), size)


def _source_bytes(need: RequiredTensors, dtype: str) -> int:
    """Bytes of one of its tensors."""
    weights = math.prod(need.shape)
    if need.name.endswith("e_score_correction_bias"):
        return 4 * weights
    if (
        dtype == "fp8"
        and len(need.shape) == 2
        and any(part in need.name for part in FP8_PARTS)
        and ROUTER not in need.name
    ):
        return weights + 4 * -(-need.shape[0] // 128) * -(-need.shape[1] // 128)
    return 2 * weights
