"""Deal a model's layers out to this machine and to workers, so that a token is fastest.

A token passes from one device to the next: its time is the sum of what each needs for its layers,
and of a round trip to each worker that has any. Layers come in a row, in llama.cpp's order: this
machine's CPU, the workers as they were named, this machine's GPUs. Under that order the best way of
dealing is found by dynamic programming over devices and layers. Knows what memory each device has,
and nothing of how a model is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import DeviceLayers, GpuKind, LoadConfig
from dslocal.plan.machine.bandwidth import one_gpu_bandwidth
from dslocal.plan.machine.machine import Machine
from dslocal.plan.machine.remote import RemoteDevice
from dslocal.plan.memory.footprint import (
    GPU_CONTEXT_BYTES,
    cpu_work_bytes,
    footprint,
    largest_batch,
)
from dslocal.plan.memory.llamacpp_mirror.compute_buffers import gpu_buffer_sizes
from dslocal.plan.memory.llamacpp_mirror.micro_batch import NOTHING_IN_RAM
from dslocal.plan.memory.shape import shape_of
from dslocal.plan.speed import (
    CPU_EFFICIENCY,
    GPU_EFFICIENCY,
    NO_LAYER_TIME,
    LayerCount,
    LayerTime,
    Rates,
    TypeBytes,
    TypeRate,
    rates_for,
    weight_reads,
)

from .layers import LayerTable, layer_table

HEADROOM = 0.02  # the share of a device's memory that stays free
UNKNOWN_RATE = 20e9  # bytes a second of a device that says nothing of it
FILLED = 0.5  # the share of the context that is filled while a token is timed


@dataclass(frozen=True, slots=True)
class Place:
    """A device that layers may go to.

    Attributes:
        name: its name, fit to be printed.
        endpoint: its worker; empty on this machine.
        number: which device of the worker, or GPU of this machine; -1 for this machine's CPU.
        free: bytes that may be taken.
        fixed: bytes that are taken as soon as it has a layer: buffers for intermediate results.
        idle: bytes of buffers that are taken where it has none: the inputs of the graph.
        rate: bytes a second that decoding reads.
        layer: what a layer takes besides.
        round_trip: seconds that a token's way there and back takes.
        receives: whether weights come over a connection, each as a whole before it is stored.
    """

    name: str
    endpoint: str
    number: int
    free: int
    fixed: int
    rate: float
    layer: LayerTime = NO_LAYER_TIME
    round_trip: float = 0.0
    receives: bool = False
    idle: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What a device gets of a model.

    Attributes:
        place: the device.
        first: the number of its first layer.
        layers: how many it has, the output being one.
        weights: bytes of their weights.
        kv: bytes of their KV cache.
        compute: bytes of buffers.
        read: bytes that a token reads there.
        count: its layers, by what they take besides.
        seconds: that a token takes there, on the way too.
    """

    place: Place
    first: int
    layers: int
    weights: int
    kv: int
    compute: int
    read: float
    count: LayerCount
    seconds: float

    @property
    def total(self) -> int:
        """Return the bytes that it takes while it generates."""
        return self.weights + self.kv + self.compute


@dataclass(frozen=True, slots=True)
class LayerSpread:
    """Who gets what.

    Attributes:
        config: how the model is loaded.
        shares: what each device gets that gets anything, in the order of the layers. This
            machine's CPU is always there: it has the embeddings.
    """

    config: LoadConfig
    shares: tuple[Share, ...]

    @property
    def seconds(self) -> float:
        """Return the seconds that a token takes."""
        return sum(share.seconds for share in self.shares)

    def as_json(self) -> list[dict[str, Any]]:
        """Return what ``--json`` prints of each device; sizes in bytes."""
        return [
            {
                "endpoint": share.place.endpoint,
                "device": share.place.name,
                "first_layer": share.first,
                "layers": share.layers,
                "free": share.place.free,
                "weights": share.weights,
                "kv": share.kv,
                "compute": share.compute,
                "total": share.total,
                "round_trip_s": share.place.round_trip,
                "seconds": share.seconds,
            }
            for share in self.shares
        ]

    @property
    def uses_workers(self) -> bool:
        """Return whether another machine has a layer."""
        return any(share.place.endpoint for share in self.shares)


def best_spread(
    header: GgufHeader, config: LoadConfig, machine: Machine, n_gpu_layers: int | None = None
) -> LayerSpread | None:
    """Return the fastest way of dealing out the layers; None where they do not fit.

    Args:
        header: the model's header.
        config: how it is loaded, without regard to devices.
        machine: this machine, with its workers.
        n_gpu_layers: the layers that are not on this machine's CPU, where the user decided.
    """
    table = layer_table(header, config)
    places = places_of(header, config, machine, table)
    pinned = None
    if n_gpu_layers is not None:
        pinned = table.count - min(n_gpu_layers, table.count)
    ends = _best_ends(table, places, pinned)
    if ends is None:
        return None
    starts = (0, *ends[:-1])
    shares = tuple(
        _share(table, place, start, end)
        for place, start, end in zip(places, starts, ends, strict=True)
        if end > start or place.number < 0
    )
    split = tuple(
        DeviceLayers(share.place.endpoint, share.place.number, share.layers)
        for share in shares
        if share.place.number >= 0
    )
    away = sum(device.layers for device in split)
    return LayerSpread(replace(config, n_gpu_layers=away, split=split), shares)


def places_of(
    header: GgufHeader, config: LoadConfig, machine: Machine, table: LayerTable
) -> list[Place]:
    """Return the devices in llama.cpp's order: the CPU here, workers, the GPUs here."""
    shape = shape_of(header)
    rates = rates_for(machine)
    read = weight_reads(header, replace(config, n_gpu_layers=0, split=())).ram_types
    alone = footprint(header, replace(config, n_gpu_layers=0, split=(), mtp=False))
    batch = largest_batch(config)
    buffers = gpu_buffer_sizes(shape, batch, "other", NOTHING_IN_RAM)
    taken = alone.output.host + alone.overhead.host + table.embeddings
    if machine.unified:  # what the GPU may take is a part of the RAM
        taken += machine.vram
    places = [
        Place(
            machine.cpu,
            "",
            -1,
            machine.available - taken,
            alone.compute.host,
            _cpu_rate(machine.rate or rates.ram, machine.type_rates, read),
            rates.ram_layer,
            idle=buffers.host,
        )
    ]
    work = cpu_work_bytes(header, config)
    places += [_worker_place(device, buffers.gpu, work, read) for device in machine.workers]
    for number, gpu in enumerate(machine.gpus):
        fixed = buffers.gpu + GPU_CONTEXT_BYTES[gpu.kind]
        kernels = GPU_EFFICIENCY[gpu.kind]
        rate = one_gpu_bandwidth(gpu, machine) * kernels.share
        places.append(Place(gpu.name, "", number, gpu.free, fixed, rate, kernels.layer))
    return places


def _cpu_rate(
    rate: float, type_rates: Iterable[tuple[GgmlType, float]], read: Sequence[TypeBytes]
) -> float:
    """Return the bytes a second at which a CPU reads a model's weights, the mean of its types."""
    known = tuple(TypeRate(*entry) for entry in type_rates)
    return Rates(0.0, rate, 0.0, ram_types=known).of_types(read)


def _worker_place(device: RemoteDevice, buffer: int, work: int, read: Sequence[TypeBytes]) -> Place:
    """Return a worker's device as a place.

    Args:
        device: the device.
        buffer: bytes of its buffer for intermediate results.
        work: bytes that a CPU takes on top while it computes.
        read: the weights that a token reads, by type.
    """
    is_cpu = device.kind == "cpu"
    kind: GpuKind = "other" if device.kind == "cpu" else device.kind
    layer = CPU_EFFICIENCY.layer if is_cpu else GPU_EFFICIENCY[kind].layer
    return Place(
        device.name,
        device.endpoint,
        device.number,
        device.free,
        buffer + (work if is_cpu else 0),
        _cpu_rate(device.rate or UNKNOWN_RATE, device.type_rates, read),
        layer,
        device.round_trip,
        receives=is_cpu,
    )


def _best_ends(table: LayerTable, places: list[Place], pinned: int | None) -> list[int] | None:
    """Return where the layers of each place end, or None if they do not fit.

    ``best[end]`` is the least time in which the places so far compute the layers before ``end``.
    """
    count = table.count
    best = [0.0] + [math.inf] * count
    choices: list[list[int]] = []
    for place in places:
        after = [math.inf] * (count + 1)
        chosen = [0] * (count + 1)
        for start in range(count + 1):
            if best[start] == math.inf:
                continue
            largest = 0
            for end in range(start, count + 1):
                largest = max(largest, table.largest[end - 1]) if end > start else 0
                if place.number < 0 and pinned is not None and end != pinned:
                    continue
                if not _fits(table, place, start, end, largest):
                    break
                seconds = best[start] + _seconds(table, place, start, end)
                if seconds < after[end]:
                    after[end], chosen[end] = seconds, start
        best = after
        choices.append(chosen)
    if best[count] == math.inf:
        return None
    ends = [count]
    for chosen in reversed(choices[1:]):
        ends.append(chosen[ends[-1]])
    return ends[::-1]


def _fits(table: LayerTable, place: Place, start: int, end: int, largest: int) -> bool:
    """Return whether layers fit a place, the largest tensor of which has ``largest`` bytes."""
    if end == start:
        return place.idle <= place.free * (1 - HEADROOM) or place.number >= 0
    weights = table.weights[end] - table.weights[start]
    kept = table.kv[end] - table.kv[start] + place.fixed
    arriving = largest if place.receives else 0
    return weights + max(kept, arriving) <= place.free * (1 - HEADROOM)


def _seconds(table: LayerTable, place: Place, start: int, end: int) -> float:
    """Return the seconds that a token takes for layers at a place."""
    if end == start:
        return 0.0
    nbytes = _read(table, start, end)
    besides = _layer_count(table, place, start, end).seconds
    return nbytes / place.rate + besides + place.round_trip


def _layer_count(table: LayerTable, place: Place, start: int, end: int) -> LayerCount:
    """Return the layers at a place, of which the output is none, by what they take."""
    return LayerCount(
        "CPU" if place.number < 0 or place.receives else "GPU",
        end - start - (1 if end == table.count and end > start else 0),
        table.routed[end] - table.routed[start],
        table.compressed[end] - table.compressed[start],
        place.layer,
    )


def _read(table: LayerTable, start: int, end: int) -> float:
    """Return the bytes that a token reads of layers and of their cache."""
    return table.read[end] - table.read[start] + FILLED * (table.kv[end] - table.kv[start])


def _share(table: LayerTable, place: Place, start: int, end: int) -> Share:
    is_here = place.number < 0
    return Share(
        place=place,
        first=start,
        layers=end - start,
        weights=table.weights[end] - table.weights[start] + (table.embeddings if is_here else 0),
        kv=table.kv[end] - table.kv[start],
        compute=place.fixed if end > start else place.idle,
        read=_read(table, start, end),
        count=_layer_count(table, place, start, end),
        seconds=_seconds(table, place, start, end),
    )
