"""The result of probing an OS, and the functions that all probes share."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .machine import Gpu, Os
from .system import Ram, System

MAX_NAME = 80  # characters
MAX_RAM = 1 << 56  # bytes; what claims to be more is not a size
NO_SIZE_NOTE = "this machine does not report how much memory it has; give it with --ram"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine without what ggml knows of it.

    Attributes:
        os: its operating system.
        cpu: the name of its CPU.
        cores: CPUs to compute with.
        ram: bytes that are installed or allowed.
        available: bytes that can be had now without swapping.
        unified: whether GPU and CPU share the RAM.
        gpu: the GPU that this OS gives every process, as far as it is known without asking ggml.
        limited_by: what holds ``available`` down.
        notes: for the user.
    """

    os: Os
    cpu: str
    cores: int
    ram: int
    available: int
    unified: bool = False
    gpu: Gpu | None = None
    limited_by: str = ""
    notes: tuple[str, ...] = ()


def checked_ram(system: System) -> tuple[Ram, tuple[str, ...]]:
    """Return the RAM that the system says it has, and a note when that makes no sense."""
    ram = system.memory()
    if not ram or not 0 < ram.total < MAX_RAM:
        return Ram(0, 0), (NO_SIZE_NOTE,)
    return Ram(ram.total, max(0, min(ram.available, ram.total))), ()


def parse_number(text: str | None, most: int = MAX_RAM) -> int | None:
    """Return the integer that ``text`` is, if it is one from 0 up to ``most``."""
    text = (text or "").strip()
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) > most:
        return None
    return int(text)


def clean_name(name: str) -> str:
    """Return a name on one line, without control characters, and not long."""
    printable = "".join(c if c.isprintable() else " " for c in name)
    return " ".join(printable.split())[:MAX_NAME] or "unknown"
