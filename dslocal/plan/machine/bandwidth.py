"""How fast memory can be read, by the name of the chip: what bounds the speed of generation.

Numbers of data sheets, not what is reached.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dslocal.plan.load_config import GpuKind

from .machine import Gpu, Machine

GB = 10**9

# Bytes a second that are assumed of an SSD, in one go: NVMe ones read 3 to 7 GB/s, a SATA one 0.5.
SSD_BANDWIDTH = 3 * GB
SSD_NOTE = "an SSD that reads 3 GB/s is assumed"

# Bytes a second of a GPU that the tables do not have: what the slower ones in use give.
UNKNOWN_GPU_BANDWIDTH: dict[GpuKind, int] = {
    "metal": 100 * GB,
    "cuda": 250 * GB,
    "other": 100 * GB,
}


class _AssumedMac(NamedTuple):
    """A Mac whose chip is not known: what comes with that much RAM, at the least."""

    ram_gib: int
    chip: str
    gb_per_s: int


ASSUMED_MACS = (
    _AssumedMac(192, "an Ultra", 800),
    _AssumedMac(64, "a Max", 400),
    _AssumedMac(24, "a Pro", 200),
    _AssumedMac(0, "a plain M chip", 100),
)

# Apple's technical specifications (support.apple.com) and press releases, GB/s. Where a chip comes
# in two, the lower number is that of the one with 10 performance cores (14-core CPU), the higher
# that of the one with 12 (16-core CPU).
APPLE: dict[str, tuple[float, float]] = {
    "M1": (68.25, 68.25),
    "M1 Pro": (200, 200),
    "M1 Max": (400, 400),
    "M1 Ultra": (800, 800),
    "M2": (100, 100),
    "M2 Pro": (200, 200),
    "M2 Max": (400, 400),
    "M2 Ultra": (800, 800),
    "M3": (100, 100),
    "M3 Pro": (150, 150),
    "M3 Max": (300, 400),
    "M3 Ultra": (819, 819),
    "M4": (120, 120),
    "M4 Pro": (273, 273),
    "M4 Max": (410, 546),
    "M5": (153, 153),
}
HIGHER_BIN_CORES = 12

# NVIDIA's data sheets and product pages, GB/s, by words of the name that the driver gives. The
# longest name that matches counts.
NVIDIA: dict[str, float] = {
    # data centre
    "t4": 320,
    "v100": 900,
    "a10": 600,
    "a10g": 600,
    "a30": 933,
    "a40": 696,
    "a100": 1555,  # 40 GB; those of 80 GB below
    "a100 80gb": 1935,
    "a100 sxm4 80gb": 2039,
    "l4": 300,
    "l40": 864,
    "l40s": 864,
    "h20": 4000,
    "h100": 2000,
    "h100 pcie": 2000,
    "h100 80gb hbm3": 3350,
    "h100 nvl": 3900,
    "h200": 4800,
    "gh200": 4000,
    "b200": 7700,
    "gb10": 273,
    # workstations
    "rtx a4000": 448,
    "rtx a5000": 768,
    "rtx a6000": 768,
    "rtx 4000 ada": 360,
    "rtx 5000 ada": 576,
    "rtx 6000 ada": 960,
    "rtx pro 6000": 1792,
    # GeForce 20
    "rtx 2060": 336,
    "rtx 2070": 448,
    "rtx 2080": 448,
    "rtx 2080 super": 496,
    "rtx 2080 ti": 616,
    # GeForce 30
    "rtx 3050": 224,
    "rtx 3060": 360,
    "rtx 3060 ti": 448,
    "rtx 3070": 448,
    "rtx 3070 ti": 608,
    "rtx 3080": 760,
    "rtx 3080 ti": 912,
    "rtx 3090": 936,
    "rtx 3090 ti": 1008,
    "rtx 3060 laptop": 336,
    "rtx 3070 laptop": 448,
    "rtx 3080 laptop": 448,
    # GeForce 40
    "rtx 4060": 272,
    "rtx 4060 ti": 288,
    "rtx 4070": 504,
    "rtx 4070 super": 504,
    "rtx 4070 ti": 504,
    "rtx 4070 ti super": 672,
    "rtx 4080": 717,
    "rtx 4080 super": 736,
    "rtx 4090": 1008,
    "rtx 4060 laptop": 256,
    "rtx 4070 laptop": 256,
    "rtx 4080 laptop": 432,
    "rtx 4090 laptop": 576,
    # GeForce 50
    "rtx 5050": 320,
    "rtx 5060": 448,
    "rtx 5060 ti": 448,
    "rtx 5070": 672,
    "rtx 5070 ti": 896,
    "rtx 5080": 960,
    "rtx 5090": 1792,
    "rtx 5070 laptop": 384,
    "rtx 5070 ti laptop": 672,
    "rtx 5080 laptop": 896,
    "rtx 5090 laptop": 896,
}


class _SmallerCard(NamedTuple):
    """A card of the same name with less memory, which is slower."""

    name: str
    max_bytes: int
    gb_per_s: int


SMALLER_CARDS = (
    _SmallerCard("rtx 3050", 7 << 30, 168),
    _SmallerCard("rtx 3060", 9 << 30, 240),
)
# Words that make another chip of it, so that a name without them does not match.
VARIANT_WORDS = {"laptop", "ti", "super"}


def ram_bandwidth(machine: Machine) -> float | None:
    """Return the bytes per second of the RAM, where the CPU's name says it.

    That is so with Apple's chips alone; elsewhere it has to be measured.
    """
    chip = re.match(r"Apple (M\d+(?: (?:Pro|Max|Ultra))?)(?:\W|$)", machine.cpu)
    if not chip or chip[1] not in APPLE:
        return None
    lower, higher = APPLE[chip[1]]
    return (higher if machine.cores >= HIGHER_BIN_CORES else lower) * GB


def assumed_bandwidth(machine: Machine) -> float | None:
    """Return the bytes per second of a Mac whose chip is not named; None for all others."""
    if machine.os != "macos" or not machine.unified:
        return None
    return assumed_apple_chip(machine.ram)[1]


def assumed_apple_chip(ram: int) -> tuple[str, float]:
    """Return what Apple sells with that much RAM: the chip, in words, and its bytes per second.

    Args:
        ram: bytes.
    """
    mac = next(mac for mac in ASSUMED_MACS if ram >= mac.ram_gib << 30)
    return mac.chip, mac.gb_per_s * GB


def gpu_bandwidth(machine: Machine) -> float:
    """Return the bytes per second of the slowest GPU, on which a token waits the longest.

    A guess for those that are not in the tables; 0 without a GPU.
    """
    shared = ram_bandwidth(machine) or assumed_bandwidth(machine)
    rates = [
        known_gpu_bandwidth(gpu) or shared or UNKNOWN_GPU_BANDWIDTH[gpu.kind]
        for gpu in machine.gpus
    ]
    return min(rates, default=0.0)


def known_gpu_bandwidth(gpu: Gpu) -> float | None:
    """Return the bytes per second of a GPU with memory of its own; None for an unknown name."""
    words = set(re.findall("[a-z0-9]+", gpu.name.lower()))
    matches = [name for name in NVIDIA if _is_named(name, words)]
    if not matches:
        return None
    best = max(matches, key=len)
    for card in SMALLER_CARDS:
        if card.name == best and gpu.total <= card.max_bytes:
            return card.gb_per_s * GB
    return NVIDIA[best] * GB


def _is_named(name: str, words: set[str]) -> bool:
    """Return whether a chip called ``name`` may give itself a name of these ``words``."""
    own = set(name.split())
    return own <= words and own & VARIANT_WORDS == words & VARIANT_WORDS
