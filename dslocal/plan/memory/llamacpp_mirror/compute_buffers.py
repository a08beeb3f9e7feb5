"""Sizes of llama.cpp's buffers for intermediate results, and of the scratch memory that the CPU
backend adds to them.

On the CPU alone the buffer comes out to the byte. On a GPU the graph is followed as the scheduler
splits it, which is closest where all layers are there.
"""

from __future__ import annotations

import functools

from dslocal.plan.load_config import DeviceShare
from dslocal.plan.memory.shape import Shape

from .graph import (
    MIN_OFFLOAD_BATCH,
    GpuKind,
    HostResident,
    MicroBatch,
    ModelGraph,
)

MIN_CUDA_POOL = 10 << 20  # bytes


@functools.lru_cache(maxsize=4096)
def cpu_buffer_size(shape: Shape, batch: MicroBatch) -> int:
    """Bytes of the buffer for all intermediate results of one micro-batch."""
    return ModelGraph(shape, batch).size()


@functools.lru_cache(maxsize=1024)
def mtp_buffer_size(shape: Shape, batch: MicroBatch) -> int:
    """The same for the context that drafts with the MTP layer."""
    return ModelGraph(shape, batch).draft_size()


@functools.lru_cache(maxsize=4096)
def gpu_buffer_sizes(
    shape: Shape, batch: MicroBatch, gpu: GpuKind, remote: HostResident
) -> DeviceShare:
    """The two buffers when at least some layers are on the GPU, ``remote`` being what is not."""
    inputs = ModelGraph(shape, batch).host_size()
    if batch.tokens >= MIN_OFFLOAD_BATCH or remote == HostResident():
        return DeviceShare(ModelGraph(shape, batch, gpu, remote).size(), inputs)
    return DeviceShare(ModelGraph(shape, batch, gpu).size(), cpu_buffer_size(shape, batch))


def cpu_work_size(shape: Shape, batch: MicroBatch, *, experts_only: bool = False) -> int:
    """What the CPU backend takes on top while it computes: the largest operand laid out for its
    products, experts' rows listed.

    Within a few percent: the exact figure depends on the types of the weights (ggml-cpu.c,
    ``ggml_graph_plan``).
    """
    tokens, heads = batch.tokens, shape.heads
    routed = tokens * shape.experts_used
    needs = [
        _operand(max(routed * shape.expert_ff, tokens * shape.width)) + 8 * shape.experts * routed
    ]
    if not experts_only:
        needs.append(
            _operand(
                tokens
                * max(
                    shape.ff,
                    shape.width,
                    heads * max(shape.head_v, shape.kv_rank if shape.mla else 0),
                )
            )
        )
        if not batch.flash_attn:
            needs.append(
                2 * tokens * heads * batch.cells
            )  # attention weights as f16, to be multiplied with values
    return max(needs)


def cuda_pool_size(shape: Shape, batch: MicroBatch) -> int:
    """What CUDA's kernels take on top while they compute: the largest operand as Q8_1, each
    expert's rows by themselves, or attention weights as f16 where there is no flash attention.

    Within a few MiB of what an H200 showed (tests/benchmarks/gpu_offload.py).
    """
    pool = max(
        MIN_CUDA_POOL, batch.tokens * max(shape.ff, shape.experts_used * shape.width) * 36 // 32
    )
    return (
        pool
        if batch.flash_attn
        else max(pool, MIN_CUDA_POOL + 2 * batch.tokens * shape.heads * batch.cells)
    )


def _operand(elements: int) -> int:
    """Bytes of ``elements`` as Q8_K, the form in which activations meet K-quants."""
    return elements * 292 // 256
