"""Find out in a child process how llama.cpp was built.

The child also shows whether the library fails to load, or ends its process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dslocal.errors import EngineMissingError
from dslocal.gguf import libraries
from dslocal.gguf.cpu_repack import RepackedType
from dslocal.gguf.libraries import Device

from .host import clean_name
from .system import LocalSystem
from .unused_gpu import REBUILD

TIMEOUT_S = 60.0
PROGRAM = f"from {__name__} import print_build; print_build()"


@dataclass(frozen=True)
class Build:
    """A build of llama.cpp.

    Attributes:
        version: llama-cpp-python's version.
        library: where it lies.
        features: what it uses of the CPU, and its options, such as "AVX2".
        devices: ggml's devices.
        gpu_offload: whether it can compute on a GPU.
    """

    version: str
    library: str
    features: tuple[str, ...]
    devices: tuple[Device, ...]
    gpu_offload: bool


class KnownDevices(LocalSystem):
    """This machine, whose GPUs have been asked for already."""

    def __init__(self, devices: Sequence[Device] | EngineMissingError) -> None:
        """Remember ggml's devices, or why they are not known."""
        self._devices = devices

    def devices(self) -> Sequence[Device]:
        """Return the devices. Raises EngineMissingError when they are not known."""
        if isinstance(self._devices, EngineMissingError):
            raise self._devices
        return self._devices

    def repacked(self) -> tuple[RepackedType, ...]:
        """Return nothing: to ask would load a library that may end this process."""
        return ()


def probe_build() -> Build:
    """Return what llama.cpp was built with.

    Raises:
        EngineMissingError: it cannot be loaded; the hint says what would help.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and a function of this module
            [sys.executable, "-P", "-c", PROGRAM],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.SubprocessError) as e:
        raise EngineMissingError(
            f"llama.cpp does not report its build: {clean_name(str(e))}", hint=REBUILD
        ) from e
    if answer is None:
        how = f"ended with {done.returncode}"
        if done.returncode < 0:
            how = f"ended by signal {-done.returncode}"
        raise EngineMissingError(f"llama.cpp does not load: its process {how}", hint=REBUILD)
    if "error" in answer:
        raise EngineMissingError(answer["error"], hint=answer["hint"])
    return Build(
        version=answer["version"],
        library=answer["library"],
        features=tuple(answer["features"]),
        devices=tuple(Device(*device) for device in answer["devices"]),
        gpu_offload=answer["gpu_offload"],
    )


def print_build() -> None:
    """Print, as one line of JSON, what :func:`probe_build` reads."""
    try:
        print(json.dumps(_build_fields()))
    except EngineMissingError as e:
        print(json.dumps({"error": str(e), "hint": e.hint}))


def _build_fields() -> dict[str, Any]:
    low = libraries.require()
    info = low.llama_print_system_info().decode("utf-8", "replace")
    entries = [entry.strip().rpartition(":")[2].partition("=") for entry in info.split("|")]
    return {
        "version": libraries.version(),
        "library": str(low.__file__),
        "features": [name.strip() for name, _, value in entries if value.strip() not in ("", "0")],
        "devices": libraries.devices(),
        "gpu_offload": bool(low.llama_supports_gpu_offload()),
    }
