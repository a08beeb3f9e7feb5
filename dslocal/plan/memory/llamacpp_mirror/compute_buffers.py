"""Sizes of llama.cpp's buffers for intermediate results, and of what backends take on top.

On the CPU alone the buffer comes out to the byte. On a GPU the graph is followed as the scheduler
splits it, which is closest where all layers are there.
"""

from __future__ import annotations

import functools

from dslocal.plan.load_config import DeviceShare, GpuKind
from dslocal.plan.memory.model_shape import ModelShape

from .graph import reserve_dspark_graph, reserve_graph, reserve_inputs, reserve_mtp_graph
from .micro_batch import MIN_OFFLOAD_BATCH, NOTHING_IN_RAM, HostResident, MicroBatch

MIN_CUDA_POOL = 10 << 20  # bytes, on an H200 (tests/benchmarks/gpu_offload.py)

# Bytes of a block and its elements, from ggml-common.h.
Q8_K_BYTES, Q8_K_ELEMENTS = 292, 256
Q8_1_BYTES, Q8_1_ELEMENTS = 36, 32


@functools.lru_cache(maxsize=4096)
def cpu_buffer_size(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the bytes of the buffer for all intermediate results of one micro-batch."""
    return reserve_graph(shape, batch)


@functools.lru_cache(maxsize=1024)
def mtp_buffer_size(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the same for the context that drafts with the MTP layer."""
    return reserve_mtp_graph(shape, batch)


@functools.lru_cache(maxsize=1024)
def dspark_buffer_size(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the same for the context that drafts with DSpark, all rows of which give logits."""
    return reserve_dspark_graph(shape, batch)


@functools.lru_cache(maxsize=4096)
def gpu_buffer_sizes(
    shape: ModelShape, batch: MicroBatch, gpu: GpuKind, host: HostResident
) -> DeviceShare:
    """Return the bytes of both buffers when at least some layers are on the GPU.

    Args:
        shape: the model's shape.
        batch: the micro-batch.
        gpu: the kind of GPU.
        host: what of the model is in RAM.
    """
    inputs = reserve_inputs(shape, batch)
    if batch.n_tokens >= MIN_OFFLOAD_BATCH or host == NOTHING_IN_RAM:
        return DeviceShare(reserve_graph(shape, batch, gpu, host), inputs)
    return DeviceShare(reserve_graph(shape, batch, gpu), cpu_buffer_size(shape, batch))


def cpu_work_size(shape: ModelShape, batch: MicroBatch, *, experts_only: bool = False) -> int:
    """Return the bytes that the CPU backend takes on top while it computes.

    They hold the largest operand converted for a product, and the lists of the experts' rows.
    Within a few percent: the exact figure depends on the types of the weights. Source:
    ggml/src/ggml-cpu/ggml-cpu.c, ``ggml_graph_plan``.

    Args:
        shape: the model's shape.
        batch: the micro-batch.
        experts_only: whether the CPU computes nothing but routed experts.
    """
    n_tokens, n_head = batch.n_tokens, shape.n_head
    n_routed = n_tokens * shape.n_expert_used
    expert_operand = max(n_routed * shape.n_ff_exp, n_tokens * shape.n_embd)
    needed = _q8_k_bytes(expert_operand) + 8 * shape.n_expert * n_routed
    if experts_only:
        return needed
    head_width = max(shape.n_embd_head_v, shape.n_lora_kv if shape.is_mla else 0)
    widest = max(shape.n_ff, shape.n_embd, n_head * head_width)
    needed = max(needed, _q8_k_bytes(n_tokens * widest))
    if not batch.flash_attn:
        needed = max(needed, _attention_weights_f16(shape, batch))
    return needed


def cuda_pool_size(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the bytes that CUDA's kernels take on top while they compute.

    They hold the largest operand as Q8_1, each expert's rows by themselves, or the weights of
    attention as f16 without flash attention. Within a few MiB of what an H200 showed
    (tests/benchmarks/gpu_offload.py). Source: what ``ggml_cuda_mul_mat_q``
    (ggml-cuda/mmq.cu) and ``ggml_cuda_mul_mat_cublas`` (ggml-cuda/ggml-cuda.cu) take of the pool.
    """
    widest = max(shape.n_ff, shape.n_expert_used * shape.n_embd)
    operand = batch.n_tokens * widest * Q8_1_BYTES // Q8_1_ELEMENTS
    pool = max(MIN_CUDA_POOL, operand)
    if batch.flash_attn:
        return pool
    return max(pool, MIN_CUDA_POOL + _attention_weights_f16(shape, batch))


def _attention_weights_f16(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the bytes of the weights of attention as f16, to be multiplied with values."""
    return 2 * batch.n_tokens * shape.n_head * batch.n_kv


def _q8_k_bytes(n_elements: int) -> int:
    """Return the bytes of ``n_elements`` as Q8_K, the form in which activations meet K-quants."""
    return n_elements * Q8_K_BYTES // Q8_K_ELEMENTS
