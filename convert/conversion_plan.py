"""The whole conversion, laid out from headers alone: every output's tensors, metadata and work.

One read of the source can feed several outputs (recipes), each of one or more files; a unit of work
knows all the places that its rows go to.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dslocal.errors import CheckpointError, UnsupportedModelError, UsageError
from dslocal.gguf.tensor_names import layer_of
from dslocal.gguf.tensor_types import GgmlType

from .architectures import find_architecture
from .architectures.mapping import Architecture, MappedTensor
from .checkpoint.checkpoint import FP8, SCALE_SUFFIX, Checkpoint
from .checkpoint.config import Config
from .checkpoint.safetensors import TensorInfo
from .checkpoint.tokenizer import tokenizer_metadata
from .output.layout import FileLayout, Split, header_size, lay_out
from .output.metadata import (
    general_metadata,
    imatrix_metadata,
    provenance_metadata,
    sampling_metadata,
)
from .quantize import CONVERTIBLE
from .recipes.imatrix import Imatrix
from .recipes.named import ModelTraits, Recipe, needs_imatrix, tensor_order
from .work_units import UNIT_WEIGHTS, Destination, UnitIndex, WorkUnit

LAYERS_OF_70B = 80  # by which llama.cpp takes a model for a 70B


@dataclass(frozen=True)
class PlannedOutput:
    """One recipe's GGUF: ``metadata`` in file order, ``files`` in the order of their numbers."""

    recipe: Recipe
    metadata: tuple[tuple[str, Any], ...]
    files: tuple[FileLayout, ...]


@dataclass(frozen=True)
class ConversionPlan:
    """What a conversion will do. ``warnings`` are for the user, before it starts."""

    checkpoint: Checkpoint
    architecture: Architecture
    tensors: tuple[MappedTensor, ...]
    outputs: tuple[PlannedOutput, ...]
    imatrix: Imatrix | None
    warnings: tuple[str, ...]

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
        fp8 = [sources[name] for name in sorted(names) if sources[name].dtype == FP8]
        scales = [(weight, self.checkpoint.scale_of(weight)) for weight in fp8]
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


def _destinations(outputs: Iterable[PlannedOutput]) -> Mapping[str, Sequence[Destination]]:
    """Return where each GGUF tensor begins in every output, by name."""
    found: defaultdict[str, list[Destination]] = defaultdict(list)
    numbers = itertools.count()
    for output in outputs:
        for layout in output.files:
            number = next(numbers)
            for placed in layout.tensors:
                rounded = output.recipe.quantizes or placed.kind.block > 1
                destination = Destination(number, placed.kind, placed.offset, rounded)
                found[placed.tensor.name].append(destination)
    return found


def plan_conversion(
    checkpoint: Checkpoint,
    recipes: Sequence[Recipe],
    *,
    mtp: str = "keep",
    split: Split | None = None,
    imatrix: Imatrix | None = None,
) -> ConversionPlan:
    """Lay out the GGUFs of a checkpoint, one for each recipe.

    Args:
        checkpoint: The source.
        recipes: What gives the tensors their types.
        mtp: ``keep`` or ``drop`` the multi-token-prediction layer, or write it alone: ``only``.
        split: How to cut each output into files.
        imatrix: The importance matrix.

    Raises:
        UnsupportedModelError: The architecture cannot be converted.
        CheckpointError: The checkpoint is damaged, or contradicts its config.json.
        UsageError: A recipe does not fit the model, or needs an importance matrix that is missing.
    """
    config = checkpoint.config
    architecture = find_architecture(config)
    mtp_layers = architecture.mtp_layers(config) if mtp != "drop" else 0
    if mtp == "only" and not mtp_layers:
        raise UsageError(
            f"--mtp-only: {checkpoint.source.name} has no multi-token-prediction layer"
        )
    notices = [*checkpoint.notices]
    if mtp_layers and not has_mtp_layer(checkpoint):
        if mtp == "only":
            raise UsageError(
                f"--mtp-only: {checkpoint.source.name} has no tensors of the multi-token-prediction"
                " layer that its config.json announces"
            )
        notices.append(
            "config.json announces a multi-token-prediction (MTP) layer whose tensors are not in "
            "the checkpoint: converted without it"
        )
        mtp, mtp_layers = "drop", 0
    tensors = _map_checkpoint(checkpoint, architecture, mtp)
    model_keys = architecture_metadata(architecture, config, mtp_layers)
    traits = model_traits(architecture.arch, model_keys, tensors, imatrix)
    tokenizer = list(tokenizer_metadata(checkpoint.source, config, notices.append))
    sampling = list(sampling_metadata(checkpoint.source))
    outputs = []
    for recipe in recipes:
        metadata = (
            *general_metadata(checkpoint.source.name, sampling, recipe, tensors),
            *model_keys.items(),
            *tokenizer,
            *imatrix_metadata(imatrix),
            *provenance_metadata(checkpoint, recipe),
        )
        types = recipe.assign(tensors, traits, header_size(architecture.arch, metadata, tensors))
        _check_imatrix(recipe, tensors, types, imatrix)
        outputs.append(PlannedOutput(recipe, metadata, lay_out(tensors, types, split or Split())))
    warnings = (*notices, *architecture.warnings(config))
    return ConversionPlan(checkpoint, architecture, tensors, tuple(outputs), imatrix, warnings)


def has_mtp_layer(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint has the multi-token-prediction layer, or a part of it.

    transformers drops the layer's tensors when it saves a model again, and leaves the key of
    config.json that announces it.
    """
    config = checkpoint.config
    architecture = find_architecture(config)
    if not architecture.mtp_layers(config):
        return False
    dropped = (name for name in checkpoint.tensors if architecture.is_ignored(config, False, name))
    return any(not architecture.is_ignored(config, True, name) for name in dropped)


def _map_checkpoint(
    checkpoint: Checkpoint, architecture: Architecture, mtp: str
) -> tuple[MappedTensor, ...]:
    """Return the GGUF tensors in file order. Raises as :func:`plan_conversion` does."""
    keep_mtp = mtp != "drop"
    try:
        mapped = architecture.tensors(checkpoint, keep_mtp)
    except CheckpointError as e:
        if keep_mtp and e.tensor and architecture.is_ignored(checkpoint.config, False, e.tensor):
            e.hint = "it is of the MTP layer, which dslocal convert --no-mtp leaves out"
        raise
    _reject_unmapped(checkpoint, architecture, mapped, keep_mtp)
    mapped.sort(key=lambda tensor: tensor_order(tensor.name))
    if mtp == "only":
        trunk = range(checkpoint.config.integer("num_hidden_layers"))
        mapped = [tensor for tensor in mapped if layer_of(tensor.name) not in trunk]
    for tensor in mapped:
        for rows in tensor.sources:
            _check_dtype(checkpoint, checkpoint.tensor(rows.tensor))
    return tuple(mapped)


def _reject_unmapped(
    checkpoint: Checkpoint,
    architecture: Architecture,
    mapped: Iterable[MappedTensor],
    keep_mtp: bool,
) -> None:
    """Raise CheckpointError for a source tensor that nothing reads and nothing leaves out."""
    used = {rows.tensor for tensor in mapped for rows in tensor.sources}
    used |= {name + SCALE_SUFFIX for name in used if checkpoint.tensor(name).dtype == FP8}
    for name, tensor in checkpoint.tensors.items():
        if name not in used and not architecture.is_ignored(checkpoint.config, keep_mtp, name):
            raise CheckpointError(
                "is not a tensor that this family has", file=tensor.file, tensor=name
            )


def architecture_metadata(
    architecture: Architecture, config: Config, mtp_layers: int
) -> dict[str, Any]:
    """Return the keys that say what the model is, in file order.

    Args:
        architecture: The model's.
        config: Its configuration.
        mtp_layers: How many MTP layers the file has.

    Raises:
        CheckpointError: The configuration makes no sense.
    """
    arch = architecture.arch
    keys = {f"{arch}.block_count": config.integer("num_hidden_layers") + mtp_layers}
    if mtp_layers:
        keys[f"{arch}.nextn_predict_layers"] = mtp_layers
    for key, value in architecture.metadata(config):
        keys[arch + key if key.startswith(".") else key] = value
    return keys


def model_traits(
    arch: str,
    keys: Mapping[str, Any],
    tensors: Iterable[MappedTensor],
    imatrix: Imatrix | None,
) -> ModelTraits:
    """Return what recipes depend on besides the tensor.

    Args:
        arch: llama.cpp's name of the architecture.
        keys: What :func:`architecture_metadata` gives.
        tensors: The output's tensors.
        imatrix: The importance matrix.
    """
    n_layer = keys[f"{arch}.block_count"]
    main_layers = n_layer - keys.get(f"{arch}.nextn_predict_layers", 0)
    heads = keys[f"{arch}.attention.head_count"]
    kv_heads = keys[f"{arch}.attention.head_count_kv"]
    # Source: llama.cpp, src/models/llama.cpp and qwen2.cpp (load_arch_hparams)
    may_be_70b = arch == "qwen2" or (arch == "llama" and heads != kv_heads)
    return ModelTraits(
        n_layer=n_layer,
        main_layers=main_layers,
        gqa=heads // kv_heads,
        experts=keys.get(f"{arch}.expert_count", 0),
        is_70b=may_be_70b and main_layers == LAYERS_OF_70B,
        tied=all(tensor.name != "output.weight" for tensor in tensors),
        has_imatrix=imatrix is not None,
    )


def _check_dtype(checkpoint: Checkpoint, tensor: TensorInfo) -> None:
    """Check that a tensor's type can be converted, and that an FP8 one has its scales.

    Raises:
        UnsupportedModelError: The type cannot be converted.
        CheckpointError: Scales are missing or of another shape.
    """
    if tensor.dtype not in CONVERTIBLE:
        raise UnsupportedModelError(
            f"is {tensor.dtype}; weights in {', '.join(CONVERTIBLE)} can be converted",
            file=tensor.file,
            tensor=tensor.name,
        )
    if tensor.dtype == FP8:
        if len(tensor.shape) != 2:
            raise UnsupportedModelError(
                "is FP8 and not a matrix", file=tensor.file, tensor=tensor.name
            )
        checkpoint.scale_of(tensor)


def _check_imatrix(
    recipe: Recipe,
    tensors: Iterable[MappedTensor],
    types: Mapping[str, GgmlType],
    imatrix: Imatrix | None,
) -> None:
    """Check that every tensor that needs importance has it, and as much as it has columns.

    Raises:
        UsageError: One does not; it is named.
    """
    for tensor in tensors:
        kind = types[tensor.name]
        entry = imatrix.entries.get(tensor.name) if imatrix else None
        if entry is None:
            if needs_imatrix(tensor.name, kind, recipe.name):
                why = "which the importance matrix does not know"
                if imatrix is None:
                    why = "so it needs an importance matrix"
                raise UsageError(
                    f"{recipe.name}: {tensor.name} becomes {kind.name}, {why}",
                    hint="--imatrix FILE, or a larger recipe",
                )
        elif imatrix and kind.block > 1:
            _check_entry(imatrix, tensor, len(entry))


def _check_entry(imatrix: Imatrix, tensor: MappedTensor, have: int) -> None:
    """Check that an entry of ``have`` values is that of a tensor. Raises UsageError."""
    needed = tensor.columns * tensor.slices
    if have != needed and tensor.name != "token_embd.weight":
        raise UsageError(
            f"{imatrix.file}: {tensor.name}: has {have:,} values, {needed:,} are needed",
            hint="it was made for another model",
        )
