"""Probe memory and CPUs on Linux, within the limits of this process's cgroups."""

from __future__ import annotations

from dslocal.files import binary_size

from . import cgroups
from .host import Host, checked_ram, clean_name, parse_number
from .system import System

# Names of the CPU in /proc/cpuinfo: x86, Raspberry Pi and others, MIPS, older ARM, POWER.
CPU_NAMES = ("model name", "Model", "cpu model", "Hardware", "cpu")
DEVICE_TREE = "/proc/device-tree/model"
WSL_NOTE = "WSL has the memory that .wslconfig gives it, by default half of the machine's"


def probe_host(system: System) -> Host:
    """Return what Linux says, with the limits of cgroups applied."""
    ram, notes = checked_ram(system)
    memory = cgroups.memory_limits(system)
    total, available = ram
    limited_by = ""
    if memory.limit is not None and (memory.limit < total or not total):
        total = memory.limit
    if memory.room is not None and (memory.room < available or not ram.total):
        available = memory.room
        limited_by = f"a cgroup's limit of {binary_size(memory.limit or 0)}"
    if total:
        notes = ()
    return Host(
        os="linux",
        cpu=_cpu_name(system),
        cores=usable_cores(system),
        ram=total,
        available=available,
        limited_by=limited_by,
        notes=(*notes, *memory.notes, *_throttle_notes(memory, available), *_wsl_notes(system)),
    )


def usable_cores(system: System) -> int:
    """Return the number of CPUs that this process may run on, and that its quota pays for."""
    cores = max(1, system.cores() or 1)
    quota = cgroups.cpu_quota(system)
    return cores if quota is None else max(1, min(cores, int(quota)))


def _cpu_name(system: System) -> str:
    lines = [line.partition(":") for line in (system.read("/proc/cpuinfo") or "").splitlines()]
    for wanted in CPU_NAMES:
        for name, _, value in lines:
            if name.strip() == wanted and value.strip() and not parse_number(value):
                return clean_name(value)
    return clean_name(system.read(DEVICE_TREE) or system.processor)


def _throttle_notes(memory: cgroups.CgroupMemory, available: int) -> list[str]:
    if memory.throttle is None or memory.throttle >= available:
        return []
    room = binary_size(memory.throttle)
    return [f"over {room} more, the cgroup's memory.high slows this process down"]


def _wsl_notes(system: System) -> list[str]:
    release = system.read("/proc/sys/kernel/osrelease") or ""
    return [WSL_NOTE] if "microsoft" in release.lower() else []
