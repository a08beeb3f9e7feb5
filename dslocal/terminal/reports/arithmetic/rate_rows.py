"""Where the rates of a machine come from: bytes a second of its GPUs, RAM and SSD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dslocal.plan.machine.bandwidth import SSD_BANDWIDTH, gpu_bandwidth, one_gpu_bandwidth
from dslocal.plan.machine.machine import Machine
from dslocal.plan.speed import (
    CORE_RATE,
    CPU_EFFICIENCY,
    GPU_EFFICIENCY,
    SMALL_READ,
    Rates,
    TypeBytes,
    used_ram_bandwidth,
)

from .figures import Row, gbs, mb, ms

REACHED = "that llama.cpp reaches"


def rate_rows(
    machine: Machine, rates: Rates, *, gpu: bool, ssd: bool, ram: Sequence[TypeBytes] = ()
) -> Iterator[Row]:
    """Yield where the rates of a machine come from.

    Args:
        machine: the machine.
        rates: its rates.
        gpu: whether anything is read on the GPU.
        ssd: whether anything is read from the SSD.
        ram: the weights that are read in RAM.
    """
    if gpu:
        yield from _gpu_rate_rows(machine, rates)
    if rates.ram_types and ram:
        yield from _type_rows(rates, ram)
    else:
        yield "RAM:", _ram_rate(machine, rates)
    if ssd:
        yield "SSD:", _ssd_rate(rates)


def device_rate_rows(machine: Machine, rates: Rates) -> Iterator[Row]:
    """Yield the rates of a machine's RAM, and of each GPU that is not like one before."""
    yield "RAM:", _ram_rate(machine, rates)
    for gpu in dict.fromkeys(machine.gpus):
        bandwidth, share = one_gpu_bandwidth(gpu, machine), GPU_EFFICIENCY[gpu.kind].share
        reached = gbs(bandwidth * share)
        yield "GPU:", f"{gbs(bandwidth)} × {share:g} {REACHED} = {reached}"


def _gpu_rate_rows(machine: Machine, rates: Rates) -> Iterator[Row]:
    bandwidth, kernels = gpu_bandwidth(machine), GPU_EFFICIENCY[machine.gpus[0].kind]
    if rates.gpu != bandwidth * kernels.share:
        yield "GPU:", f"{gbs(rates.gpu)}, measured here"
        return
    each = [(gpu, one_gpu_bandwidth(gpu, machine)) for gpu in machine.gpus]
    if len({rate for _, rate in each}) > 1:
        free = " + ".join(mb(gpu.free) for gpu, _ in each)
        times = " + ".join(f"{mb(gpu.free)} / {gbs(rate)}" for gpu, rate in each)
        yield "GPUs:", f"one after the other, ({free}) / ({times}) = {gbs(bandwidth)}"
    share = f"{kernels.share:g} {REACHED}"
    yield "GPU:", f"{gbs(bandwidth)} × {share} = {gbs(rates.gpu)}"


def _type_rows(rates: Rates, read: Sequence[TypeBytes]) -> Iterator[Row]:
    """Yield what weights of each type take, and the rate of them all."""
    if len(read) > 1:
        for part in read:
            rate = rates.of_types([part])
            took = f"{mb(part.nbytes)} / {gbs(rate)} = {ms(part.nbytes / rate)}"
            yield f"{part.type.name}:", took
        sizes = " + ".join(mb(part.nbytes) for part in read)
        times = " + ".join(ms(part.nbytes / rates.of_types([part])) for part in read)
        yield "RAM:", f"({sizes}) / ({times}) = {gbs(rates.of_types(read))}, measured here"
    else:
        yield "RAM:", f"{gbs(rates.of_types(read))}, measured here"


def _ram_rate(machine: Machine, rates: Rates) -> str:
    bandwidth, share = used_ram_bandwidth(machine), CPU_EFFICIENCY.share
    by_cores = machine.cores * CORE_RATE
    if rates.ram != min(bandwidth * share, by_cores):
        return f"{gbs(rates.ram)}, measured here"
    if bandwidth * share <= by_cores:
        return f"{gbs(bandwidth)} × {share:g} {REACHED} = {gbs(rates.ram)}"
    return (
        f"{machine.cores} cores × {gbs(CORE_RATE)} = {gbs(by_cores)}, which is less than"
        f" {share:g} of the memory's {gbs(bandwidth)}"
    )


def _ssd_rate(rates: Rates) -> str:
    if rates.ssd == SSD_BANDWIDTH:
        return f"{gbs(rates.ssd)}, assumed"
    if rates.ssd == SSD_BANDWIDTH * SMALL_READ:
        read = f"{gbs(SSD_BANDWIDTH)} × {SMALL_READ:g} of it in small pieces"
        return f"{read} = {gbs(rates.ssd)}, assumed"
    return f"{gbs(rates.ssd)}, measured here"
