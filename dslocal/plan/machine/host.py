"""What a probe of an OS finds out, and what all of them share: careful numbers, and names that are
fit to be printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .machine import Gpu, Os
from .system import Ram, System

MAX_NAME = 80
MAX_RAM = 1 << 56  # bytes; what claims to be more is no size


@dataclass(frozen=True, slots=True)
class Host:
    """A machine without what ggml knows of it. ``gpu`` is the one that this OS gives every process,
    as far as can be told unasked.
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


def ram_of_os_call(runner: System) -> tuple[Ram, tuple[str, ...]]:
    """RAM by the OS's own call, for when nothing better can be read; nothing at all when that fails
    as well.
    """
    ram = runner.memory()
    if not ram or not 0 < ram.total < MAX_RAM:
        return Ram(0, 0), ("this machine does not say how much memory it has; --ram says it",)
    return Ram(ram.total, max(0, min(ram.available, ram.total))), ()


def parse_number(text: str | None, most: int = MAX_RAM) -> int | None:
    """The integer that ``text`` is, if it is one from 0 up to ``most``."""
    text = (text or "").strip()
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) > most:
        return None
    return int(text)


def clean_name(name: str) -> str:
    """A name on one line, without control characters, and not long."""
    return (
        " ".join("".join(c if c.isprintable() else " " for c in name).split())[:MAX_NAME]
        or "unknown"
    )
