"""Probe memory on macOS with sysctl and vm_stat. Tested on recorded outputs, not on a Mac.

The GPU's budget is Metal's recommendedMaxWorkingSetSize, which ggml reports, limits raised by the
user included. The rule in :func:`metal_budget` is only for where no device can be asked. psutil
does not say what is needed here: performance cores, the wired limit, memory pressure, and pages of
files that can be dropped.
"""

from __future__ import annotations

import re

from dslocal.files import binary_size

from .host import Host, checked_ram, clean_name, parse_number
from .machine import Gpu
from .system import Ram, System

SYSCTL, VM_STAT = "/usr/sbin/sysctl", "/usr/bin/vm_stat"
NAMES = (
    "hw.memsize",
    "hw.perflevel0.physicalcpu",
    "hw.physicalcpu",
    "machdep.cpu.brand_string",
    "kern.osproductversion",
    "iogpu.wired_limit_mb",
    "kern.memorystatus_vm_pressure_level",
    "vm.swapusage",
)
PRESSURE = {"2": "is under pressure", "4": "is critically short"}
MUCH_SWAP = 1 << 30  # bytes
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}  # bits to shift by
VM_STAT_ROW = re.compile(r'^"?([\w -]+)"?:\s+([0-9]{1,15})\.\s*$', re.MULTILINE)
RULE_NOTE = (
    "the GPU's share of the RAM is macOS 15's default; macOS 26 gives more,"
    " and iogpu.wired_limit_mb raises it"
)
NO_VM_STAT_NOTE = "vm_stat does not report how much memory is free; half is assumed"


def probe_host(system: System) -> Host:
    """Return what macOS says."""
    values = _sysctl(system)
    cpu = clean_name(values.get("machdep.cpu.brand_string", "") or system.processor)
    unified = cpu.startswith("Apple")
    ram, notes = _ram(system, values)
    wired = (parse_number(values.get("iogpu.wired_limit_mb"), 1 << 36) or 0) << 20
    budget = min(wired or metal_budget(ram.total), ram.total)
    return Host(
        os="macos",
        cpu=cpu,
        cores=_cores(system, values),
        ram=ram.total,
        available=ram.available,
        unified=unified,
        gpu=Gpu(cpu, "metal", budget, budget) if unified and budget else None,
        notes=(*notes, *_notes(values, wired)),
    )


def metal_budget(ram: int) -> int:
    """Return the bytes of ``ram`` that Metal recommends to stay under by default, up to macOS 15.

    Logs of llama.cpp: 5,726.63 MB of 8 GiB, 11,453.25 of 16, 22,906.50 of 32, which is 2/3;
    28,991.03 of 36, 51,539.61 of 64, 103,079.22 of 128, which is 3/4. macOS 26: 12,713.12 of 16,
    30,150.67 of 36, 55,662.79 of 64, 115,448.73 of 128.
    """
    return ram * 3 // 4 if ram >= 36 << 30 else ram * 2 // 3


def _sysctl(system: System) -> dict[str, str]:
    """Return the values of ``NAMES``. Unknown ones, as of another version, are missing."""
    lines = (system.run([SYSCTL, *NAMES]) or "").splitlines()
    rows = [line.partition(":") for line in lines]
    return {name: value.strip() for name, _, value in rows if name in NAMES}


def _ram(system: System, values: dict[str, str]) -> tuple[Ram, tuple[str, ...]]:
    total = parse_number(values.get("hw.memsize"))
    if not total:
        fallback, notes = checked_ram(system)
        total = fallback.total
        if not total:
            return fallback, notes
    available = _available(system.run([VM_STAT]) or "")
    if available is None:
        return Ram(total, total // 2), (NO_VM_STAT_NOTE,)
    return Ram(total, min(available, total)), ()


def _available(text: str) -> int | None:
    """Return the bytes that can be had without swapping; None where ``text`` does not say.

    These are free, inactive, speculative and purgeable pages, and files that are cached besides.
    Active pages are not counted by kind. But pages of files are active, inactive or
    speculative, so that where there are more of them than of the latter two, the rest is active,
    and can be dropped as well: a model that was mapped lately, above all.
    """
    page = re.search(r"page size of ([0-9]{4,6}) bytes", text)
    pages = {name: int(count) for name, count in VM_STAT_ROW.findall(text)}
    if not page or "Pages free" not in pages:
        return None
    idle = pages.get("Pages inactive", 0) + pages.get("Pages speculative", 0)
    cached = max(0, pages.get("File-backed pages", 0) - idle)
    free = pages["Pages free"] + pages.get("Pages purgeable", 0)
    return (free + idle + cached) * int(page[1])


def _cores(system: System, values: dict[str, str]) -> int:
    """Return the number of performance cores: with the others llama.cpp is slower."""
    for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
        if cores := parse_number(values.get(name), 1 << 16):
            return cores
    return system.cores() or 1


def _notes(values: dict[str, str], wired: int) -> list[str]:
    notes = []
    if wired:
        notes.append(f"iogpu.wired_limit_mb lets the GPU take {binary_size(wired)}")
    if word := PRESSURE.get(values.get("kern.memorystatus_vm_pressure_level", "")):
        notes.append(f"memory {word}; closing programs would help")
    if (swapped := _swapped(values.get("vm.swapusage", ""))) >= MUCH_SWAP:
        notes.append(f"{binary_size(swapped)} are swapped out")
    return notes


def _swapped(text: str) -> int:
    """Return the bytes that are swapped out.

    They are in ``total = 2048.00M  used = 1017.50M  free = 1030.50M``, in some languages with a
    comma.
    """
    used = re.search(r"used = ([0-9]{1,12})[.,]?[0-9]*([KMGT])", text)
    return int(used[1]) << UNITS[used[2]] if used else 0
