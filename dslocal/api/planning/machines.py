"""The machine of a plan and its rates: this machine, probed and measured, or one that options
describe.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from dslocal.api.arguments.sizes import size_in_bytes
from dslocal.errors import UsageError
from dslocal.files import binary_size
from dslocal.plan.machine import probe
from dslocal.plan.machine.described import (
    MAX_GPUS,
    NO_PARTS,
    Parts,
    describe_machine,
    described_gpus,
    name_notes,
    named_chip,
    named_cpu,
    named_gpus,
)
from dslocal.plan.machine.hardware import GB, Card, Chip
from dslocal.plan.machine.machine import Gpu, Machine, Os
from dslocal.plan.speed import Rates, rates_for

OSES = ("linux", "macos", "windows")
LEAST_RAM = 64 << 20
PLATFORMS = {"darwin": "macos", "win32": "windows"}
MAX_BANDWIDTH = 100_000 * GB
_BANDWIDTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(?:([GT])B?(?:/s)?)?", re.IGNORECASE)


@dataclass(frozen=True)
class MachineOptions:
    """The description of a machine, as the user wrote it.

    Attributes:
        ram: its RAM, such as "128GiB".
        vram: the memory of its GPUs: each text is one size, or several separated by commas.
        os: "linux", "macos" or "windows".
        gpu: its GPUs by name, such as "RTX 4090".
        cpu: its CPU by name, such as "EPYC 9554".
        chip: a chip whose CPU and GPU share the RAM, such as "M4 Max".
        bandwidth: GB/s of the GPUs' memory, or of the RAM without a GPU that has its own.
    """

    ram: str | None = None
    vram: Sequence[str] = ()
    os: str | None = None
    gpu: Sequence[str] = ()
    cpu: str | None = None
    chip: str | None = None
    bandwidth: str | None = None

    @property
    def is_other(self) -> bool:
        """Return whether another machine than this one is described, or this one changed."""
        return self != THIS_MACHINE


THIS_MACHINE = MachineOptions()


def machine_and_rates(options: MachineOptions = THIS_MACHINE) -> tuple[Machine, Rates]:
    """Return the machine that options describe, and its rates.

    Options without RAM, CPU and OS describe this machine with other GPUs.

    Raises:
        UsageError: the options do not describe a possible machine.
    """
    os = None if options.os is None else options.os.lower()
    if os is not None and os not in OSES:
        raise UsageError(f"--os: {options.os!r:.20} is not known", hint=", ".join(OSES))
    sizes = _gpu_sizes(options.vram)
    ram = None if options.ram is None else _memory(options.ram, "--ram", least=LEAST_RAM)
    chip = None if options.chip is None else named_chip(options.chip, ram or 0)
    parts = Parts(
        gpus=_named_gpus(options.gpu),
        cpu=None if options.cpu is None else named_cpu(options.cpu),
        chip=chip,
        bandwidth=None if options.bandwidth is None else _bandwidth(options.bandwidth),
    )
    says_more = ram is not None or os is not None or parts.cpu is not None or chip is not None
    if not says_more and (parts.gpus or sizes or parts == NO_PARTS):
        machine, rates = _with_gpus_here(sizes, parts)
        return _with_name_notes(machine, options, parts), rates
    system = cast(Os, os or PLATFORMS.get(sys.platform, "linux"))
    if chip is not None:
        system = _os_of(chip, os, system)
    if ram is None:
        ram = _ram_of(chip) if chip else probe.probe_machine().ram
    machine = describe_machine(ram, vram=sizes, os=system, parts=parts)
    return _with_name_notes(machine, options, parts), rates_for(machine)


def _with_name_notes(machine: Machine, options: MachineOptions, parts: Parts) -> Machine:
    """Return ``machine`` with notes on the words of names that were not understood."""
    notes = name_notes(options.gpu, options.chip, parts)
    return replace(machine, notes=(*machine.notes, *notes)) if notes else machine


def with_workers(machine: Machine, rates: Rates, workers: Sequence[str]) -> Machine:
    """Return ``machine`` with the workers that are named, each asked now.

    Args:
        machine: the machine.
        rates: its rates.
        workers: each as ``HOST:PORT``.

    Raises:
        UsageError: llama.cpp's RPC library is missing.
        WorkerError: a worker cannot be reached, or runs another llama.cpp.
    """
    if not workers:
        return machine
    from dslocal.rpc.connection import ask_workers
    from dslocal.rpc.endpoint import parse_endpoints

    asked = ask_workers(parse_endpoints(",".join(workers)))
    return replace(machine, workers=asked, rate=rates.ram, type_rates=rates.ram_types)


def with_ssd_of(
    file: Path, machine: Machine, rates: Rates, *, stream_experts: bool = False
) -> Rates:
    """Return ``rates`` with what the disk that holds ``file`` gives now, measured with the file.

    Args:
        file: a model's file, or its first.
        machine: this machine.
        rates: its rates.
        stream_experts: whether many experts are read at a time, not page by page.
    """
    if stream_experts:
        from dslocal.engine.streaming.opening import disk_way

        way = disk_way(file, machine.cores)
        return replace(rates, ssd=way.rate, ssd_requests=way.threads) if way and way.rate else rates
    from dslocal.engine.measuring import calibrate

    return replace(rates, ssd=calibrate.measure_ssd_rate(file, machine.cores) or rates.ssd)


def _with_gpus_here(sizes: Sequence[int] | None, parts: Parts) -> tuple[Machine, Rates]:
    """Return this machine, with other GPUs where some are described."""
    from dslocal.engine.measuring import calibrate

    machine = probe.probe_machine()
    measured = calibrate.measured_rates(machine)
    if sizes is not None or parts.gpus:
        machine = _with_gpus(machine, sizes, parts)
    return machine, rates_for(machine, measured)


def _with_gpus(machine: Machine, sizes: Sequence[int] | None, parts: Parts) -> Machine:
    """Return ``machine`` with other GPUs, or with more or less memory on those that it has."""
    if parts.gpus or parts.bandwidth or (not machine.gpus and sizes):
        if machine.unified:
            raise UsageError(
                "--gpu: the GPU of this machine shares its RAM; --ram describes another machine"
            )
        gpus, notes = described_gpus(sizes, parts)
        return replace(machine, gpus=tuple(gpus), notes=(*machine.notes, *notes))
    sizes = [min(size, machine.ram) if machine.unified else size for size in sizes or ()]
    taken = [
        _of_size(machine.gpus[min(number, len(machine.gpus) - 1)], size)
        for number, size in enumerate(sizes)
        if size
    ]
    planned = " and ".join(map(binary_size, sizes))
    note = f"--vram: only {planned} of GPU memory can be used for the plan"
    return replace(machine, gpus=tuple(taken), notes=(*machine.notes, note))


def _of_size(gpu: Gpu, size: int) -> Gpu:
    return replace(gpu, total=max(gpu.total, size), free=size)


def _os_of(chip: Chip, os: str | None, default: Os) -> Os:
    """Return the operating system of a machine with a chip. Raises UsageError for another one."""
    is_mac = chip.kind == "metal"
    if os is not None and (os == "macos") != is_mac:
        raise UsageError(f"--os {os}: {chip.name} does not run that system")
    if is_mac:
        return "macos"
    return default if default != "macos" else "linux"


def _ram_of(chip: Chip) -> int:
    """Return the RAM of a chip that is sold with one size. Raises UsageError for any other."""
    if len(chip.memory) > 1:
        sold = ", ".join(map(str, chip.memory))
        raise UsageError(f"--chip: {chip.name} is sold with {sold} GiB of memory", hint="--ram")
    return chip.memory[0] << 30


def _named_gpus(texts: Sequence[str]) -> tuple[Card, ...]:
    """Return the GPUs that all texts name together. Raises UsageError where they are too many."""
    cards = tuple(card for text in texts for card in named_gpus(text))
    if len(cards) > MAX_GPUS:
        raise UsageError(f"--gpu: {len(cards)} GPUs; {MAX_GPUS} at the most")
    return cards


def _gpu_sizes(texts: Sequence[str]) -> list[int] | None:
    """Return the memory of each GPU; None where nothing is said of it.

    "24GiB,24GiB" and "2x24GiB" are two of one size.
    """
    if not texts:
        return None
    sizes: list[int] = []
    for text in ",".join(texts).split(","):
        many = re.fullmatch(r"\s*(\d{1,3})\s*[x×]\s*(\S.*)", text)
        count = int(many[1]) if many else 1
        sizes += [_memory(many[2] if many else text, "--vram", least=0)] * count
    if len(sizes) > MAX_GPUS:
        raise UsageError(f"--vram: {len(sizes)} GPUs; {MAX_GPUS} at the most")
    return sizes


def _bandwidth(text: str) -> float:
    """Return bytes a second of a text such as "936", "936GB/s" or "1.8TB/s". Raises UsageError."""
    found = _BANDWIDTH.fullmatch(text.strip())
    rate = float(found[1]) * GB if found else 0.0
    if found and (found[2] or "").upper() == "T":
        rate *= 1000
    if not GB <= rate <= MAX_BANDWIDTH:
        raise UsageError(
            f"--bandwidth: {text!r:.40} is not a bandwidth", hint="in GB/s, such as 936"
        )
    return rate


def _memory(text: str, option: str, *, least: int) -> int:
    """Return the bytes of a size of memory, which is sold in binary units: 16GB is 16 GiB. Raises
    UsageError that names ``option``.
    """
    try:
        return size_in_bytes(re.sub(r"(?i)(?<=[kmgt])b?\s*$", "iB", text), least=least)
    except UsageError as e:
        hint = (
            f"for example 16GB, which is read as 16 GiB; at least {binary_size(least)}"
            if least
            else "for example 8GB, which is read as 8 GiB; 0 for none"
        )
        raise UsageError(f"{option}: {text!r:.40} is not a size of memory", hint=hint) from e
