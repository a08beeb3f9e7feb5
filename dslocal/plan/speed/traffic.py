"""What a token reads, from which tier: weights on the GPU, in RAM and on the SSD, and KV cache.

Nobody knows in advance which experts a token uses. So the share of them that is read from the SSD
is the share of all experts that does not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_names import ROUTED_EXPERTS, tensor_class
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.expert_streaming import reserve, skewed_hit_rate
from dslocal.plan.load_config import LoadConfig, MemoryUse
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory import dspark
from dslocal.plan.memory.footprint import kv_bytes_per_token
from dslocal.plan.memory.placement import EMBEDDINGS, OUTPUT, placed_tensors

from .rates import TypeBytes


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


@dataclass(frozen=True, slots=True)
class WeightReads:
    """Bytes of weights that a token reads, wherever those in RAM really are.

    Attributes:
        gpu: on the GPU, of what every token reads.
        ram: in RAM, of what every token reads.
        gpu_experts: of all routed experts on the GPU.
        ram_experts: of all routed experts in RAM.
        used: routed experts of a layer that a token uses.
        experts: routed experts of a layer; 0 for a model without any.
        ram_types: what a token reads in RAM, by type.
    """

    gpu: int
    ram: int
    gpu_experts: int
    ram_experts: int
    used: int
    experts: int
    ram_types: tuple[TypeBytes, ...] = ()

    @property
    def used_share(self) -> float:
        """Return the share of the routed experts that a token uses."""
        return self.used / self.experts if self.experts else 1.0

    @property
    def on_gpu(self) -> float:
        """Return the bytes that a token reads on the GPU."""
        return self.gpu + self.gpu_experts * self.used_share

    @property
    def used_in_ram(self) -> float:
        """Return the bytes of experts in RAM that a token uses."""
        return self.ram_experts * self.used_share

    @property
    def in_ram(self) -> float:
        """Return the bytes that a token reads in RAM."""
        return self.ram + self.used_in_ram


@dataclass(frozen=True, slots=True)
class WeightRoom:
    """The memory that weights in RAM have, in bytes, and what of them does not fit.

    Attributes:
        available: memory that can be had.
        taken: what the model takes of it besides weights.
        kept_free: what experts that are read ahead leave free.
        dense_missing: whether what every token reads does not fit: it is read round and round, so
            that all of it misses each time, and so do the experts.
        experts_missing: the share of the experts that is not in memory.
    """

    available: int
    taken: int
    kept_free: int
    dense_missing: bool
    experts_missing: float

    @property
    def size(self) -> int:
        """Return the bytes that are left for weights."""
        return self.available - self.taken - self.kept_free

    def missing_share(self, n_experts: int, *, skewed: bool) -> float:
        """Return the share of a token's experts that is read from the SSD.

        Args:
            n_experts: experts of a layer.
            skewed: whether the router prefers some (:func:`.skewed_hit_rate`), or chooses all
                equally often.
        """
        if not skewed or self.experts_missing >= 1:
            return self.experts_missing
        return 1 - skewed_hit_rate(1 - self.experts_missing, 1.0, n_experts)


def weight_reads(header: GgufHeader, load_config: LoadConfig) -> WeightReads:
    """Return the weights that a token reads."""
    gpu = ram = 0
    gpu_experts = ram_experts = 0
    used, experts = header.of_arch("expert_used_count"), header.of_arch("expert_count")
    types: dict[GgmlType, float] = {}
    for tensor, on_gpu in _read_tensors(header, load_config):
        is_routed = tensor_class(tensor.name) == ROUTED_EXPERTS
        if is_routed and on_gpu:
            gpu_experts += tensor.nbytes
        elif is_routed:
            ram_experts += tensor.nbytes
        elif on_gpu:
            gpu += tensor.nbytes
        else:
            ram += tensor.nbytes
        if not on_gpu:
            share = used / experts if is_routed and experts else 1.0
            types[tensor.type] = types.get(tensor.type, 0.0) + tensor.nbytes * share
    by_type = tuple(TypeBytes(*part) for part in types.items())
    return WeightReads(gpu, ram, gpu_experts, ram_experts, used, experts, by_type)


def weight_room(
    reads: WeightReads, load_config: LoadConfig, memory: MemoryUse, machine: Machine
) -> WeightRoom:
    """Return what of the weights is in memory when it is read.

    What every token reads stays, as far as it fits: the kernel keeps what is used often. Of the
    experts, as large a share misses as does not fit, since which are read next is as good as
    random. Dense weights that are read round and round miss whole when they do not fit.

    Args:
        reads: the weights that a token reads.
        load_config: how the model is loaded.
        memory: what it takes.
        machine: where it runs.
    """
    taken = memory.all.host - memory.weights.host
    kept_free = reserve(machine.ram) if load_config.stream_experts else 0
    room = machine.available - taken - kept_free
    dense_missing, experts_missing = False, 0.0
    if memory.weights.host > room:
        dense_missing = reads.ram >= room or not reads.ram_experts
        experts_missing = 1.0
        if not dense_missing:
            experts_missing = max(0.0, 1 - (room - reads.ram) / reads.ram_experts)
    return WeightRoom(machine.available, taken, kept_free, dense_missing, experts_missing)


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
    reads = weight_reads(header, load_config)
    room = weight_room(reads, load_config, memory, machine)
    missing = room.missing_share(reads.experts, skewed=skewed)
    ssd = (reads.ram if room.dense_missing else 0) + reads.used_in_ram * missing
    kv = kv_bytes_per_token(header, load_config.kv_type) * load_config.n_ctx * filled
    kv_on_gpu = kv * memory.kv.gpu / memory.kv.total if memory.kv.total else 0.0
    return Traffic(
        gpu=round(reads.on_gpu + kv_on_gpu),
        ram=round(reads.in_ram - ssd + kv - kv_on_gpu),
        ssd=round(ssd),
    )


def weight_bytes_per_token(header: GgufHeader, load_config: LoadConfig) -> int:
    """Return the bytes of weights that one token reads, wherever they are."""
    reads = weight_reads(header, load_config)
    return round(reads.on_gpu + reads.in_ram)


def published_bytes_per_token(header: GgufHeader, checkpoint: int) -> float:
    """Return the bytes that a token reads of a published checkpoint.

    The share that a token uses is that of the parameters of ``header``.

    Args:
        header: the model's header, in any quantization.
        checkpoint: bytes of the checkpoint.
    """
    experts = header.of_arch("expert_count")
    used = header.of_arch("expert_used_count") / experts if experts else 1.0
    total = read = 0.0
    for tensor in header.tensors:
        total += tensor.elements
        if tensor.name != EMBEDDINGS:
            share = used if tensor_class(tensor.name) == ROUTED_EXPERTS else 1.0
            read += tensor.elements * share
    return checkpoint * read / total if total else 0.0


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
