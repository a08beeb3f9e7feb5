"""The whole conversion, laid out from headers alone: every output's tensors, metadata and work.

One read of the source can feed several outputs (recipes), each of one or more files; a unit of work
knows all the places that its rows go to.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dslocal.errors import CheckpointError, UnsupportedModelError, UsageError
from dslocal.gguf.tensor_names import layer_of
from dslocal.gguf.tensor_types import GgmlType

from .architectures import find_architecture
from .architectures.mapping import Architecture, MappedTensor
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.config import Config
from .checkpoint.safetensors import FP4, INTEGERS, SCALED, TensorInfo
from .checkpoint.tokenizer import tokenizer_metadata
from .kernels import X86_64, arithmetic_of
from .output.layout import FileLayout, Split, header_size, lay_out
from .output.metadata import (
    arithmetic_metadata,
    general_metadata,
    imatrix_metadata,
    provenance_metadata,
    sampling_metadata,
)
from .quantize import CONVERTIBLE
from .recipes.by_name import recipe_named
from .recipes.imatrix import Imatrix
from .recipes.named import ModelTraits, Recipe, needs_imatrix, tensor_order
from .recipes.size_target import SizedRecipe
from .sampled_errors import SampledErrors
from .work_units import UNIT_WEIGHTS, Destination, UnitIndex, WorkUnit

LAYERS_OF_70B = 80  # by which llama.cpp takes a model for a 70B
NEXTN = ".nextn_predict_layers"
# how a drafter with a file of its own is written beside the model: in the types of the checkpoint
DRAFTER_RECIPE = "MXFP4"
HASH_TABLE = ".tid2eid"  # V4's, of the experts that each token id is routed to


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
        mtp: ``keep`` or ``drop`` the multi-token-prediction layer, or write it alone: ``only``. V4
            cannot keep its drafter in the model's file: ``beside`` writes that as the last output,
            ``only`` and ``dspark-only`` write it alone.
        split: How to cut each output into files.
        imatrix: The importance matrix.

    Raises:
        UnsupportedModelError: The architecture cannot be converted.
        CheckpointError: The checkpoint is damaged, or contradicts its config.json.
        UsageError: A recipe does not fit the model, needs an importance matrix that is missing, or
            the checkpoint has no such drafter.
    """
    config = checkpoint.config
    architecture = find_architecture(config)
    drafter = architecture.drafter(config)
    _check_drafter(checkpoint, architecture, drafter, mtp)
    notices = [*checkpoint.notices]
    if mtp != "drop" and architecture.mtp_layers(config) and not has_mtp_layer(checkpoint):
        mtp = "drop"
        notices.append(
            "config.json announces a multi-token-prediction (MTP) layer whose tensors are not in "
            "the checkpoint: converted without it"
        )
    jobs = [(architecture, recipe) for recipe in recipes]
    if drafter and mtp in ALONE:
        jobs = [(drafter, recipe) for recipe in recipes]
    elif drafter and mtp == "beside":
        jobs.append((drafter, recipe_named(DRAFTER_RECIPE)))
    planner = _OutputPlanner(checkpoint, mtp, split or Split(), imatrix)
    outputs = tuple(planner.output(made, recipe) for made, recipe in jobs)
    notices += planner.notices
    if mtp not in ALONE:
        notices += architecture.warnings(config)
    if drafter and mtp == "keep" and _has_drafter(checkpoint, drafter):
        notices.append(
            f"{drafter.models} is left out: the model's file has no place for it; "
            "--with-drafter writes it to a file of its own"
        )
    for output in outputs:
        notices += _needless_bits(output)
    return ConversionPlan(checkpoint, outputs, imatrix, tuple(notices))


def _has_drafter(checkpoint: Checkpoint, drafter: Architecture) -> bool:
    """Return whether the checkpoint has tensors of its drafter."""
    return any(not drafter.is_ignored(checkpoint.config, True, name) for name in checkpoint.names)


ALONE = ("only", "dspark-only")  # modes that write the drafter and not the model


def _check_drafter(
    checkpoint: Checkpoint, architecture: Architecture, drafter: Architecture | None, mtp: str
) -> None:
    """Check that the checkpoint has the drafter that is asked for. Raises UsageError."""
    name = checkpoint.source.name
    has_dspark = drafter is not None and drafter.mtp_layers(checkpoint.config) == 0
    if mtp == "dspark-only" and not has_dspark:
        raise UsageError(
            f"--dspark-only: {name} has no DSpark drafter",
            hint="--mtp-only, where it has a multi-token-prediction layer",
        )
    if mtp == "only" and has_dspark:
        raise UsageError(
            f"--mtp-only: {name} has DSpark's stages in place of a multi-token-prediction layer",
            hint="--dspark-only",
        )
    if mtp == "only" and not drafter:
        if not architecture.mtp_layers(checkpoint.config):
            raise UsageError(f"--mtp-only: {name} has no multi-token-prediction layer")
        if not has_mtp_layer(checkpoint):
            raise UsageError(
                f"--mtp-only: {name} has no tensors of the multi-token-prediction layer that its "
                "config.json announces"
            )
    if mtp == "beside" and not drafter:
        raise UsageError(
            f"--with-drafter: {name} has no drafter that needs a file of its own",
            hint="V3's multi-token-prediction layer is in the model's file: leave the option out",
        )


def _needless_bits(output: PlannedOutput) -> Iterator[str]:
    """Yield that experts become larger than the four bits that they have in the checkpoint."""
    fp4 = _bits(GgmlType.MXFP4)
    kinds = {
        placed.kind
        for layout in output.files
        for placed in layout.tensors
        if placed.tensor.is_fp4 and _bits(placed.kind) > fp4
    }
    if kinds and output.recipe.name not in ("F32", "F16", "BF16"):
        names = ", ".join(sorted(kind.name for kind in kinds))
        yield (
            f"{output.recipe.name} writes experts as {names}, larger than the {fp4:g} bits that "
            "they have in the checkpoint; --quant MXFP4 keeps them without loss"
        )


def _bits(kind: GgmlType) -> float:
    """Return the bits of a weight."""
    return kind.nbytes(kind.block) * 8 / kind.block


class _OutputPlanner:
    """Lays out outputs of one checkpoint: what several of them share is read once."""

    def __init__(
        self, checkpoint: Checkpoint, mtp: str, split: Split, imatrix: Imatrix | None
    ) -> None:
        self._checkpoint = checkpoint
        self._mtp = mtp
        self._split = split
        self._imatrix = imatrix
        self.notices: list[str] = []
        self._mapped: dict[str, tuple[MappedTensor, ...]] = {}

    @functools.cached_property
    def _tokenizer(self) -> list[tuple[str, Any]]:
        checkpoint = self._checkpoint
        return list(tokenizer_metadata(checkpoint.source, checkpoint.config, self.notices.append))

    @functools.cached_property
    def _sampling(self) -> list[tuple[str, Any]]:
        return list(sampling_metadata(self._checkpoint.source))

    def output(self, architecture: Architecture, recipe: Recipe) -> PlannedOutput:
        """Return one output. Raises as :func:`plan_conversion` does."""
        checkpoint, config = self._checkpoint, self._checkpoint.config
        tensors = self._mapped.get(architecture.models)
        if tensors is None:
            tensors = _map_checkpoint(checkpoint, architecture, self._mtp)
            self._mapped[architecture.models] = tensors
        mtp_layers = architecture.mtp_layers(config) if self._mtp != "drop" else 0
        model_keys = architecture_metadata(architecture, config, mtp_layers)
        traits = model_traits(architecture.arch, model_keys, tensors, self._imatrix)
        metadata = (
            *general_metadata(checkpoint.source.name, self._sampling, recipe, tensors),
            *model_keys.items(),
            *self._tokenizer,
            *imatrix_metadata(self._imatrix),
            *provenance_metadata(checkpoint, recipe),
        )
        if isinstance(recipe, SizedRecipe):
            recipe = self._measured(recipe, tensors)
        longest = (*metadata, *arithmetic_metadata(max(X86_64, platform.machine(), key=len)))
        types = recipe.assign(tensors, traits, header_size(architecture.arch, longest, tensors))
        metadata = (*metadata, *arithmetic_metadata(arithmetic_of(types.values())))
        _check_imatrix(recipe, tensors, types, self._imatrix)
        if architecture.converter_order and not recipe.quantizes:
            tensors = _in_converter_order(checkpoint, architecture.converter_order, tensors)
        files = lay_out(tensors, types, self._split)
        return PlannedOutput(architecture, recipe, tensors, metadata, files)

    def _measured(self, recipe: SizedRecipe, tensors: Sequence[MappedTensor]) -> SizedRecipe:
        """Return a recipe that measures errors on the checkpoint's own weights, if they are here.

        Where they are not, the user is told.
        """
        if self._checkpoint.source.is_local:
            errors = SampledErrors(self._checkpoint, tensors, self._imatrix)
            return replace(recipe, errors=errors)
        self.notices.append(
            f"--size {recipe.name}: the weights are not on this machine yet, so the harm of each "
            "type is estimated by the tensor's class instead of measured"
        )
        return recipe


def _in_converter_order(
    checkpoint: Checkpoint,
    order: Callable[[str], tuple[int, ...]],
    tensors: Sequence[MappedTensor],
) -> tuple[MappedTensor, ...]:
    """Return tensors as llama.cpp's converter writes them.

    It goes over the shards, and in each over the tensors, by name; a layer's stacks of experts are
    written when the last of its experts was read.
    """
    infos = checkpoint.tensors
    names = sorted(infos, key=lambda name: (infos[name].file, name))
    places = {name: place for place, name in enumerate(names)}
    last = {t.name: max((places[rows.tensor] for rows in t.sources), default=0) for t in tensors}
    last_expert: defaultdict[int, int] = defaultdict(int)
    for tensor in tensors:
        if tensor.is_routed_expert:
            layer = layer_of(tensor.name)
            last_expert[layer] = max(last_expert[layer], last[tensor.name])

    def key(tensor: MappedTensor) -> tuple[tuple[int, ...], int, str]:
        is_expert = tensor.is_routed_expert
        place = last_expert[layer_of(tensor.name)] if is_expert else last[tensor.name]
        return order(tensor.name), place, tensor.name

    return tuple(sorted(tensors, key=key))


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
    if mtp == "only" and architecture.accepts:
        trunk = range(checkpoint.config.integer("num_hidden_layers"))
        mapped = [tensor for tensor in mapped if layer_of(tensor.name) not in trunk]
    for name in dict.fromkeys(rows.tensor for tensor in mapped for rows in tensor.sources):
        _check_dtype(checkpoint, checkpoint.tensor(name))
    return tuple(mapped)


def _reject_unmapped(
    checkpoint: Checkpoint,
    architecture: Architecture,
    mapped: Iterable[MappedTensor],
    keep_mtp: bool,
) -> None:
    """Raise CheckpointError for a source tensor that nothing reads and nothing leaves out."""
    used = {rows.tensor for tensor in mapped for rows in tensor.sources}
    weights = [checkpoint.tensor(name) for name in used]
    used |= {checkpoint.scale_name(weight) for weight in weights if weight.dtype in SCALED}
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
    keys = {f"{arch}.block_count": architecture.layers(config) + mtp_layers}
    model_keys = dict(architecture.metadata(config))
    if mtp_layers:
        # deepseek2's come first; others have a place of their own for it
        model_keys = {NEXTN: mtp_layers, **model_keys} if NEXTN not in model_keys else model_keys
    else:
        model_keys.pop(NEXTN, None)
    for key, value in model_keys.items():
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
    convertible = INTEGERS if tensor.name.endswith(HASH_TABLE) else (*CONVERTIBLE, FP4)
    if tensor.dtype not in convertible:
        known = [dtype for dtype in convertible if dtype != FP4]
        raise UnsupportedModelError(
            f"is {tensor.dtype}; weights in {', '.join(known)} can be converted",
            file=tensor.file,
            tensor=tensor.name,
        )
    if tensor.dtype in SCALED:
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
                    hint="--imatrix FILE, which dslocal imatrix makes, or a larger recipe",
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
