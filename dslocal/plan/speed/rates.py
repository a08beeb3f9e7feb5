"""A machine's rates: the bytes per second that decoding reads from GPU, RAM and SSD.

Rates of RAM are measured on this machine, by :mod:`dslocal.engine.measuring.calibrate`, for each
type of weights; for another machine, or a GPU, they are the memory's bandwidth times the share of
it that llama.cpp reaches. A layer takes a little time besides, which counts where the memory is
fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import GpuKind
from dslocal.plan.machine.bandwidth import (
    SSD_BANDWIDTH,
    assumed_bandwidth,
    gpu_bandwidth,
    ram_bandwidth,
)
from dslocal.plan.machine.machine import Machine

OTHER_RAM = 51.2e9  # bytes a second, where nothing is known: two channels of DDR4
CORE_RATE = 10e9  # bytes a second that one core reads while decoding (engine/measuring/ram_rate.py)
SMALL_READ = 0.7  # of its sequential speed that an SSD reaches on an expert's few megabytes


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Seconds that a layer takes besides reading its weights, for one token.

    Attributes:
        dense: any layer.
        routed: a layer with routed experts, in addition.
        compressed: a layer of V4, in addition: its hyper-connections, compressors and indexer are
            many small operations.
        streamed: a layer whose experts are read ahead, in addition: the graph pauses for the
            router's choice and before each matrix.
    """

    dense: float = 0.0
    routed: float = 0.0
    compressed: float = 0.0
    streamed: float = 0.0


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
# Pauses of layers whose experts are read ahead were measured on one machine, with two cores: those
# of 18 layers took 18 ms a token from the thread that evaluates, while four threads read: 9 ms
# after choices, 7 ms until it ran again after a wait, and 2 ms at the graph's other nodes.
CPU_EFFICIENCY = Efficiency(0.65, LayerTime(50e-6, 500e-6, streamed=1e-3))
NO_LAYER_TIME = LayerTime()


class TypeBytes(NamedTuple):
    """Bytes of weights of a type."""

    type: GgmlType
    nbytes: float


class TypeRate(NamedTuple):
    """Bytes a second of weights of a type: cores need longer to unpack some than others."""

    type: GgmlType
    rate: float


@dataclass(frozen=True)
class Rates:
    """Bytes a second that decoding reads from each tier, and what its layers take besides.

    Attributes:
        gpu: from the GPU's memory; 0 without one.
        ram: from RAM, of weights of a type that ``ram_types`` does not have.
        ssd: from the SSD.
        gpu_layer: what a layer on the GPU takes besides.
        ram_layer: what a layer on the CPU takes besides.
        ram_types: from RAM, of weights of a type.
        ssd_requests: how many pieces are read from the SSD at the same time.
    """

    gpu: float
    ram: float
    ssd: float
    gpu_layer: LayerTime = NO_LAYER_TIME
    ram_layer: LayerTime = NO_LAYER_TIME
    ram_types: tuple[TypeRate, ...] = ()
    ssd_requests: int = 1

    def of_types(self, read: Iterable[TypeBytes]) -> float:
        """Return the bytes a second at which weights of several types are read from RAM.

        Args:
            read: the bytes of each.
        """
        rates = dict(self.ram_types)
        nbytes = seconds = 0.0
        for part in read:
            nbytes += part.nbytes
            seconds += part.nbytes / rates.get(part.type, self.ram)
        return nbytes / seconds if seconds else self.ram


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
        return replace(measured, gpu=gpu, gpu_layer=gpu_layer)
    bandwidth = used_ram_bandwidth(machine)
    ram = min(bandwidth * CPU_EFFICIENCY.share, machine.cores * CORE_RATE)
    return Rates(gpu, ram, SSD_BANDWIDTH, gpu_layer, CPU_EFFICIENCY.layer)


def used_ram_bandwidth(machine: Machine) -> float:
    """Return the bytes a second of the RAM that a forecast takes where nothing was measured."""
    return ram_bandwidth(machine) or assumed_bandwidth(machine) or OTHER_RAM
