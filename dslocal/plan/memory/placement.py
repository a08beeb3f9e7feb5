"""Where llama.cpp puts which weights, and how many bytes they take there.

Embeddings are always in RAM, the last layers and the output come to the GPU first, routed experts
stay in RAM with ``--cpu-moe``. Source: llama.cpp, src/llama-model.cpp,
``llama_model_base::load_tensors``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_names import layer_of, tensor_class
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import DeviceShare, LoadConfig

from . import dspark
from .llamacpp_mirror.micro_batch import GPU_ALIGNMENT, HOST_ALIGNMENT
from .memo import cached_by_header
from .model_shape import ModelShape
from .shape import moe_layers, routed_layer_of, shape_of

EMBEDDINGS = "token_embd.weight"
OUTPUT = "output.weight"


def is_on_gpu(layer: int, shape: ModelShape, load_config: LoadConfig) -> bool:
    """Return whether a layer is on the GPU.

    Args:
        layer: its number; -1 stands for what is outside of layers, which goes there first.
        shape: the model's shape.
        load_config: how it is loaded.
    """
    first_on_gpu = shape.n_layer_all + 1 - load_config.n_gpu_layers
    return (shape.n_layer_all if layer < 0 else layer) >= first_on_gpu


def placed_tensors(
    header: GgufHeader, load_config: LoadConfig
) -> Iterator[tuple[GgufTensor, bool]]:
    """Yield the tensors that are loaded, and whether each is on the GPU."""
    shape = shape_of(header)
    experts_in_ram = set(moe_layers(header)[: load_config.cpu_moe_layers])
    for tensor in header.tensors:
        if tensor.name.startswith(dspark.PREFIX):
            if load_config.mtp:
                yield tensor, _is_dspark_on_gpu(tensor, shape, load_config)
            continue
        layer = layer_of(tensor.name)
        if layer >= shape.n_layer and not load_config.mtp and not _is_always_loaded(tensor, shape):
            continue  # load_mtp = False skips the layer's tensors
        in_ram = tensor.name == EMBEDDINGS or routed_layer_of(tensor.name) in experts_in_ram
        yield tensor, not in_ram and is_on_gpu(layer, shape, load_config)


def _is_dspark_on_gpu(tensor: GgufTensor, shape: ModelShape, load_config: LoadConfig) -> bool:
    """Return whether a tensor of DSpark is on the GPU: it is placed as if it were the whole model.

    Its experts are kept with the rest of it.
    """
    layer = layer_of(tensor.name.removeprefix(dspark.PREFIX))
    first_on_gpu = shape.dspark_layers + 1 - load_config.n_gpu_layers
    return (shape.dspark_layers if layer < 0 else layer) >= first_on_gpu


def _is_always_loaded(tensor: GgufTensor, shape: ModelShape) -> bool:
    """Return whether a tensor of the MTP layer is loaded even without that layer.

    Source: src/models/deepseek32.cpp, ``load_arch_tensors``: the flag to skip is left out for one.
    """
    return shape.architecture == "deepseek32" and tensor.name.endswith("exp_probs_b.bias")


def weights(header: GgufHeader, shape: ModelShape, load_config: LoadConfig) -> DeviceShare:
    """Return the bytes of all weights."""
    placement_alone = replace(
        load_config, n_ctx=0, kv_type=GgmlType.F16, n_ubatch=0, flash_attn=True, n_outputs=0
    )
    return _all_weights(header, shape, placement_alone)


@cached_by_header
def _all_weights(header: GgufHeader, shape: ModelShape, load_config: LoadConfig) -> DeviceShare:
    total = DeviceShare(0, 0)
    for share in weights_by_class(header, shape, load_config).values():
        total += share
    return total


def weights_by_class(
    header: GgufHeader, shape: ModelShape, load_config: LoadConfig
) -> dict[str, DeviceShare]:
    """Return the bytes of weights by what they are for, as :func:`tensor_class` names it.

    Tied embeddings have a copy on the GPU, which is the output.
    """
    names = {tensor.name for tensor in header.tensors}
    has_copy = load_config.n_gpu_layers > 0 and OUTPUT not in names
    found: dict[str, DeviceShare] = {}
    for tensor, on_gpu in placed_tensors(header, load_config):
        share = _tensor_share(tensor, on_gpu=on_gpu)
        if has_copy and tensor.name == EMBEDDINGS:
            share += DeviceShare(padded(tensor.nbytes, GPU_ALIGNMENT), 0)
        kind = tensor_class(tensor.name.removeprefix(dspark.PREFIX))
        found[kind] = found.get(kind, DeviceShare(0, 0)) + share
    return found


def padded(size: int, alignment: int) -> int:
    """Return ``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment


def _tensor_share(tensor: GgufTensor, *, on_gpu: bool) -> DeviceShare:
    """Return the bytes of a tensor."""
    if on_gpu:
        return DeviceShare(padded(tensor.nbytes, GPU_ALIGNMENT), 0)
    return DeviceShare(0, padded(tensor.nbytes, HOST_ALIGNMENT))
