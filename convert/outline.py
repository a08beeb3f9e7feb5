"""The GGUF header that a conversion would give, from config.json's keys alone.

The architecture's own table is expanded over a record of what it requires instead of a checkpoint,
so the header is what :func:`plan_conversion` lays out, tensor by tensor, without a file. Left out
is what only the files know: the tokenizer, and copies of the embeddings in the MTP layer that
differ from the trunk's. The record also gives the size of the checkpoint that would be read.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dslocal.gguf.header import GgufHeader, GgufTensor

from .architectures import find_architecture
from .architectures.mapping import Architecture, MappedTensor
from .checkpoint.config import Config
from .checkpoint.prequantized import require_original
from .checkpoint.safetensors import DTYPE_BYTES, FP4, FP4_BLOCK, FP8, SCALED
from .model_keys import architecture_metadata, model_traits
from .output.layout import header_size, padded
from .output.metadata import general_metadata
from .recipes.by_name import recipe_named
from .recipes.recipe import ModelTraits, Recipe, needs_imatrix, tensor_order

GGUF_VERSION = 3
# V3 publishes in FP8 what has one of these in its name, if it is a matrix and not the router
FP8_PARTS = (".self_attn.", ".mlp.")
NOT_FP8 = (".mlp.gate.", ".indexer.weights_proj.")
EXPERTS = ".experts."  # whose FP8 scales are float32 in V4's Base checkpoints, others E8M0
FP8_BLOCK = 128  # rows and columns that share a float32 scale


@dataclass(frozen=True)
class RequiredTensors:
    """Source tensors of one shape that a table requires, ``count`` of them.

    ``name`` is a Hugging Face name, with ``{e}`` for the number where they are experts;
    ``stored`` is their type, empty where it follows from the name.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    stored: str = ""

    def nbytes(self, dtype: str) -> int:
        """Return the bytes of all of them in a published checkpoint, with their block scales.

        Args:
            dtype: What the weights are published in: bf16 or fp8.
        """
        weights = math.prod(self.shape)
        if self.stored:
            return self.count * self._stored_bytes(weights)
        if self.name.endswith("e_score_correction_bias"):
            return self.count * 4 * weights
        if dtype == "fp8" and self._is_fp8:
            rows, columns = self.shape
            scales = -(-rows // FP8_BLOCK) * -(-columns // FP8_BLOCK)
            return self.count * (weights + 4 * scales)
        return self.count * 2 * weights

    def _stored_bytes(self, weights: int) -> int:
        """Return the bytes of one whose type is known, with its scales."""
        if self.stored == FP4:
            return weights // 2 + weights // FP4_BLOCK
        if self.stored == FP8:
            rows, columns = self.shape
            scales = -(-rows // FP8_BLOCK) * -(-columns // FP8_BLOCK)
            return weights + scales * (4 if EXPERTS in self.name else 1)
        return weights * DTYPE_BYTES[self.stored]

    @property
    def _is_fp8(self) -> bool:
        """Return whether an FP8 checkpoint has them in FP8."""
        return (
            len(self.shape) == 2
            and any(part in self.name for part in FP8_PARTS)
            and not any(part in self.name for part in NOT_FP8)
        )


@dataclass
class RequirementRecorder:
    """Stands in for a checkpoint when a table is expanded: notes every tensor that it requires.

    It is the second implementation of :class:`CheckpointTensors`, beside the checkpoint itself.
    """

    config: Config
    names: Collection[str] = ()
    required: list[RequiredTensors] = field(default_factory=list)

    def require(self, name: str, shape: tuple[int, ...], published: str = "") -> None:
        """Note one tensor."""
        self.required.append(RequiredTensors(name, shape, 1, self.dtype_of(name, published)))

    def require_each(
        self, pattern: str, count: int, shape: tuple[int, ...], published: str = ""
    ) -> Iterator[str]:
        """Note ``count`` tensors at once, and yield no names: nobody will read them."""
        stored = self.dtype_of(pattern, published)
        self.required.append(RequiredTensors(pattern, shape, count, stored))
        return iter(())

    def dtype_of(self, name: str, published: str) -> str:
        """Return the type that a tensor has where config.json is the vendor's, or a copy's.

        Base checkpoints have FP8 in place of FP4, copies that are not quantized bf16.
        """
        is_quantized = self.config.has("quantization_config") or self.config.has("expert_dtype")
        if published in SCALED and not is_quantized:
            return "BF16"
        if published == FP4 and self.config.text("expert_dtype", "fp4") == "fp8":
            return FP8
        return published

    def have_same_data(self, one: str, other: str) -> bool:
        """Return True: what the trunk has too is not written twice."""
        return True


class _ExpandedModel(NamedTuple):
    """What a configuration makes of its architecture's table."""

    architecture: Architecture
    config: Config
    tensors: tuple[MappedTensor, ...]
    required: tuple[RequiredTensors, ...]
    metadata: dict[str, Any]
    traits: ModelTraits


def header_from_config(
    config: Mapping[str, Any], recipe: Recipe, *, mtp: bool = True
) -> GgufHeader:
    """Return the header of the file that a checkpoint with this configuration would become.

    Equal arguments give the same object.

    Args:
        config: The content of config.json.
        recipe: What gives the tensors their types.
        mtp: Whether the multi-token-prediction layer is kept.

    Raises:
        UnsupportedModelError: The architecture cannot be converted, or it is quantized already.
        CheckpointError: The configuration makes no sense.
        UsageError: The recipe does not fit the model.
    """
    require_original(Config(dict(config), "config.json"))
    key = _cache_key(config)
    if isinstance(recipe, Hashable):
        return _cached_header(key, recipe, mtp)
    return _header(_expand(key, mtp), recipe)


def requires_imatrix(header: GgufHeader, recipe: str) -> bool:
    """Return whether a file with this header, by the recipe of that name, needs importance."""
    return any(needs_imatrix(tensor.name, tensor.type, recipe) for tensor in header.tensors)


def checkpoint_bytes(config: Mapping[str, Any], dtype: str) -> int:
    """Return the bytes of the tensors of a published checkpoint.

    Args:
        config: The content of config.json.
        dtype: What the weights are published in: bf16, or fp8 with block scales.

    Raises:
        UnsupportedModelError: The architecture cannot be converted.
        CheckpointError: The configuration makes no sense.
    """
    return _checkpoint_bytes(_cache_key(config), dtype)


def _cache_key(config: Mapping[str, Any]) -> str:
    """Return a configuration as text, the same for equal ones."""
    return json.dumps(config, sort_keys=True, default=dict)


@functools.lru_cache(maxsize=128)
def _checkpoint_bytes(key: str, dtype: str) -> int:
    model = _expand(key, True)
    vocab, embd = model.config.integer("vocab_size"), model.config.integer("hidden_size")
    # an MTP layer has embeddings and an output matrix of its own, in bf16, which no table requires
    copies = model.architecture.mtp_layers(model.config) * 2 * (2 * vocab * embd)
    required = {tensors.name: tensors for tensors in model.required}
    drafter = model.architecture.drafter(model.config)
    if drafter:
        recorder = RequirementRecorder(model.config)
        drafter.tensors(recorder, True)
        required |= {tensors.name: tensors for tensors in recorder.required}
    return copies + sum(tensors.nbytes(dtype) for tensors in required.values())


@functools.lru_cache(maxsize=64)
def _expand(key: str, mtp: bool) -> _ExpandedModel:
    """Expand the table of a configuration's architecture. Raises as header_from_config does."""
    config = Config(json.loads(key), "config.json")
    architecture = find_architecture(config)
    recorder = RequirementRecorder(config)
    # without their sources, which would be kept for nothing
    mapped = [
        MappedTensor(t.name, t.shape, (), t.values, t.native)
        for t in architecture.tensors(recorder, mtp)
    ]
    tensors = tuple(sorted(mapped, key=lambda tensor: tensor_order(tensor.name)))
    mtp_layers = architecture.mtp_layers(config) if mtp else 0
    keys = architecture_metadata(architecture, config, mtp_layers)
    metadata = {**dict(general_metadata("", (), recipe_named("F32"), tensors)), **keys}
    traits = model_traits(architecture.arch, keys, tensors, None)
    required = tuple(recorder.required)
    return _ExpandedModel(architecture, config, tensors, required, metadata, traits)


@functools.lru_cache(maxsize=128)
def _cached_header(key: str, recipe: Recipe, mtp: bool) -> GgufHeader:
    return _header(_expand(key, mtp), recipe)


def _header(model: _ExpandedModel, recipe: Recipe) -> GgufHeader:
    """Lay out a model's tensors in the types of a recipe. Raises UsageError."""
    arch = model.architecture.arch
    size = header_size(arch, model.metadata.items(), model.tensors)
    types = recipe.assign(model.tensors, model.traits, size)
    tensors, end = [], 0
    for tensor in model.tensors:
        kind = types[tensor.name]
        nbytes = kind.nbytes(tensor.elements)
        tensors.append(GgufTensor(tensor.name, tensor.shape[::-1], kind, end, nbytes))
        end += padded(nbytes)
    metadata = {
        "general.architecture": arch,
        f"{arch}.vocab_size": model.config.integer("vocab_size"),
        **model.metadata,
        "general.file_type": recipe.file_type,
    }
    return GgufHeader(GGUF_VERSION, metadata, tuple(tensors), size)
