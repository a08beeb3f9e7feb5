"""What Linux says of its memory and CPUs, and the cgroups, v1 and v2, that this process may not
leave.
"""

from __future__ import annotations

import re

from dslocal.files import binary_size

from . import cgroups
from .host import Host, clean_name, parse_number, ram_of_os_call
from .system import Ram, System

MEMINFO = re.compile(r"^([\w()]+):\s+([0-9]{1,15}) kB$", re.MULTILINE)
CPU_NAMES = (
    "model name",
    "Model",
    "cpu model",
    "Hardware",
    "cpu",
)  # x86, Raspberry Pi and others, MIPS, older ARM, POWER
DEVICE_TREE = "/proc/device-tree/model"


def probe_host(runner: System) -> Host:
    ram, notes = _ram(runner)
    memory = cgroups.memory_limits(runner)
    total, available, limited_by = ram.total, ram.available, ""
    if memory.limit is not None and (memory.limit < total or not total):
        total = memory.limit
    if memory.room is not None and (memory.room < available or not ram.total):
        available, limited_by = memory.room, f"a cgroup's limit of {binary_size(memory.limit or 0)}"
    throttle = memory.throttle is not None and memory.throttle < available
    return Host(
        os="linux",
        cpu=_cpu(runner),
        cores=usable_cores(runner),
        ram=total,
        available=available,
        limited_by=limited_by,
        notes=(
            *(notes if not total else ()),
            *memory.notes,
            *(
                (
                    f"over {binary_size(memory.throttle or 0)} more, the cgroup's memory.high slows this process down",
                )
                if throttle
                else ()
            ),
            *_wsl(runner),
        ),
    )


def _ram(runner: System) -> tuple[Ram, tuple[str, ...]]:
    said = {
        name: int(kib) << 10 for name, kib in MEMINFO.findall(runner.read("/proc/meminfo") or "")
    }
    total = said.get("MemTotal", 0)
    if not total:
        return ram_of_os_call(runner)
    # kernels before 3.14 have no MemAvailable
    available = said.get("MemAvailable", said.get("MemFree", 0) + said.get("Inactive(file)", 0))
    return Ram(total, min(available, total)), ()


def _cpu(runner: System) -> str:
    lines = [line.partition(":") for line in (runner.read("/proc/cpuinfo") or "").splitlines()]
    for wanted in CPU_NAMES:
        for name, _, value in lines:
            if name.strip() == wanted and value.strip() and not parse_number(value):
                return clean_name(value)
    return clean_name(runner.read(DEVICE_TREE) or runner.processor)


def usable_cores(runner: System) -> int:
    """CPUs that this process may run on, and that its quota pays for."""
    cores = max(1, runner.cores() or 1)
    quota = cgroups.cpu_quota(runner)
    return cores if quota is None else max(1, min(cores, int(quota)))


def _wsl(runner: System) -> list[str]:
    release = runner.read("/proc/sys/kernel/osrelease") or ""
    return (
        ["WSL has the memory that .wslconfig gives it, by default half of the machine's"]
        if "microsoft" in release.lower()
        else []
    )
