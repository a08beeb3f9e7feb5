"""The memory that a model takes, by part and device, from its GGUF header and the way it is loaded.

Knows where llama.cpp puts what: embeddings always in RAM, the last layers and the output on the GPU
first, routed experts in RAM when told so. Weights, KV cache and the compute buffer in RAM come out
to the byte; see :mod:`.compute` for the last. Knows nothing of machines, and whether anything fits
is not its question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_names import layer_of, tensor_class
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import DeviceShare, LoadConfig, MemoryUse
from dslocal.plan.memory.llamacpp_mirror.compute_buffers import (
    cpu_buffer_size,
    cpu_work_size,
    cuda_pool_size,
    gpu_buffer_sizes,
    mtp_buffer_size,
)
from dslocal.plan.memory.llamacpp_mirror.graph import (
    GPU_ALIGNMENT,
    HOST_ALIGNMENT,
    MIN_OFFLOAD_BATCH,
    GpuKind,
    HostResident,
    MicroBatch,
)

from .memo import cached_by_header
from .shape import Shape, is_legacy_mla, moe_layers, routed_layer_of, shape_of

MIB = 1 << 20
CELLS = 256  # llama.cpp rounds a context up to a multiple of it
# measured (tests/benchmarks/footprint_real.py), of a process that generates
BASE = 48 * MIB  # the interpreter, numpy and llama.cpp
VOCABULARY = 530  # bytes a token of the vocabulary, merges included
CELL = 100  # bytes a cell of the KV cache besides its content
# on an H200 with CUDA 13.0 (tests/benchmarks/gpu_offload.py): 527 MiB to open it, the rest are kernels,
# loaded as they are first run
GPU_CONTEXT: dict[GpuKind, int] = {
    "cuda": 608 * MIB,
    "metal": 50 * MIB,
    "other": 200 * MIB,
}  # only CUDA's was measured
CUBLAS = (
    96 * MIB
    # its handle, kernels and workspace, from its first product: a router's, or attention without flash
    # attention
)

# types that llama.cpp lays out anew for some processor; not each of them for every one, so it may
# take less than is said
REPACKED = frozenset(
    GgmlType[name] for name in ("Q4_0", "Q4_K", "Q2_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4")
)


def footprint(header: GgufHeader, load_config: LoadConfig, gpu: GpuKind = "cuda") -> MemoryUse:
    """Bytes by part; ``gpu`` says whose kernels are to run.

    Raises UsageError for a combination that llama.cpp refuses, GgufError and UnsupportedModelError.
    """
    if reason := refusal_reason(header, load_config):
        raise UsageError(reason, hint="turn flash attention on, or keep the cache in f16")
    shape = shape_of(header)
    return MemoryUse(
        weights=weights(header, shape, load_config),
        kv=kv_cache(shape, load_config),
        compute=compute(header, shape, load_config, gpu),
        output=DeviceShare(0, output_bytes(shape.vocabulary, shape.width, load_config)),
        overhead=overhead(shape, load_config, gpu),
    )


def refusal_reason(header: GgufHeader, load_config: LoadConfig) -> str | None:
    """Why llama.cpp would refuse ``loading``, in one sentence; None when it would not."""
    shape, kind = shape_of(header), load_config.kv_type
    if kind.block > 1 and not load_config.flash_attn:
        return f"a {kind.name.lower()} KV cache needs flash attention"
    heads = (shape.kv_rank + shape.rope,) if shape.mla else (shape.head_k, shape.head_v)
    if bad := [head for head in heads if head % kind.block]:
        return f"a {kind.name.lower()} KV cache needs heads of a multiple of {kind.block}, this model's are {bad[0]} long"
    return None


def kv_bytes_per_token(header: GgufHeader, kv_type: GgmlType = GgmlType.F16) -> int:
    """Bytes that one more token takes in the cache, over all layers."""
    shape = shape_of(header)
    return shape.layers * _kv_row(shape, kv_type)


def modern_kv_bytes_per_token(header: GgufHeader, kv_type: GgmlType = GgmlType.F16) -> int:
    """The same for a legacy MLA file, were it written as files are today."""
    shape = shape_of(header)
    return (
        shape.layers * kv_type.nbytes(shape.kv_rank + shape.rope)
        if is_legacy_mla(header)
        else kv_bytes_per_token(header, kv_type)
    )


def weights(header: GgufHeader, shape: Shape, load_config: LoadConfig) -> DeviceShare:
    return _weights(
        header,
        shape,
        replace(
            load_config, n_ctx=0, kv_type=GgmlType.F16, n_ubatch=0, flash_attn=True, n_outputs=0
        ),
    )


@cached_by_header
def _weights(header: GgufHeader, shape: Shape, load_config: LoadConfig) -> DeviceShare:
    """Nothing of ``loading`` but where weights are makes a difference."""
    total = DeviceShare(0, 0)
    for share in weights_by_class(header, shape, load_config).values():
        total += share
    return total


def weights_by_class(
    header: GgufHeader, shape: Shape, load_config: LoadConfig
) -> dict[str, DeviceShare]:
    """Weights by what they are for, as :func:`tensor_class` names it. A weight that is laid out
    anew from a mapped file counts twice.
    """
    tied = load_config.n_gpu_layers > 0 and all(
        tensor.name != "output.weight" for tensor in header.tensors
    )
    found: dict[str, DeviceShare] = {}
    for tensor, there in placed_tensors(header, load_config):
        share = _share(tensor, load_config, gpu_buffer_sizes=there)
        if tied and tensor.name == "token_embd.weight":  # the output's own copy of it
            share += DeviceShare(_padded(tensor.nbytes, GPU_ALIGNMENT), 0)
        kind = tensor_class(tensor.name)
        found[kind] = found.get(kind, DeviceShare(0, 0)) + share
    return found


def placed_tensors(
    header: GgufHeader, load_config: LoadConfig
) -> Iterator[tuple[GgufTensor, bool]]:
    """The tensors that are loaded, and whether each is on the GPU."""
    shape, in_ram = shape_of(header), set(moe_layers(header)[: load_config.cpu_moe_layers])
    for tensor in header.tensors:
        layer = layer_of(tensor.name)
        if layer >= shape.layers and not load_config.mtp:
            continue  # load_mtp = False skips all of the layer's tensors
        stays = tensor.name == "token_embd.weight" or routed_layer_of(tensor.name) in in_ram
        yield tensor, not stays and _on_gpu(layer, shape, load_config)


def kv_cache(shape: Shape, load_config: LoadConfig) -> DeviceShare:
    """The cache of all layers; the MTP layer's, if it is loaded, is a context of its own."""
    each = load_config.n_seq * kv_cells(load_config) * _kv_row(shape, load_config.kv_type)
    layers = range(shape.layers + (shape.mtp_layers if load_config.mtp else 0))
    gpu = sum(_on_gpu(layer, shape, load_config) for layer in layers)
    return DeviceShare(each * gpu, each * (len(layers) - gpu))


def compute(
    header: GgufHeader, shape: Shape, load_config: LoadConfig, gpu: GpuKind = "cuda"
) -> DeviceShare:
    """Buffers for intermediate results."""
    batch = _batch(load_config)
    draft = DeviceShare(
        0, mtp_buffer_size(shape, batch) if load_config.mtp and shape.mtp_layers else 0
    )
    if not load_config.n_gpu_layers:
        return draft + DeviceShare(0, cpu_buffer_size(shape, batch))
    draft = DeviceShare(draft.host, 0)
    return draft + gpu_buffer_sizes(shape, batch, gpu, _remote(header, shape, load_config))


def output_bytes(vocabulary: int, width: int, load_config: LoadConfig) -> int:
    """Logits as they come out; with MTP also the draft's, and hidden states of a batch:
    llama.cpp's, a copy, and one in the making.

    Source: ``llama_context::output_reserve``; the copies are :mod:`dslocal.engine.speculation.mtp_draft`'s.
    """
    mtp_buffer_size = vocabulary + 4 * width * load_config.n_batch if load_config.mtp else 0
    return 4 * (vocabulary * load_config.n_outputs + mtp_buffer_size)


def kv_cells(load_config: LoadConfig) -> int:
    """Tokens that the cache of one conversation has room for."""
    return _padded(load_config.n_ctx, CELLS)


def overhead(shape: Shape, load_config: LoadConfig, gpu: GpuKind = "cuda") -> DeviceShare:
    """What the process takes besides: the interpreter and libraries, the vocabulary, the cache's
    book-keeping, the CPU's scratch.
    """
    host = BASE + VOCABULARY * shape.vocabulary + CELL * load_config.n_seq * kv_cells(load_config)
    if load_config.n_gpu_layers <= shape.layers + shape.mtp_layers:
        host += cpu_work_size(shape, _batch(load_config))
    elif load_config.cpu_moe_layers:
        host += cpu_work_size(shape, _batch(load_config), experts_only=True)
    return DeviceShare(
        _gpu_overhead(shape, load_config, gpu) if load_config.n_gpu_layers else 0, host
    )


def _gpu_overhead(shape: Shape, load_config: LoadConfig, gpu: GpuKind) -> int:
    if gpu != "cuda":
        return GPU_CONTEXT[gpu]
    return (
        GPU_CONTEXT[gpu]
        + (CUBLAS if shape.experts or not load_config.flash_attn else 0)
        + cuda_pool_size(shape, _batch(load_config))
    )


def _batch(load_config: LoadConfig) -> MicroBatch:
    tokens = _padded(
        min(load_config.n_ubatch, load_config.n_ctx), load_config.n_seq
    )  # as many of each conversation
    return MicroBatch(
        tokens,
        kv_cells(load_config),
        min(load_config.n_outputs, tokens),
        load_config.kv_type,
        load_config.flash_attn,
    )


def _remote(header: GgufHeader, shape: Shape, load_config: LoadConfig) -> HostResident:
    """What of the model is in RAM when layers are on the GPU."""
    copies: dict[str, int] = {}
    few = (
        f"blk.{shape.layers - 1}.ffn" if _batch(load_config).outputs < MIN_OFFLOAD_BATCH else "none"
    )  # of the last layer, few rows go on
    for tensor, there in placed_tensors(header, load_config):
        if not there and tensor.name.startswith("blk.") and not tensor.name.startswith(few):
            part = tensor.name.split(".")[2]
            copies[part] = max(copies.get(part, 0), _padded(tensor.nbytes, GPU_ALIGNMENT))
    layers = sum(not _on_gpu(layer, shape, load_config) for layer in range(shape.layers))
    moe = min(
        load_config.cpu_moe_layers,
        len([layer for layer in moe_layers(header) if layer < shape.layers]),
    )
    return HostResident(layers, moe, tuple(sorted(copies.items())))


def _kv_row(shape: Shape, kind: GgmlType) -> int:
    """Bytes of one token in one layer."""
    return kind.nbytes(shape.cache_k) + kind.nbytes(shape.cache_v)


def _on_gpu(layer: int, shape: Shape, load_config: LoadConfig) -> bool:
    """Whether ``layer`` is on the GPU; -1 stands for what is outside of layers, which goes there
    first.
    """
    last = shape.layers + shape.mtp_layers
    return (last if layer < 0 else layer) >= last + 1 - load_config.n_gpu_layers


def _share(tensor: GgufTensor, load_config: LoadConfig, *, gpu_buffer_sizes: bool) -> DeviceShare:
    if gpu_buffer_sizes:
        return DeviceShare(_padded(tensor.nbytes, GPU_ALIGNMENT), 0)
    copies = (
        2
        if load_config.repack
        and load_config.load_mode == "mmap"
        and tensor.type in REPACKED
        and len(tensor.shape) > 1
        else 1
    )
    return DeviceShare(0, copies * _padded(tensor.nbytes, HOST_ALIGNMENT))


def _padded(size: int, to: int) -> int:
    return -(-size // to) * to
