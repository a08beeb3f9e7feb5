"""Machines that give recorded answers: what a probe reads of Linux and macOS.

The recordings are in ``tests/plan/recorded``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dslocal.errors import EngineMissingError
from dslocal.gguf import libraries
from dslocal.gguf.cpu_repack import RepackedType
from dslocal.gguf.libraries import Device
from dslocal.plan.machine.probe_macos import SYSCTL, VM_STAT
from dslocal.plan.machine.system import Ram

RECORDED = Path(__file__).parents[2] / "plan" / "recorded"
GIB = 1 << 30


def recorded(os_name: str) -> dict[str, Any]:
    machines: dict[str, Any] = json.loads(
        (RECORDED / f"{os_name}.json").read_text(encoding="utf-8")
    )["machines"]
    return machines


LINUX, MACOS = recorded("linux"), recorded("macos")
CPU = Device("CPU", "some CPU", 0, 64 * GIB, 64 * GIB)
OWN_CALL = Ram(16 * GIB, 3 * GIB)


@dataclass(frozen=True)
class Recorded:
    """A machine that gives recorded answers. ``listed`` None: llama-cpp-python is not installed."""

    platform: str = "linux"
    processor: str = "x86_64"
    files: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    usable: int | None = 4
    ram: Ram | None = OWN_CALL
    listed: Sequence[Device] | None = (CPU,)

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def run(self, command: Sequence[str]) -> str | None:
        return self.commands.get(command[0])

    def cores(self) -> int | None:
        return self.usable

    def memory(self) -> Ram | None:
        return self.ram

    def repacked(self) -> tuple[RepackedType, ...]:
        return ()

    def devices(self) -> Sequence[Device]:
        if self.listed is None:
            raise EngineMissingError("llama-cpp-python is not installed")
        return self.listed


def text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def linux(name: str) -> Recorded:
    """Return a recorded Linux; one without /proc/meminfo answers ``OWN_CALL``."""
    case = LINUX[name]
    files = {path: text(lines) for path, lines in case["files"].items()}
    ram = ram_of(files["/proc/meminfo"]) if "/proc/meminfo" in files else OWN_CALL
    return Recorded(files=files, usable=case["cores"], ram=ram)


def ram_of(meminfo: str) -> Ram:
    """Return the RAM that a /proc/meminfo tells of, of a kernel before 3.14 as well."""
    rows = dict(re.findall(r"^([\w()]+):\s+([0-9]+) kB$", meminfo, re.MULTILINE))
    kib = {name: int(value) for name, value in rows.items()}
    available = kib.get("MemAvailable", kib["MemFree"] + kib["Inactive(file)"])
    return Ram(kib["MemTotal"] << 10, available << 10)


def macos(
    name: str,
    said: Mapping[str, str] = {},
    *,
    raised: bool = False,
    listed: Sequence[Device] | None = None,
) -> Recorded:
    """``raised`` sets the recording's limit; what is ``said`` replaces values of sysctl."""
    case = MACOS[name]
    answers = dict(line.split(": ", 1) for line in case["sysctl"]) | {
        "iogpu.wired_limit_mb": str(case["raised_mb"] if raised else 0)
    }
    answers |= said
    devices = [Device(*device) for device in case["devices"]]
    if raised:
        devices = [
            d._replace(total=case["raised_mb"] << 20, free=case["raised_mb"] << 20)
            if d.kind == libraries.GPU
            else d
            for d in devices
        ]
    commands = {
        SYSCTL: text([f"{name}: {value}" for name, value in answers.items()]),
        VM_STAT: text(case["vm_stat"]),
    }
    return Recorded(
        "darwin", "arm", commands=commands, usable=99, listed=devices if listed is None else listed
    )
