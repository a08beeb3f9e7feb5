"""The memory that a model takes, by part and device, from its GGUF header and its load config.

Closed forms, for machines that are not here and for the many ways that a search tries. On this
machine llama.cpp itself has the last word (:mod:`dslocal.engine.sizing`), and the two agree to the
byte without a GPU: weights, KV cache and compute buffer. Knows nothing of machines, and whether
anything fits is not its question.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import DeviceShare, GpuKind, LoadConfig, MemoryUse

from .checkpoints import checkpoints_per_sequence
from .dspark import MAX_ROWS
from .kv_cache import bytes_per_token, checkpoint_bytes, kv_cache, kv_cells, n_snapshots
from .llamacpp_mirror.compute_buffers import (
    cpu_buffer_size,
    cpu_work_size,
    cuda_pool_size,
    dspark_buffer_size,
    gpu_buffer_sizes,
    mtp_buffer_size,
)
from .llamacpp_mirror.graph_nodes import graph_bytes
from .llamacpp_mirror.micro_batch import (
    GPU_ALIGNMENT,
    MIN_OFFLOAD_BATCH,
    HostResident,
    MicroBatch,
)
from .model_shape import ModelShape
from .placement import is_on_gpu, padded, placed_tensors, weights
from .shape import is_legacy_mla, moe_layers, shape_of

MIB = 1 << 20

# What a process takes besides buffers, measured while it generates
# (tests/benchmarks/footprint_real.py): `dslocal ask` has 43 MiB of its own and 20 of libraries.
PROCESS_BYTES = 63 * MIB  # the interpreter, numpy and llama.cpp
BYTES_PER_VOCABULARY_TOKEN = 530  # merges included
BYTES_PER_KV_CELL = 100  # besides its content

# What opening a GPU takes there. Only CUDA's was measured, on an H200 with CUDA 13.0
# (tests/benchmarks/gpu_offload.py): 527 MiB to open it, the rest are kernels, loaded as they are
# first run.
GPU_CONTEXT_BYTES: dict[GpuKind, int] = {
    "cuda": 608 * MIB,
    "metal": 50 * MIB,
    "other": 200 * MIB,
}
# cuBLAS's handle, kernels and workspace, from its first product: a router's, or attention without
# flash attention.
CUBLAS_BYTES = 96 * MIB


def footprint(header: GgufHeader, load_config: LoadConfig, gpu: GpuKind = "cuda") -> MemoryUse:
    """Return the bytes that a model takes, by part.

    Args:
        header: the model's header.
        load_config: how it is loaded.
        gpu: whose kernels are to run, where there are layers on a GPU.

    Raises:
        UsageError: llama.cpp refuses the combination.
        GgufError: numbers that make no sense.
        UnsupportedModelError: an architecture whose memory is not known.
    """
    if reason := refusal_reason(header, load_config):
        raise UsageError(reason, hint="turn flash attention on, or keep the cache in f16")
    shape = shape_of(header)
    return MemoryUse(
        weights=weights(header, shape, load_config),
        kv=kv_cache(shape, load_config),
        compute=compute_buffers(header, shape, load_config, gpu),
        output=_output(shape, load_config),
        overhead=overhead(shape, load_config, gpu),
    )


def refusal_reason(header: GgufHeader, load_config: LoadConfig) -> str | None:
    """Return why llama.cpp would refuse ``load_config``, in one sentence; None when it would not.

    Source: llama.cpp, src/llama-context.cpp, ``llama_init_from_model``.
    """
    shape = shape_of(header)
    kv_type = load_config.kv_type
    name = kv_type.name.lower()
    if kv_type.block > 1 and not load_config.flash_attn:
        return f"a {name} KV cache needs flash attention"
    if shape.is_mla:
        heads = [shape.n_lora_kv + shape.n_rot]
    else:
        heads = [shape.n_embd_head_k, shape.n_embd_head_v]
    for head in heads:
        if head % kv_type.block:
            needed = f"heads of a multiple of {kv_type.block}"
            return f"a {name} KV cache needs {needed}, this model's are {head} long"
    return None


def kv_bytes_per_token(header: GgufHeader, kv_type: GgmlType = GgmlType.F16) -> int:
    """Return the bytes that one more token takes in the cache, over all layers."""
    return bytes_per_token(shape_of(header), kv_type)


def modern_kv_bytes_per_token(header: GgufHeader, kv_type: GgmlType = GgmlType.F16) -> int:
    """Return the same for a legacy MLA file, were it written as files are today."""
    if not is_legacy_mla(header):
        return kv_bytes_per_token(header, kv_type)
    shape = shape_of(header)
    return shape.n_layer * kv_type.nbytes(shape.n_lora_kv + shape.n_rot)


def compute_buffers(
    header: GgufHeader, shape: ModelShape, load_config: LoadConfig, gpu: GpuKind = "cuda"
) -> DeviceShare:
    """Return the bytes of the buffers for intermediate results."""
    batch = replace(largest_batch(load_config), layer_inputs=_handed_over(shape, load_config))
    draft_buffer = _draft_buffer_size(shape, load_config)
    if not load_config.n_gpu_layers:
        return DeviceShare(0, draft_buffer + cpu_buffer_size(shape, batch))
    host = _host_resident(header, shape, load_config)
    return DeviceShare(draft_buffer, 0) + gpu_buffer_sizes(shape, batch, gpu, host)


def _handed_over(shape: ModelShape, load_config: LoadConfig) -> tuple[int, ...]:
    """Return the layers whose input DSpark reads; none if it does not draft."""
    return shape.dspark_targets if load_config.mtp else ()


def _draft_buffer_size(shape: ModelShape, load_config: LoadConfig) -> int:
    """Return the bytes of the buffer of the context that drafts; 0 where none does."""
    if not load_config.mtp:
        return 0
    batch = largest_batch(load_config)
    if shape.dspark_layers:
        n_tokens = min(MAX_ROWS, batch.n_tokens)
        rows = replace(batch, n_tokens=n_tokens, n_ubatch=n_tokens, n_outputs=n_tokens)
        return dspark_buffer_size(shape, rows)
    return mtp_buffer_size(shape, replace(batch, n_outputs=1)) if shape.n_layer_nextn else 0


def output_bytes(n_vocab: int, n_embd: int, load_config: LoadConfig) -> int:
    """Return the bytes of logits as they come out.

    With MTP also the draft's, and the hidden states of a batch: llama.cpp's, a copy, and one in
    the making. A context that samples on the GPU has room for more than it uses: two rows of
    logits, and one of ids. Source: llama.cpp, src/llama-context.cpp,
    ``llama_context::output_reserve``; the copies are :mod:`dslocal.engine.speculation`'s.
    """
    elements = n_vocab * load_config.n_outputs
    if load_config.mtp:
        elements += _draft_rows(load_config) * n_vocab + 4 * n_embd * load_config.n_batch
    return 4 * elements


def _draft_rows(load_config: LoadConfig) -> int:
    """Return how many rows of logits a context that drafts takes for each row that it needs."""
    return 4 if load_config.n_gpu_layers else 1


def _output(shape: ModelShape, load_config: LoadConfig) -> DeviceShare:
    """Return the bytes of the buffers of logits and hidden states.

    With DSpark the hidden states are those of a few layers, and all rows of a block give logits.
    """
    if not load_config.mtp or not shape.dspark_layers:
        return DeviceShare(0, output_bytes(shape.n_vocab, shape.n_embd * shape.n_hc, load_config))
    width = shape.n_embd * len(shape.dspark_targets)
    more_logits = 4 * shape.n_vocab * _draft_rows(load_config) * (shape.dspark_block - 1)
    return DeviceShare(0, output_bytes(shape.n_vocab, width, load_config) + more_logits)


def overhead(shape: ModelShape, load_config: LoadConfig, gpu: GpuKind = "cuda") -> DeviceShare:
    """Return the bytes that the process takes besides.

    In RAM the interpreter and libraries, the vocabulary, the book-keeping of the cache and of
    graphs, and what the CPU works with; on the GPU what its driver and its kernels take.
    """
    host = PROCESS_BYTES
    host += BYTES_PER_VOCABULARY_TOKEN * shape.n_vocab
    host += BYTES_PER_KV_CELL * load_config.n_seq * kv_cells(load_config)
    host += _checkpoints(shape, load_config)
    batch = largest_batch(load_config)
    n_contexts = 2 if load_config.mtp else 1
    host += n_contexts * graph_bytes(shape, batch.n_tokens)
    if load_config.n_gpu_layers <= shape.n_layer_all:
        host += cpu_work_size(shape, batch)
    elif load_config.cpu_moe_layers:
        host += cpu_work_size(shape, batch, experts_only=True)
    return DeviceShare(_gpu_overhead(shape, load_config, gpu), host)


def _checkpoints(shape: ModelShape, load_config: LoadConfig) -> int:
    """Return the bytes of all checkpoints, if conversations are taken back by such."""
    if not shape.compress_ratios:
        return 0
    each = checkpoints_per_sequence(load_config.n_seq) * checkpoint_bytes(shape, load_config)
    return load_config.n_seq * each


def _gpu_overhead(shape: ModelShape, load_config: LoadConfig, gpu: GpuKind) -> int:
    """Return the bytes that the GPU's driver and kernels take there."""
    if not load_config.n_gpu_layers:
        return 0
    taken = GPU_CONTEXT_BYTES[gpu]
    if gpu != "cuda":
        return taken
    if shape.n_expert or not load_config.flash_attn:
        taken += CUBLAS_BYTES
    return taken + cuda_pool_size(shape, largest_batch(load_config))


def cpu_work_bytes(header: GgufHeader, load_config: LoadConfig) -> int:
    """Return the bytes that the CPU backend takes on top while it computes."""
    return cpu_work_size(shape_of(header), largest_batch(load_config))


def largest_batch(load_config: LoadConfig) -> MicroBatch:
    """Return the largest micro-batch: as many tokens of each conversation."""
    n_tokens = padded(min(load_config.n_ubatch, load_config.n_ctx), load_config.n_seq)
    return MicroBatch(
        n_tokens=n_tokens,
        n_kv=kv_cells(load_config),
        n_outputs=min(load_config.n_outputs, n_tokens),
        kv_type=load_config.kv_type,
        flash_attn=load_config.flash_attn,
        n_seq=load_config.n_seq,
        n_ubatch=min(load_config.n_ubatch, load_config.n_ctx),
        n_snapshots=n_snapshots(load_config),
    )


def _host_resident(header: GgufHeader, shape: ModelShape, load_config: LoadConfig) -> HostResident:
    """Return what of the model is in RAM when layers are on the GPU."""
    last_ffn = f"blk.{shape.n_layer - 1}.ffn"
    # Few rows of the last layer go on: too few to copy its weights for them.
    keeps_last_ffn = largest_batch(load_config).n_outputs < MIN_OFFLOAD_BATCH
    sizes: dict[str, int] = {}
    for tensor, on_gpu in placed_tensors(header, load_config):
        if on_gpu or not tensor.name.startswith("blk."):
            continue
        if keeps_last_ffn and tensor.name.startswith(last_ffn):
            continue
        part = tensor.name.split(".")[2]
        sizes[part] = max(sizes.get(part, 0), padded(tensor.nbytes, GPU_ALIGNMENT))
    n_on_gpu = sum(is_on_gpu(layer, shape, load_config) for layer in range(shape.n_layer))
    n_moe_layer = sum(layer < shape.n_layer for layer in moe_layers(header))
    return HostResident(
        n_layer=shape.n_layer - n_on_gpu,
        n_moe_layer=min(load_config.cpu_moe_layers, n_moe_layer),
        weight_sizes=tuple(sorted(sizes.items())),
    )
