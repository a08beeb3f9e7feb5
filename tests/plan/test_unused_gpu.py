"""Proves that a GPU which llama.cpp was not built for is named with the command that uses it."""

from __future__ import annotations

import pytest
from support.machines.recorded_machines import CPU, GIB, Recorded

from dslocal.gguf.libraries import Device
from dslocal.plan.machine.probe import probe_machine

NVIDIA = {"/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module\n"}
CARD = "/sys/class/drm/card1/device"


def amd(vram: int) -> dict[str, str]:
    return {f"{CARD}/vendor": "0x1002\n", f"{CARD}/mem_info_vram_total": f"{vram}\n"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (NVIDIA, ("an NVIDIA GPU", "-DGGML_CUDA=on pip install")),
        ({"/usr/lib/wsl/lib/nvidia-smi": ""}, ("an NVIDIA GPU", "-DGGML_CUDA=on pip install")),
        (amd(16 * GIB), ("an AMD GPU", "-DGGML_VULKAN=on pip install")),
        (amd(512 << 20), ()),  # in the CPU
        ({f"{CARD}/vendor": "0x8086\n"}, ()),
        ({}, ()),
    ],
)
def test_a_gpu_that_is_not_used(files: dict[str, str], words: tuple[str, ...]) -> None:
    machine = probe_machine(Recorded(files=files))
    for word in words:
        assert word in machine.unused_gpu
    assert bool(machine.unused_gpu) == bool(words)
    assert (machine.unused_gpu in machine.notes) == bool(words)


def test_nothing_is_said_where_the_gpu_is_used() -> None:
    device = Device("CUDA0", "NVIDIA GeForce RTX 4090", 1, 24 * GIB, 23 * GIB)
    machine = probe_machine(Recorded(files=NVIDIA, listed=(CPU, device)))
    assert machine.unused_gpu == ""
