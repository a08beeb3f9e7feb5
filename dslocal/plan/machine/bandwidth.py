"""How fast the memory of a machine can be read, by the names of its parts.

Numbers of data sheets (:mod:`.hardware`), not what is reached.
"""

from __future__ import annotations

from dslocal.plan.load_config import GpuKind

from .hardware import GB, find_chip, find_gpu, typical_of
from .machine import Gpu, Machine

# Bytes a second that are assumed of an SSD, in one go: NVMe ones read 3 to 7 GB/s, a SATA one 0.5.
SSD_BANDWIDTH = 3 * GB
SSD_NOTE = "an SSD that reads 3 GB/s is assumed"

# Bytes a second of a GPU that the table does not have: what the slower ones in use give.
UNKNOWN_GPU_BANDWIDTH: dict[GpuKind, int] = {
    "metal": 100 * GB,
    "cuda": 250 * GB,
    "other": 100 * GB,
}


def ram_bandwidth(machine: Machine) -> float | None:
    """Return the bytes per second of the RAM, where it was described or the chip's name says it.

    The name of a CPU says it only where the RAM is part of the chip; elsewhere it has to be
    measured.
    """
    if machine.bandwidth:
        return machine.bandwidth
    chip = find_chip(machine.cpu, ram=machine.ram, cores=machine.cores)
    return chip.bandwidth if chip else None


def assumed_bandwidth(machine: Machine) -> float | None:
    """Return the bytes per second of a Mac whose chip is not named; None for all others."""
    if machine.os != "macos" or not machine.unified:
        return None
    return typical_of("chips", machine.ram).bandwidth


def gpu_bandwidth(machine: Machine) -> float:
    """Return the bytes per second at which the GPUs are read one after the other.

    Layers are spread by free memory, and a token passes through one GPU after the other. A guess
    for those that are not in the table; 0 without a GPU.
    """
    if not machine.gpus:
        return 0.0
    rates = [one_gpu_bandwidth(gpu, machine) for gpu in machine.gpus]
    if len(set(rates)) == 1:
        return rates[0]
    weights = [max(gpu.free, 1) for gpu in machine.gpus]
    seconds = sum(weight / rate for weight, rate in zip(weights, rates, strict=True))
    return sum(weights) / seconds


def one_gpu_bandwidth(gpu: Gpu, machine: Machine) -> float:
    """Return the bytes per second of one GPU of a machine."""
    if gpu.bandwidth:
        return gpu.bandwidth
    shared = ram_bandwidth(machine) or assumed_bandwidth(machine) if machine.unified else None
    return shared or known_gpu_bandwidth(gpu) or UNKNOWN_GPU_BANDWIDTH[gpu.kind]


def known_gpu_bandwidth(gpu: Gpu) -> float | None:
    """Return the bytes per second of a GPU with memory of its own; None for an unknown name."""
    card = find_gpu(gpu.name, memory=gpu.total)
    return card.bandwidth if card else None
