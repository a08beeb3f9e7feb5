"""How fast a plan will be: the bytes that a token reads from each tier, over what that tier gives.

A decoded token reads all dense, attention and shared weights, the experts that it is routed to, and
the KV cache. Rates are measured on this machine, by :mod:`dslocal.engine.measuring.calibrate`;
for another machine, or a GPU, they are the memory's bandwidth times the share of it that llama.cpp
reaches, and a layer takes a little time besides, which counts where the memory is fast. Experts
that are read ahead (:mod:`.expert_streaming`) come while others are multiplied with. How far that
is from published measurements, tests/benchmarks/published_speeds.py says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_names import ROUTED_EXPERTS, tensor_class
from dslocal.plan.machine.bandwidth import (
    SSD_BANDWIDTH,
    assumed_bandwidth,
    gpu_bandwidth,
    ram_bandwidth,
)
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory import dspark
from dslocal.plan.memory.footprint import kv_bytes_per_token
from dslocal.plan.memory.placement import EMBEDDINGS, OUTPUT, is_on_gpu, placed_tensors
from dslocal.plan.memory.shape import moe_layers, shape_of

from .expert_streaming import reserve, skewed_hit_rate
from .load_config import GpuKind, LoadConfig, MemoryUse

OTHER_RAM = 51.2e9  # bytes a second, where nothing is known: two channels of DDR4
CORE_RATE = (
    10e9  # bytes a second that one core reads while decoding (engine/measuring/calibrate.py)
)
SPREAD = 0.30  # forecasts are given as a range this far to either side
EXPERT_MATRICES = 3  # of an expert: gate, up and down
SMALL_READ = 0.7  # of its sequential speed that an SSD reaches on an expert's few megabytes


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Seconds that a layer takes besides reading its weights, for one token.

    Attributes:
        dense: any layer.
        routed: a layer with routed experts, in addition.
        compressed: a layer of V4, in addition: its hyper-connections, compressors and indexer are
            many small operations.
    """

    dense: float = 0.0
    routed: float = 0.0
    compressed: float = 0.0


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What decoding reaches with some kernels.

    Attributes:
        share: the share of the memory's bandwidth at which weights are read.
        layer: what a layer takes besides.
    """

    share: float
    layer: LayerTime


# Fitted to the published measurements in tests/benchmarks/published_speeds.yaml, two numbers for
# all chips of a kind: on Apple's a straight line fits M1 to M4, base to Ultra, 4 to 16 bits.
GPU_EFFICIENCY: dict[GpuKind, Efficiency] = {
    "metal": Efficiency(0.89, LayerTime(150e-6, 200e-6, 60e-6)),
    "cuda": Efficiency(0.80, LayerTime(30e-6, 40e-6, 330e-6)),
    "other": Efficiency(0.78, LayerTime(50e-6, 100e-6, 150e-6)),
}
CPU_EFFICIENCY = Efficiency(0.65, LayerTime(50e-6, 500e-6))
NO_LAYER_TIME = LayerTime()


@dataclass(frozen=True)
class Rates:
    """Bytes a second that decoding reads from each tier, and what its layers take besides.

    Attributes:
        gpu: from the GPU's memory; 0 without one.
        ram: from RAM.
        ssd: from the SSD.
        gpu_layer: what a layer on the GPU takes besides.
        ram_layer: what a layer on the CPU takes besides; nothing where ``ram`` was measured, which
            includes it.
    """

    gpu: float
    ram: float
    ssd: float
    gpu_layer: LayerTime = NO_LAYER_TIME
    ram_layer: LayerTime = NO_LAYER_TIME


@dataclass(frozen=True)
class Speed:
    """A range of tokens a second."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Return the geometric mean of both ends."""
        return math.sqrt(self.low * self.high)


@dataclass(frozen=True)
class Traffic:
    """Bytes that one token reads from each tier."""

    gpu: int
    ram: int
    ssd: int

    @property
    def total(self) -> int:
        """Return the bytes that it reads from all tiers."""
        return self.gpu + self.ram + self.ssd


def rates_for(machine: Machine, measured: Rates | None = None) -> Rates:
    """Return the rates of a machine.

    Args:
        machine: the machine.
        measured: what was measured on it, which comes before what its parts are known to give.
    """
    gpu, gpu_layer = 0.0, NO_LAYER_TIME
    if machine.gpus:
        kernels = GPU_EFFICIENCY[machine.gpus[0].kind]
        gpu, gpu_layer = gpu_bandwidth(machine) * kernels.share, kernels.layer
    if measured:
        if measured.gpu:
            gpu, gpu_layer = measured.gpu, measured.gpu_layer
        return Rates(gpu, measured.ram, measured.ssd, gpu_layer, measured.ram_layer)
    bandwidth = ram_bandwidth(machine) or assumed_bandwidth(machine) or OTHER_RAM
    ram = min(bandwidth * CPU_EFFICIENCY.share, machine.cores * CORE_RATE)
    return Rates(gpu, ram, SSD_BANDWIDTH, gpu_layer, CPU_EFFICIENCY.layer)


def traffic(
    header: GgufHeader,
    load_config: LoadConfig,
    memory: MemoryUse,
    machine: Machine,
    *,
    filled: float = 0.5,
    skewed: bool = False,
) -> Traffic:
    """Return what a token reads. What does not stay in RAM comes from the SSD.

    Args:
        header: the model's header.
        load_config: how it is loaded.
        memory: what it takes.
        machine: where it runs.
        filled: the share of the context that is filled.
        skewed: whether some experts are chosen much more often than others.
    """
    share = _used_share_of_experts(header)
    gpu = ram = routed = 0.0
    for tensor, on_gpu in _read_tensors(header, load_config):
        is_routed = tensor_class(tensor.name) == ROUTED_EXPERTS
        nbytes = tensor.nbytes * (share if is_routed else 1.0)
        if on_gpu:
            gpu += nbytes
            continue
        ram += nbytes
        if is_routed:
            routed += tensor.nbytes
    cache = machine.available - (memory.all.host - memory.weights.host)
    if load_config.stream_experts:
        cache -= reserve(machine.ram)
    missed = _missed(ram, routed, share, memory, cache)
    ssd = _skewed(header, missed, routed * share) if skewed else missed
    kv = kv_bytes_per_token(header, load_config.kv_type) * load_config.n_ctx * filled
    kv_on_gpu = kv * memory.kv.gpu / memory.kv.total if memory.kv.total else 0.0
    return Traffic(
        gpu=round(gpu + kv_on_gpu), ram=round(ram - ssd + kv - kv_on_gpu), ssd=round(ssd)
    )


def forecast(
    header: GgufHeader, load_config: LoadConfig, memory: MemoryUse, machine: Machine, rates: Rates
) -> Speed:
    """Return the tokens a second while decoding, with the spread of such forecasts.

    The low end is that of a full context, the high end that of an empty one. Where experts are read
    ahead, the low end is for a router that chooses all of them equally often, and the high end for
    one that prefers some (:func:`.skewed_hit_rate`).
    """
    skewed = load_config.stream_experts
    empty = tokens_per_s(header, load_config, memory, machine, rates, 0.0, skewed=skewed)
    full = tokens_per_s(header, load_config, memory, machine, rates, 1.0)
    return Speed(full * (1 - SPREAD), empty * (1 + SPREAD))


def tokens_per_s(
    header: GgufHeader,
    load_config: LoadConfig,
    memory: MemoryUse,
    machine: Machine,
    rates: Rates,
    filled: float,
    *,
    skewed: bool = False,
) -> float:
    """Return the middle of such a forecast; 0 when nothing is read.

    Args:
        header: the model's header.
        load_config: how it is loaded.
        memory: what it takes.
        machine: where it runs.
        rates: what that reads a second.
        filled: the share of the context that is filled.
        skewed: as for :func:`traffic`.
    """
    read = traffic(header, load_config, memory, machine, filled=filled, skewed=skewed)
    if load_config.stream_experts:
        experts = min(_expert_bytes_in_ram(header, load_config), read.ram + read.ssd)
        others = (read.ram + read.ssd - experts) / rates.ram
        seconds = others + _overlapped(experts / rates.ram, read.ssd / rates.ssd)
    else:
        seconds = read.ram / rates.ram + read.ssd / rates.ssd
    if rates.gpu:
        seconds += read.gpu / rates.gpu
    seconds += layer_seconds(header, load_config, rates)
    return 1 / seconds if seconds else 0.0


def _overlapped(computing: float, reading: float) -> float:
    """Return the seconds of a token's experts, of which one matrix is read while another is used.

    A layer has three matrices. The first is waited for, and the last is used when all are read.
    """
    return max(computing, reading) + min(computing, reading) / EXPERT_MATRICES


def _expert_bytes_in_ram(header: GgufHeader, load_config: LoadConfig) -> float:
    """Return the bytes of routed experts that one token uses and the CPU multiplies with."""
    share = _used_share_of_experts(header)
    return share * sum(
        tensor.nbytes
        for tensor, on_gpu in _read_tensors(header, load_config)
        if not on_gpu and tensor_class(tensor.name) == ROUTED_EXPERTS
    )


def _skewed(header: GgufHeader, missed: float, used: float) -> float:
    """Return the bytes that are missed by a router that prefers some experts.

    Args:
        header: the model's header.
        missed: the bytes that are missed where all are chosen equally often.
        used: the bytes of experts that a token uses.
    """
    if missed >= used:
        return missed
    hits = 1 - missed / used
    return used * (1 - skewed_hit_rate(hits, 1.0, header.of_arch("expert_count")))


def layer_seconds(header: GgufHeader, load_config: LoadConfig, rates: Rates) -> float:
    """Return the seconds that the layers take for one token besides reading."""
    shape = shape_of(header)
    routed = [layer for layer in moe_layers(header) if layer < shape.n_layer]
    in_ram = set(routed[: load_config.cpu_moe_layers])
    seconds = 0.0
    for layer in range(shape.n_layer):
        on_gpu = is_on_gpu(layer, shape, load_config)
        times = rates.gpu_layer if on_gpu else rates.ram_layer
        seconds += times.dense + (times.compressed if shape.compress_ratios else 0.0)
    for layer in routed:
        on_gpu = is_on_gpu(layer, shape, load_config) and layer not in in_ram
        seconds += (rates.gpu_layer if on_gpu else rates.ram_layer).routed
    return seconds


def weight_bytes_per_token(header: GgufHeader, load_config: LoadConfig) -> int:
    """Return the bytes of weights that one token reads, wherever they are."""
    share = _used_share_of_experts(header)
    total = 0.0
    for tensor, _ in _read_tensors(header, load_config):
        is_routed = tensor_class(tensor.name) == ROUTED_EXPERTS
        total += tensor.nbytes * (share if is_routed else 1.0)
    return round(total)


def published_bytes_per_token(header: GgufHeader, checkpoint: int) -> float:
    """Return the bytes that a token reads of a published checkpoint.

    The share that a token uses is that of the parameters of ``header``.

    Args:
        header: the model's header, in any quantization.
        checkpoint: bytes of the checkpoint.
    """
    used = _used_share_of_experts(header)
    total = read = 0.0
    for tensor in header.tensors:
        total += tensor.elements
        if tensor.name != EMBEDDINGS:
            share = used if tensor_class(tensor.name) == ROUTED_EXPERTS else 1.0
            read += tensor.elements * share
    return checkpoint * read / total if total else 0.0


def bytes_by_tier(read: Traffic) -> Mapping[str, int]:
    """Return the tiers that are read at all, with the bytes a token."""
    tiers = {"GPU": read.gpu, "RAM": read.ram, "SSD": read.ssd}
    return {name: nbytes for name, nbytes in tiers.items() if nbytes}


def _missed(ram: float, routed: float, share: float, memory: MemoryUse, cache: int) -> float:
    """Return the bytes a token that are not in memory any more when they are read.

    What every token reads stays, as far as it fits: the kernel keeps what is used often. Of the
    experts, as large a share misses as does not fit, since which are read next is as good as
    random. Dense weights that are read round and round miss whole when they do not fit.

    Args:
        ram: bytes of weights in RAM that a token reads.
        routed: bytes of routed experts there.
        share: the share of them that a token uses.
        memory: what the model takes.
        cache: the bytes of memory that hold weights as long as there is room.
    """
    if memory.weights.host <= cache:
        return 0.0
    always = ram - routed * share
    if always >= cache or not routed:
        return ram
    return routed * share * max(0.0, 1 - (cache - always) / routed)


def _used_share_of_experts(header: GgufHeader) -> float:
    """Return the share of the routed experts that a token uses."""
    experts = header.of_arch("expert_count")
    return header.of_arch("expert_used_count") / experts if experts else 1.0


def _read_tensors(header: GgufHeader, load_config: LoadConfig) -> Iterator[tuple[GgufTensor, bool]]:
    """Yield the tensors that a token reads whole, and whether they are read on the GPU.

    Of embeddings only one row is read, unless they are the output too: then the output's own copy
    of them is. A token that is not drafted reads nothing of a draft model.
    """
    has_output = any(tensor.name == OUTPUT for tensor in header.tensors)
    for tensor, on_gpu in placed_tensors(header, load_config):
        if tensor.name.startswith(dspark.PREFIX):
            continue
        if tensor.name != EMBEDDINGS:
            yield tensor, on_gpu
        elif not has_output:
            yield tensor, load_config.n_gpu_layers > 0
