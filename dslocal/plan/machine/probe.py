"""This machine as a :class:`Machine`; :mod:`.described` makes one of another.

What each OS says of itself is for ``probe_linux`` and ``probe_macos``; here it is put together with
the GPUs that ggml sees. Whatever cannot be read becomes a note and a cautious number, never an
error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from dslocal.errors import EngineMissingError
from dslocal.gguf.libraries import GPU, INTEGRATED_GPU, Device
from dslocal.plan.load_config import GpuKind

from . import probe_linux, probe_macos
from .host import Host, checked_ram, clean_name
from .machine import Gpu, Machine
from .system import LocalSystem, System
from .unused_gpu import unused_gpu_note

# How ggml names devices.
CUDA = re.compile("CUDA")
METAL = re.compile("MTL|Metal", re.IGNORECASE)


def probe_machine(system: System | None = None) -> Machine:
    """Return the machine that this process runs on, with the limits that it runs under.

    Args:
        system: a machine to ask instead of this one.
    """
    system = system or LocalSystem()
    host = _probe_host(system)
    try:
        devices = system.devices()
    except EngineMissingError as e:
        return _machine(host, *_gpu_without_ggml(host, e))
    used, notes = used_devices(devices)
    unused = ""
    if not used and not notes:
        unused = unused_gpu_note(system, is_apple=host.gpu is not None)
        notes += [unused] if unused else []
    gpus = tuple(_gpu(device) for device in used)
    notes += [f"{gpu.name}: no memory is free" for gpu in gpus if not gpu.free]
    is_integrated = any(device.kind == INTEGRATED_GPU for device in used)
    machine = _machine(host, gpus, notes, unified=host.unified or is_integrated)
    if gpus:
        return machine
    return replace(machine, repacked=system.repacked(), unused_gpu=unused)


def available_ram() -> int:
    """Return the bytes of RAM that this process can have now without swapping."""
    return _probe_host(LocalSystem()).available


def usable_cores() -> int:
    """Return the CPU cores that this process may use.

    On Linux those that a cgroup's quota pays for: threads beyond them only wait for each other.
    """
    here = LocalSystem()
    return probe_linux.usable_cores(here) if here.platform == "linux" else here.cores() or 1


def _probe_host(system: System) -> Host:
    if system.platform == "darwin":
        return probe_macos.probe_host(system)
    if system.platform == "win32":
        return _probe_windows(system)
    return probe_linux.probe_host(system)


def _probe_windows(system: System) -> Host:
    ram, notes = checked_ram(system)
    return Host(
        os="windows",
        cpu=clean_name(system.processor),
        cores=system.cores() or 1,
        ram=ram.total,
        available=ram.available,
        notes=notes,
    )


def _machine(
    host: Host, gpus: Sequence[Gpu], notes: Sequence[str], unified: bool | None = None
) -> Machine:
    return Machine(
        os=host.os,
        cpu=host.cpu,
        cores=host.cores,
        ram=host.ram,
        available=host.available,
        gpus=tuple(gpus),
        unified=host.unified if unified is None else unified,
        limited_by=host.limited_by,
        notes=(*host.notes, *notes),
    )


def _gpu_without_ggml(host: Host, error: EngineMissingError) -> tuple[list[Gpu], list[str]]:
    """Return the GPU that the OS gives every process, and what is to be said of it."""
    notes = [f"the GPUs could not be listed: {error}"]
    if not host.gpu:
        return [], notes
    return [host.gpu], [*notes, probe_macos.RULE_NOTE]


def used_devices(devices: Sequence[Device]) -> tuple[list[Device], list[str]]:
    """Return the GPUs that llama.cpp would use, and a note for each that is left out.

    Those that are integrated are used if no other has memory.
    """
    gpus = [device for device in devices if device.kind in (GPU, INTEGRATED_GPU)]
    notes = [
        f"{clean_name(device.description or device.name)}: reports no memory, so it is not used"
        for device in gpus
        if device.total <= 0
    ]
    with_memory = [device for device in gpus if device.total > 0]
    discrete = [device for device in with_memory if device.kind == GPU]
    return _listed_once(discrete or with_memory), notes


def _listed_once(devices: Sequence[Device]) -> list[Device]:
    """Leave out a GPU's second appearance, through another backend.

    A build with CUDA and Vulkan lists each twice.
    """
    backends: dict[str, str] = {}
    listed = []
    for device in devices:
        backend = backends.setdefault(device.description, device.name.rstrip("0123456789"))
        if backend in device.name:
            listed.append(device)
    return listed


def _gpu(device: Device) -> Gpu:
    return Gpu(
        name=clean_name(device.description or device.name),
        kind=kind_of(device),
        total=device.total,
        free=max(0, min(device.free, device.total)),
    )


def kind_of(device: Device) -> GpuKind:
    """Return which kernels run on a GPU."""
    if CUDA.match(device.name):
        return "cuda"
    return "metal" if METAL.match(device.name) else "other"
