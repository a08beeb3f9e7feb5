"""The GGUF tensors that a checkpoint becomes, in file order, checked before a weight is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from dslocal.errors import CheckpointError, UnsupportedModelError
from dslocal.gguf.tensor_names import layer_of

from .architectures import find_architecture
from .architectures.mapping import Architecture, MappedTensor
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.safetensors import FP4, INTEGERS, SCALED, TensorInfo
from .quantize import CONVERTIBLE
from .recipes.recipe import tensor_order

HASH_TABLE = ".tid2eid"  # V4's, of the experts that each token id is routed to


def map_checkpoint(
    checkpoint: Checkpoint, architecture: Architecture, mtp: str
) -> tuple[MappedTensor, ...]:
    """Return the GGUF tensors in file order.

    Raises:
        UnsupportedModelError: A type cannot be converted.
        CheckpointError: A tensor is missing, damaged, or not one that the family has.
    """
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
                "is FP8 but not a matrix", file=tensor.file, tensor=tensor.name
            )
        checkpoint.scale_of(tensor)


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


def in_converter_order(
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
