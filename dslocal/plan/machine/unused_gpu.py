"""Find a GPU of this machine that llama.cpp was not built for, and say how to use it.

This is read from files of the drivers, and no program is run, because every command that plans
needs the answer.
"""

from __future__ import annotations

from dslocal.gguf import libraries

from .host import parse_number
from .system import System

REBUILD = "pip install --force-reinstall --no-cache-dir llama-cpp-python=={}".format(
    ".".join(map(str, libraries.REQUIRED_VERSION))
)
NVIDIA_FILES = (
    "/proc/driver/nvidia/version",  # Linux
    "/usr/lib/wsl/lib/nvidia-smi",  # WSL, which has no such driver of its own
    "C:\\Windows\\System32\\nvidia-smi.exe",
)
CARDS = 8  # numbers of cards that are looked at
AMD_VENDOR = "0x1002"
MIN_VRAM = 2 << 30  # bytes; a GPU in the CPU has less of its own
METAL_OFF = "llama-cpp-python is built without Metal: CPU only"


def unused_gpu_note(system: System, *, is_apple: bool) -> str:
    """Return what to say of a GPU that no device of ggml's is for; empty where there is none.

    Args:
        system: the machine.
        is_apple: whether its chip is Apple's, which has a GPU.
    """
    if is_apple:
        return f"{METAL_OFF}; to use the GPU: CMAKE_ARGS=-DGGML_METAL=on {REBUILD}"
    if any(system.read(file) is not None for file in NVIDIA_FILES):
        return _note("an NVIDIA GPU", "CUDA", "-DGGML_CUDA=on")
    if any(_is_amd(system, number) for number in range(CARDS)):
        return _note("an AMD GPU", "Vulkan or ROCm", "-DGGML_VULKAN=on")
    return ""


def _is_amd(system: System, number: int) -> bool:
    """Return whether a card of Linux is AMD's and has memory of its own."""
    device = f"/sys/class/drm/card{number}/device"
    if (system.read(f"{device}/vendor") or "").strip() != AMD_VENDOR:
        return False
    memory = parse_number((system.read(f"{device}/mem_info_vram_total") or "").strip())
    return (memory or 0) >= MIN_VRAM


def _note(what: str, backend: str, option: str) -> str:
    use = f"CMAKE_ARGS={option} {REBUILD}"
    return f"{what} is not used, because llama.cpp is built without {backend}; to use it: {use}"
