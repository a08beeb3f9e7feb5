"""How fast a plan will be: the bytes that a token reads from each tier, over what that tier gives.

A decoded token reads all dense, attention and shared weights, the experts that it is routed to, and
the KV cache. Rates are measured once on this machine (``engine.calibrate``); for another
machine, or a GPU, they are the memory's bandwidth times the share of it that llama.cpp reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_names import tensor_class
from dslocal.plan.machine.bandwidth import (
    SSD_BANDWIDTH,
    assumed_bandwidth,
    gpu_bandwidth,
    ram_bandwidth,
)
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import kv_bytes_per_token
from dslocal.plan.memory.placement import placed_tensors

from .load_config import LoadConfig, MemoryUse

# of the bandwidth that decoding reaches: Coder-V2 236B Q4 on an M2 Ultra, 12.9 GB a token at 25
# tokens/s of 800 GB/s
ETA = 0.40
OTHER_RAM = 40e9  # bytes a second, where nothing is known: two channels of DDR4
SPREAD = 0.35  # forecasts are given as a range this far to either side
SMALL_READ = 0.7  # of its sequential speed that an SSD reaches on an expert's few megabytes


@dataclass(frozen=True)
class Rates:
    """Bytes a second that decoding reads from each tier, all losses included. ``gpu`` is 0 without
    one.
    """

    gpu: float
    ram: float
    ssd: float


@dataclass(frozen=True)
class Speed:
    """Tokens a second."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return math.sqrt(self.low * self.high)


@dataclass(frozen=True)
class Traffic:
    """Bytes that one token reads from each tier."""

    gpu: int
    ram: int
    ssd: int

    @property
    def total(self) -> int:
        return self.gpu + self.ram + self.ssd


def rates_for(machine: Machine, measured: Rates | None = None) -> Rates:
    """The rates of ``machine``: measured ones where there are any, else from what its parts are
    known to give.
    """
    gpu = gpu_bandwidth(machine) * ETA if machine.gpus else 0.0
    if measured:
        return Rates(measured.gpu or gpu, measured.ram, measured.ssd)
    return Rates(
        gpu,
        (ram_bandwidth(machine) or assumed_bandwidth(machine) or OTHER_RAM) * ETA,
        SSD_BANDWIDTH,
    )


def traffic(
    header: GgufHeader,
    load_config: LoadConfig,
    memory: MemoryUse,
    machine: Machine,
    *,
    filled: float = 0.5,
) -> Traffic:
    """What a token reads with the context ``filled`` to that share. What does not stay in RAM comes
    from the SSD.
    """
    share = _used(header)
    gpu = ram = routed = 0.0
    for tensor, on_gpu in _read_tensors(header, load_config):
        is_routed = tensor_class(tensor.name) == "routed experts"
        nbytes = tensor.nbytes * (share if is_routed else 1.0)
        if on_gpu:
            gpu += nbytes
        else:
            ram += nbytes
            routed += tensor.nbytes if is_routed else 0.0
    ssd = _missed(ram, routed, share, memory, machine)
    kv = kv_bytes_per_token(header, load_config.kv_type) * load_config.n_ctx * filled
    kv_gpu = kv * memory.kv.gpu / memory.kv.total if memory.kv.total else 0.0
    return Traffic(round(gpu + kv_gpu), round(ram - ssd + kv - kv_gpu), round(ssd))


def forecast(
    header: GgufHeader, load_config: LoadConfig, memory: MemoryUse, machine: Machine, rates: Rates
) -> Speed:
    """Tokens a second while decoding: low with the context full, high with it empty, each with the
    spread of such forecasts.
    """

    empty, full = (
        tokens_per_s(header, load_config, memory, machine, rates, filled) for filled in (0.0, 1.0)
    )
    return Speed(full * (1 - SPREAD), empty * (1 + SPREAD))


def tokens_per_s(
    header: GgufHeader,
    load_config: LoadConfig,
    memory: MemoryUse,
    machine: Machine,
    rates: Rates,
    filled: float,
) -> float:
    """The middle of such a forecast, with the context ``filled`` to that share; 0 when nothing is
    read.
    """
    read = traffic(header, load_config, memory, machine, filled=filled)
    seconds = (
        read.ram / rates.ram + read.ssd / rates.ssd + (read.gpu / rates.gpu if rates.gpu else 0.0)
    )
    return 1 / seconds if seconds else 0.0


def _missed(ram: float, routed: float, share: float, memory: MemoryUse, machine: Machine) -> float:
    """Bytes a token, of ``ram`` bytes of weights, that are not in the page cache any more when they
    are read.

    What every token reads stays (the kernel keeps what is used often) as far as it fits; of the
    experts, as large a share misses as does not fit, since which are read next is as good as
    random. Dense weights read round and round miss whole when they do not fit.
    """
    cache = machine.available - (memory.all.host - memory.weights.host)
    if memory.weights.host <= cache:
        return 0.0
    always = ram - routed * share
    if always >= cache or not routed:
        return ram
    return routed * share * max(0.0, 1 - (cache - always) / routed)


def weight_bytes_per_token(header: GgufHeader, load_config: LoadConfig) -> int:
    """Bytes of weights that one token reads, wherever they are."""
    share = _used(header)
    tensors = (tensor for tensor, _ in _read_tensors(header, load_config))
    return round(
        sum(
            t.nbytes * (share if tensor_class(t.name) == "routed experts" else 1.0) for t in tensors
        )
    )


def _used(header: GgufHeader) -> float:
    """The share of the routed experts that a token uses."""
    experts = header.of_arch("expert_count")
    return header.of_arch("expert_used_count") / experts if experts else 1.0


def _read_tensors(header: GgufHeader, load_config: LoadConfig) -> Iterator[tuple[GgufTensor, bool]]:
    """The tensors that are loaded, and whether they are read on the GPU; of embeddings only one row
    is, unless they are the output.
    """
    looked_up = any(tensor.name == "output.weight" for tensor in header.tensors)
    for tensor, on_gpu in placed_tensors(header, load_config):
        if tensor.name != "token_embd.weight":
            yield tensor, on_gpu
        elif not looked_up:
            yield tensor, load_config.n_gpu_layers > 0  # the output's own copy of it


def bytes_by_tier(read: Traffic) -> Mapping[str, int]:
    """Tiers that are read at all, with bytes a token."""
    return {
        name: nbytes
        for name, nbytes in (("GPU", read.gpu), ("RAM", read.ram), ("SSD", read.ssd))
        if nbytes
    }
