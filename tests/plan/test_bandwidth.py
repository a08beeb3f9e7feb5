"""Proves that chips are recognised by the names that they really give, each bin as its own, and
never as another.
"""

from __future__ import annotations

import pytest

from dslocal.plan.machine.bandwidth import (
    UNKNOWN_GPU_BANDWIDTH,
    gpu_bandwidth,
    known_gpu_bandwidth,
    ram_bandwidth,
)
from dslocal.plan.machine.machine import Gpu, Machine

GB, GIB = 10**9, 1 << 30


def mac(cpu: str, cores: int) -> Machine:
    return Machine(
        "macos",
        cpu,
        cores,
        64 * GIB,
        60 * GIB,
        (Gpu(cpu, "metal", 48 * GIB, 48 * GIB),),
        unified=True,
    )


@pytest.mark.parametrize(
    ("cpu", "cores", "rate"),
    [
        ("Apple M1", 4, 68.25),
        ("Apple M1 (Virtual)", 4, 68.25),
        ("Apple M1 Pro", 8, 200),
        ("Apple M2 Ultra", 16, 800),
        ("Apple M3 Max", 10, 300),
        ("Apple M3 Max", 12, 400),
        ("Apple M3 Ultra", 24, 819),
        ("Apple M4 Pro", 10, 273),
        ("Apple M4 Max", 10, 410),
        ("Apple M4 Max", 12, 546),
        ("Apple M99", 12, None),
        ("Apple M10", 12, None),
        ("Apple processor", 8, None),
        ("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", 6, None),
        ("AMD EPYC 9754 128-Core Processor", 64, None),
    ],
)
def test_ram(cpu: str, cores: int, rate: float | None) -> None:
    assert ram_bandwidth(mac(cpu, cores)) == (rate and rate * GB)
    assert gpu_bandwidth(mac(cpu, cores)) == (rate or 400) * GB  # unknown: what a Mac of 64 GiB has


@pytest.mark.parametrize(
    ("name", "gib", "rate"),
    [
        ("NVIDIA H200", 140, 4800),
        ("NVIDIA H100 80GB HBM3", 80, 3350),
        ("NVIDIA H100 PCIe", 80, 2000),
        ("NVIDIA H100 NVL", 94, 3900),
        ("NVIDIA A100-SXM4-40GB", 40, 1555),
        ("NVIDIA A100-SXM4-80GB", 80, 2039),
        ("NVIDIA A100 80GB PCIe", 80, 1935),
        ("NVIDIA L40S", 45, 864),
        ("NVIDIA L4", 22, 300),
        ("Tesla T4", 15, 320),
        ("NVIDIA GeForce RTX 3060", 12, 360),
        ("NVIDIA GeForce RTX 3060", 8, 240),
        ("NVIDIA GeForce RTX 3060 Ti", 8, 448),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", 6, 336),
        ("NVIDIA GeForce RTX 3090 Ti", 24, 1008),
        ("NVIDIA GeForce RTX 4070", 12, 504),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16, 672),
        ("NVIDIA GeForce RTX 4090", 24, 1008),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16, 576),
        ("NVIDIA GeForce RTX 5090", 32, 1792),
        ("NVIDIA RTX 6000 Ada Generation", 48, 960),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 95, 1792),
        ("NVIDIA GeForce RTX 3090 SUPER", 24, None),
        ("NVIDIA GeForce RTX 3090 Laptop GPU", 24, None),
        ("NVIDIA GeForce RTX 40900", 24, None),
        ("AMD Radeon RX 7900 XTX", 24, 960),
        ("", 1, None),
    ],
)
def test_gpu(name: str, gib: int, rate: float | None) -> None:
    assert known_gpu_bandwidth(Gpu(name, "cuda", gib * GIB, gib * GIB)) == (rate and rate * GB)


def test_several_gpus_are_read_one_after_the_other() -> None:
    def machine(*gpus: tuple[str, int]) -> Machine:
        cards = tuple(Gpu(name, "cuda", gib * GIB, gib * GIB) for name, gib in gpus)
        return Machine("linux", "x", 8, 64 * GIB, 60 * GIB, cards)

    equal = machine(("NVIDIA GeForce RTX 3090", 24), ("NVIDIA GeForce RTX 3090", 24))
    assert gpu_bandwidth(equal) == 936 * GB
    mixed = machine(("NVIDIA GeForce RTX 4090", 24), ("NVIDIA GeForce RTX 3060", 12))
    seconds = (24 / 1008 + 12 / 360) / 36  # each holds a part of the layers
    assert gpu_bandwidth(mixed) == pytest.approx(GB / seconds)
    assert gpu_bandwidth(machine(("unheard of", 8))) == UNKNOWN_GPU_BANDWIDTH["cuda"]
    assert gpu_bandwidth(machine()) == 0
