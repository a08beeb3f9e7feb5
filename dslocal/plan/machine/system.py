"""The sources of a probe: files, commands, the RAM and ggml's devices.

Each of these may have no answer. :class:`LocalSystem` asks this machine; tests put recorded answers
in its place. Nothing here knows what the answers mean.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from dslocal.gguf import cpu_repack, libraries
from dslocal.gguf.cpu_repack import RepackedType
from dslocal.gguf.libraries import Device

TIMEOUT_S = 5.0
MEMINFO_FILE = "/proc/meminfo"
MEMINFO_LINE = re.compile(r"^(MemTotal|MemAvailable):\s+([0-9]{1,15}) kB$", re.MULTILINE)
MAX_TEXT = 1 << 20  # bytes read of a file: none is longer on a machine of 1,000 cores


class Ram(NamedTuple):
    """Bytes of RAM: installed, and to be had without swapping."""

    total: int
    available: int


class System(Protocol):
    """A machine that can be asked. None, or an exception of ``devices``, is an answer too."""

    @property
    def platform(self) -> str:
        """Return what ``sys.platform`` says there."""
        ...

    @property
    def processor(self) -> str:
        """Return the CPU as Python knows it, which is often only its architecture."""
        ...

    def read(self, path: str) -> str | None:
        """Return a text file, up to a limit; None when there is none, or it may not be read."""
        ...

    def run(self, command: Sequence[str]) -> str | None:
        """Return what a command prints, whatever its exit status; None without such a command.

        sysctl fails when one of many names is unknown.
        """
        ...

    def cores(self) -> int | None:
        """Return the number of CPUs that this process may run on."""
        ...

    def memory(self) -> Ram | None:
        """Return the RAM, without the limits of cgroups; None where the OS does not say."""
        ...

    def devices(self) -> Sequence[Device]:
        """Return ggml's devices. Raises EngineMissingError."""
        ...

    def repacked(self) -> tuple[RepackedType, ...]:
        """Return the types that ggml rearranges for the CPU. Raises EngineMissingError."""
        ...


class LocalSystem:
    """This machine."""

    platform = sys.platform

    @property
    def processor(self) -> str:
        """Return the CPU as Python knows it, which is often only its architecture."""
        return platform.processor() or platform.machine()

    def read(self, path: str) -> str | None:
        """Return a text file, up to ``MAX_TEXT`` bytes; None when it cannot be read."""
        try:
            with Path(path).open("rb") as file:
                return file.read(MAX_TEXT).decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def run(self, command: Sequence[str]) -> str | None:
        """Return what a command prints, up to ``MAX_TEXT`` bytes; None when it cannot be run."""
        try:
            done = subprocess.run(  # noqa: S603 - commands of the probes' own
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
        """Return the number of CPUs that this process may run on."""
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count()

    def memory(self) -> Ram | None:
        """Return the RAM; None where the OS does not say.

        Linux says it in two lines of a file: psutil reads the same, and its import costs a cold
        ``ask`` 7 % (634 against 592 ms). Where a line is missing, and elsewhere, psutil is asked.
        """
        said = dict(MEMINFO_LINE.findall(self.read(MEMINFO_FILE) or ""))
        if len(said) == 2:
            total, available = (int(said[key]) << 10 for key in ("MemTotal", "MemAvailable"))
            return Ram(total, min(available, total))
        return self._memory_by_psutil()

    @staticmethod
    def _memory_by_psutil() -> Ram | None:
        import psutil

        try:
            with warnings.catch_warnings():  # of counters that are not needed here
                warnings.simplefilter("ignore", RuntimeWarning)
                found = psutil.virtual_memory()
        except (OSError, RuntimeError, ValueError, LookupError, psutil.Error):
            return None
        return Ram(int(found.total), int(found.available))

    def devices(self) -> Sequence[Device]:
        """Return ggml's devices. Raises EngineMissingError."""
        return libraries.devices()

    def repacked(self) -> tuple[RepackedType, ...]:
        """Return the types that ggml rearranges for the CPU. Raises EngineMissingError."""
        return cpu_repack.repacked_types()
