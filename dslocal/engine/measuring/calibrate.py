"""Measure what decoding reads per second on this machine, and remember it.

Each rate is measured once. If other programs kept the cores busy meanwhile, it is measured again
the next few times that somebody asks for it. Other programs can only make it slower, so the best
measurement counts.

The rates of the RAM tier are those of llama.cpp's own multiplication (:mod:`.ram_rate`). The SSD is
measured on the file that would be read from it, through the page faults that reading a mapped file
causes.
"""

from __future__ import annotations

import mmap
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dslocal import home
from dslocal.errors import DslocalError
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.bandwidth import SSD_BANDWIDTH
from dslocal.plan.machine.machine import Machine
from dslocal.plan.speed import CPU_EFFICIENCY, SMALL_READ, Rates, TypeRate

from .ram_rate import MAIN_TYPE, measure_ram_rates, sample_size, wanted_sample

STATE = "memory-rates"  # the name under which rates are remembered
MAX_BUSY_RUNS = 8  # measurements on a busy machine, after which the best of them is final
MAX_WAIT_S = 2.0  # for another process that measures
SSD_PIECE = 4 << 20  # bytes, about one expert's matrix
SSD_PIECES = 24
MIN_RATE, MAX_RATE = 1e6, 1e15  # bytes per second; anything else in the state file is damage


def measured_rates(machine: Machine) -> Rates | None:
    """Return the rates of this machine: remembered ones, or measured now and remembered.

    Args:
        machine: This machine, as probed.

    Returns:
        The rates, or None when they cannot be measured, for example in too little memory.
    """
    if _is_final(machine):
        return remembered_rates(machine)
    with _alone():
        if _is_final(machine):  # another process has measured meanwhile
            return remembered_rates(machine)
        return _measure(machine)


def remembered_rates(machine: Machine) -> Rates | None:
    """Return the rates that were measured on this machine before; None where none were."""
    entry = home.read_state(STATE).get(_identity(machine))
    types = entry.get("types", {}) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(types, dict):
        return None
    if not all(map(_is_rate, (entry.get("ram"), entry.get("ssd"), *types.values()))):
        return None
    by_type = {kind: float(types[kind.name]) for kind in GgmlType if kind.name in types}
    return _rates(float(entry["ram"]), by_type, float(entry["ssd"]))


def _measure(machine: Machine) -> Rates | None:
    """Measure the rates and remember the best so far; return what is known afterwards."""
    known = remembered_rates(machine)
    try:
        found = measure_ram_rates(machine.available, machine.cores)
    except (DslocalError, OSError):
        return known
    if found is None:
        return known
    types = dict(found.by_type)
    if known:
        types[MAIN_TYPE] = max(types[MAIN_TYPE], known.ram)
        types |= {kind: max(rate, types.get(kind, 0.0)) for kind, rate in known.ram_types}
    ram = types.pop(MAIN_TYPE)
    rates = _rates(ram, types, SSD_BANDWIDTH * SMALL_READ)
    # There will not always be too little memory for a whole sample.
    if sample_size(machine.available, machine.cores) == wanted_sample(machine.cores):
        is_busy = found.disturbed or _is_busy(machine)
        entry = {
            "ram": ram,
            "types": {kind.name: rate for kind, rate in types.items()},
            "ssd": rates.ssd,
            "busy_runs": _busy_runs(machine) + 1 if is_busy else 0,
        }
        home.write_state(STATE, {**home.read_state(STATE), _identity(machine): entry})
    return rates


def _rates(ram: float, by_type: Mapping[GgmlType, float], ssd: float) -> Rates:
    types = tuple(TypeRate(kind, by_type[kind]) for kind in sorted(by_type))
    return Rates(0.0, ram, ssd, ram_layer=CPU_EFFICIENCY.layer, ram_types=types)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from measuring meanwhile: each would get half of the memory's rate.

    One that measures already is waited for, but not for long, since it may have been stopped.
    Without locks, or a home to write to, nothing is kept away.
    """
    file = _lock()
    try:
        yield
    finally:
        if file:
            file.close()


def _lock() -> IO[bytes] | None:
    """Return the file that is locked while something measures; None where that cannot be."""
    try:
        import fcntl

        folder = home.state_dir()
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"{STATE}.lock").open("wb")
    except (ImportError, OSError):
        return None
    end = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < end:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            time.sleep(0.02)
    return file


def _is_final(machine: Machine) -> bool:
    """Return whether rates are remembered that need no other measurement."""
    is_known = remembered_rates(machine) is not None
    return is_known and not 0 < _busy_runs(machine) < MAX_BUSY_RUNS


def _busy_runs(machine: Machine) -> int:
    """Return how often a busy machine was measured; 0 if nothing was busy the last time."""
    entry = home.read_state(STATE).get(_identity(machine))
    runs = entry.get("busy_runs") if isinstance(entry, dict) else None
    return runs if isinstance(runs, int) and 0 < runs <= MAX_BUSY_RUNS else 0


def _is_busy(machine: Machine) -> bool:
    """Return whether more programs want the cores than there are, on average of a minute."""
    try:
        return os.getloadavg()[0] > machine.cores
    except (AttributeError, OSError):  # Windows; a system that does not say
        return False


def _identity(machine: Machine) -> str:
    """Return the name under which the rates of a machine are remembered."""
    return f"{machine.cpu} × {machine.cores}"


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and MIN_RATE < value < MAX_RATE


def measure_ssd_rate(file: Path, threads: int) -> float:
    """Return the bytes per second at which scattered pieces of ``file`` come from the disk.

    Args:
        file: A large file; what the page cache holds of its pieces is dropped first.
        threads: Threads of a decoder, which fault the pieces in at the same time.

    Returns:
        The rate, or 0 when it cannot be measured.
    """
    if not hasattr(os, "posix_fadvise"):
        return 0.0
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        ):
            starts = _piece_starts(len(mapped))
            for start in starts:
                os.posix_fadvise(opened.fileno(), start, SSD_PIECE, os.POSIX_FADV_DONTNEED)
            return SSD_PIECES * SSD_PIECE / _seconds_to_fault_in(mapped, starts, threads)
    except (OSError, ValueError):
        return 0.0


def _piece_starts(nbytes: int) -> list[int]:
    """Return where the pieces of a file of ``nbytes`` start: page-aligned, the same each time."""
    room = max(1, nbytes - SSD_PIECE)
    starts = [random.Random(n).randrange(room) for n in range(SSD_PIECES)]  # noqa: S311
    return [start // mmap.PAGESIZE * mmap.PAGESIZE for start in starts]


def _seconds_to_fault_in(mapped: mmap.mmap, starts: Sequence[int], threads: int) -> float:
    """Return the seconds until each page of the pieces at ``starts`` has been touched."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    weights = np.frombuffer(mapped, dtype=np.uint8)

    def touch(start: int) -> None:
        weights[start : start + SSD_PIECE : mmap.PAGESIZE].max()  # numpy releases the GIL

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(touch, starts))
    return time.perf_counter() - began
