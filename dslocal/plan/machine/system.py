"""How a probe asks a machine: files, commands, the OS's own calls and ggml's devices, each of which
may have no answer.

:class:`LocalSystem` asks this machine; tests put recorded answers in its place. Nothing here knows what
the answers mean.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from dslocal.gguf import libraries
from dslocal.gguf.libraries import Device

TIMEOUT_S = 5.0
MAX_TEXT = (
    1 << 20
)  # bytes read of a file: none that a probe reads is longer on a machine of 1,000 cores


class Ram(NamedTuple):
    """Bytes."""

    total: int
    available: int


class System(Protocol):
    """What a probe may ask. None, or an exception of ``devices``, is an answer too: the probe makes
    do without.
    """

    @property
    def platform(self) -> str:
        """As ``sys.platform`` has it."""
        ...

    @property
    def processor(self) -> str:
        """The CPU as Python knows it, which is often only its architecture."""
        ...

    def read(self, path: str) -> str | None:
        """A text file, up to a limit; None when there is none, or it may not be read."""
        ...

    def run(self, command: Sequence[str]) -> str | None:
        """What a command prints, whatever its exit status: sysctl fails when one of many names is
        unknown. None without a command.
        """
        ...

    def cores(self) -> int | None:
        """CPUs that this process may run on."""
        ...

    def memory(self) -> Ram | None:
        """What the OS's own call says, where there is one."""
        ...

    def devices(self) -> Sequence[Device]:
        """ggml's devices. Raises EngineMissingError."""
        ...


class LocalSystem:
    """This machine."""

    platform = sys.platform

    @property
    def processor(self) -> str:
        return platform.processor() or platform.machine()

    def read(self, path: str) -> str | None:
        try:
            with Path(path).open("rb") as file:
                return file.read(MAX_TEXT).decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def run(self, command: Sequence[str]) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        return done.stdout[:MAX_TEXT].decode("utf-8", "replace")

    def cores(self) -> int | None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count()

    def memory(self) -> Ram | None:
        return _windows_memory() if self.platform == "win32" else _posix_memory()

    def devices(self) -> Sequence[Device]:
        return libraries.devices()


def _posix_memory() -> Ram | None:
    """Free pages only: what caches hold could be had as well, but this call does not tell."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return Ram(page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES"))
    except (ValueError, OSError):
        return None


class _MemoryStatus(ctypes.Structure):
    """``MEMORYSTATUSEX`` of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended_virtual", ctypes.c_uint64),
    )


def _windows_memory() -> Ram | None:
    """``GlobalMemoryStatusEx``. Written from its documentation; never run on Windows."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    try:
        done = ctypes.CDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status))
    except (OSError, AttributeError):
        return None
    return Ram(status.total, status.available) if done else None
