"""This machine, or another that is only described, as a :class:`Machine`: RAM, cores, and GPUs as
ggml sees them.

What each OS says of itself is for ``probe_linux`` and ``probe_macos``; here it is put together.
Whatever cannot be read becomes a note and a number on the careful side, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from dslocal.errors import EngineMissingError
from dslocal.files import binary_size
from dslocal.gguf.libraries import GPU, INTEGRATED_GPU, Device

from . import probe_linux, probe_macos
from .bandwidth import assumed_apple_chip
from .host import Host, clean_name, ram_of_os_call
from .machine import Gpu, Machine, Os
from .system import LocalSystem, System

CUDA, METAL = (
    re.compile("CUDA"),
    re.compile("MTL|Metal", re.IGNORECASE),
)  # how ggml names their devices
OF_THE_SYSTEM: dict[Os, int] = {
    "linux": 1 << 30,
    "macos": 3 << 30,
    "windows": 4 << 30,
}  # bytes that an idle system keeps


def probe_machine(runner: System | None = None) -> Machine:
    """The machine that this process runs on, with the limits that it runs under."""
    runner = runner or LocalSystem()
    host = _host(runner)
    gpus, unified, notes = _gpus(runner, host)
    return Machine(
        os=host.os,
        cpu=host.cpu,
        cores=host.cores,
        ram=host.ram,
        available=host.available,
        gpus=gpus,
        unified=unified,
        limited_by=host.limited_by,
        notes=(*host.notes, *notes),
    )


def usable_cores() -> int:
    """Return the CPU cores that this process may use.

    On Linux those that a cgroup's quota pays for: threads beyond them only wait for each other.
    """
    here = LocalSystem()
    return probe_linux.usable_cores(here) if here.platform == "linux" else here.cores() or 1


def describe_machine(
    ram: int, *, vram: int | None = None, os: Os = "linux", cores: int | None = None
) -> Machine:
    """A machine that is not here, with nothing else running on it.

    ``vram`` is what a GPU has, on macOS what it may take of the RAM; None is macOS's own share,
    elsewhere no GPU.
    """
    available = ram - min(OF_THE_SYSTEM[os], ram // 4)
    notes = [f"described, not probed: {binary_size(ram - available)} of RAM are left to the system"]
    if os == "macos":
        chip, rate = assumed_apple_chip(ram)
        notes.append(f"{chip} is assumed, whose memory gives {rate / 1e9:.0f} GB/s")
        budget = probe_macos.metal_budget(ram) if vram is None else min(vram, ram)
        if vram is None:
            notes.append(probe_macos.RULE_NOTE)
    else:
        budget = vram or 0
        if vram is None:
            notes.append("no GPU is assumed")
    gpu = (
        Gpu("Metal", "metal", budget, budget)
        if os == "macos"
        else Gpu("GPU", "cuda", budget, budget)
    )
    return Machine(
        os=os,
        cpu="described",
        cores=cores or 8,
        ram=ram,
        available=available,
        gpus=(gpu,) if budget else (),
        unified=os == "macos",
        notes=tuple(notes),
    )


def _host(runner: System) -> Host:
    if runner.platform == "darwin":
        return probe_macos.probe_host(runner)
    if runner.platform == "win32":
        return _windows(runner)
    return probe_linux.probe_host(runner)


def _windows(runner: System) -> Host:
    ram, notes = ram_of_os_call(runner)
    return Host(
        "windows",
        clean_name(runner.processor),
        runner.cores() or 1,
        ram.total,
        ram.available,
        notes=notes,
    )


def _gpus(runner: System, host: Host) -> tuple[tuple[Gpu, ...], bool, list[str]]:
    """The GPUs that llama.cpp would use, whether they share the RAM, and what is to be said of
    them.
    """
    try:
        found = runner.devices()
    except EngineMissingError as e:
        notes = [f"GPUs are not known: {e}"]
        return (
            ((host.gpu,), host.unified, [*notes, probe_macos.RULE_NOTE])
            if host.gpu
            else ((), host.unified, notes)
        )
    known, notes = _with_memory(
        [device for device in found if device.kind in (GPU, INTEGRATED_GPU)]
    )
    used = _once([device for device in known if device.kind == GPU] or known)
    if host.gpu and not used and not notes:
        notes.append("llama-cpp-python is built without Metal: CPU only")
    gpus = tuple(
        Gpu(
            clean_name(device.description or device.name),
            _kind(device),
            device.total,
            _free(device),
        )
        for device in used
    )
    notes += [f"{gpu.name}: no memory is free" for gpu in gpus if not gpu.free]
    return gpus, host.unified or any(device.kind == INTEGRATED_GPU for device in used), notes


def _with_memory(devices: Sequence[Device]) -> tuple[list[Device], list[str]]:
    """Devices that say what memory they have, and a note for each that does not."""
    silent = [device for device in devices if device.total <= 0]
    notes = [
        f"{clean_name(device.description or device.name)}: reports no memory and is left out"
        for device in silent
    ]
    return [device for device in devices if device.total > 0], notes


def _once(devices: Sequence[Device]) -> list[Device]:
    """Without a GPU's second appearance, through another backend: a build with CUDA and Vulkan
    lists each twice.
    """
    backend: dict[str, str] = {}
    return [
        device
        for device in devices
        if backend.setdefault(device.description, device.name.rstrip("0123456789")) in device.name
    ]


def _kind(device: Device) -> Literal["cuda", "metal", "other"]:
    return "cuda" if CUDA.match(device.name) else "metal" if METAL.match(device.name) else "other"


def _free(device: Device) -> int:
    return max(0, min(device.free, device.total))
