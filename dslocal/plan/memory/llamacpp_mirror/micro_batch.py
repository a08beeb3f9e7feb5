"""What the size of a graph depends on besides the model's shape: the batch, and which device
computes what.
"""

from __future__ import annotations

from dataclasses import dataclass

from dslocal.gguf.tensor_types import GgmlType

# Bytes to a multiple of which a tensor is rounded up in a buffer. Source:
# ggml_backend_cpu_buffer_type_get_alignment (ggml-backend.cpp), and for GPUs
# ggml_backend_cuda_buffer_type_get_alignment (ggml-cuda.cu).
HOST_ALIGNMENT = 32
GPU_ALIGNMENT = 128

# Tokens from which a product with weights in RAM is done on the GPU. Source:
# op_offload_min_batch_size (ggml-cuda.cu, ggml-metal-device.m).
MIN_OFFLOAD_BATCH = 32


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A micro-batch, and the cache that it attends to.

    Attributes:
        n_tokens: its tokens.
        n_kv: cells of the KV cache, as llama.cpp rounds the context.
        n_outputs: tokens whose logits are computed.
        kv_type: type of the KV cache.
        flash_attn: whether attention is computed with flash attention.
        n_seq: conversations that its tokens belong to.
        n_ubatch: tokens of the largest micro-batch.
        n_snapshots: earlier states that V4 keeps for drafts.
        layer_inputs: layers whose input is handed over to a draft model.
    """

    n_tokens: int
    n_kv: int
    n_outputs: int
    kv_type: GgmlType
    flash_attn: bool
    n_seq: int = 1
    n_ubatch: int = 0
    n_snapshots: int = 0
    layer_inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HostResident:
    """What is in RAM of a model that computes on a GPU.

    Attributes:
        n_layer: layers from the first on that are there as a whole.
        n_moe_layer: layers with experts, from the first of these on, whose experts are there.
        weight_sizes: bytes of such a weight, the largest of its kind, by its name inside a layer.
    """

    n_layer: int = 0
    n_moe_layer: int = 0
    weight_sizes: tuple[tuple[str, int], ...] = ()


NOTHING_IN_RAM = HostResident()


@dataclass(frozen=True, slots=True)
class LayerKind:
    """A kind of layer.

    Attributes:
        is_moe: whether it has experts.
        in_ram: whether it is in RAM though it is computed on the GPU.
        experts_in_ram: whether its experts are.
        is_mtp: whether it is an MTP layer, which V3.2 gives no indexer.
    """

    is_moe: bool
    in_ram: bool = False
    experts_in_ram: bool = False
    is_mtp: bool = False
