"""Measure what decoding reads per second on this machine, and remember it.

It is measured once. If other programs kept the cores busy meanwhile, it is measured again the next
few times that it is asked for: they can only make it slower, so the best measurement counts.

The rate of the RAM tier comes from decoding a small reference model in one thread. A core reads
its weights about as fast as those of a large model: 8.7 to 12 GB/s were measured on nano,
8.9 to 10.8 GB/s on a 1.6 GB mixture of experts. That rate times the cores, at most what the memory
gives when all cores read it, is the rate of the RAM tier. The SSD is measured on the file that
would be read from it, through the page faults that reading a mapped file causes.

Knows no model names: the caller hands over the reference model's file.
"""

from __future__ import annotations

import mmap
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import home
from dslocal.errors import DslocalError
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.bandwidth import SSD_BANDWIDTH, ram_bandwidth
from dslocal.plan.machine.machine import Machine
from dslocal.plan.speed import SMALL_READ, Rates, weight_bytes_per_token

if TYPE_CHECKING:
    from dslocal.engine.model import LlamaModel

STATE = "rates"  # the name under which rates are remembered
CONTEXT_TOKENS = 512
DECODED_TOKENS = 48
FIRST_TOKEN = 100  # an ordinary text token; which one does not matter
CORE_SCALING = 0.9  # share of one core's rate that each of several cores reaches
BANDWIDTH_SHARE = 0.85  # share of the memory's bandwidth that decoding reaches
MAX_BUSY_RUNS = 8  # measurements on a busy machine, after which the best of them is final
RAM_SAMPLE = 96 << 20  # bytes, more than any cache holds
RAM_PASSES = 3  # the fastest pass counts
SSD_PIECE = 4 << 20  # bytes, about one expert's matrix
SSD_PIECES = 24
MIN_RATE, MAX_RATE = 1e6, 1e15  # bytes per second; anything else in the state file is damage


def measured_rates(machine: Machine, reference_model: Callable[[], Path]) -> Rates | None:
    """Return the rates of this machine: remembered ones, or measured now and remembered.

    Args:
        machine: this machine, as probed.
        reference_model: Returns the GGUF file of a small model. Called only to measure, since it
            may have to convert the model first.

    Returns:
        The rates, or None when they cannot be measured, for example when the reference model
        cannot be written.
    """
    known = remembered_rates(machine)
    busy_runs = _busy_runs(machine)
    if known and not 0 < busy_runs < MAX_BUSY_RUNS:
        return known
    try:
        ram = _measure_ram_rate(machine, reference_model())
    except (DslocalError, OSError):
        return known
    rates = Rates(0.0, max(ram, known.ram if known else 0.0), SSD_BANDWIDTH * SMALL_READ)
    entry = {
        "ram": rates.ram,
        "ssd": rates.ssd,
        "one_core": rates.ram / machine.cores,
        "busy_runs": busy_runs + 1 if _is_busy(machine) else 0,
    }
    home.write_state(STATE, {**home.read_state(STATE), _identity(machine): entry})
    return rates


def remembered_rates(machine: Machine) -> Rates | None:
    """Return the rates that were measured on this machine before; None where none were."""
    entry = home.read_state(STATE).get(_identity(machine))
    if isinstance(entry, dict) and all(_is_rate(entry.get(tier)) for tier in ("ram", "ssd")):
        return Rates(0.0, float(entry["ram"]), float(entry["ssd"]))
    return None


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


def _measure_ram_rate(machine: Machine, reference_model: Path) -> float:
    """Return the bytes per second that all cores together read from RAM while decoding."""
    from dslocal.engine.model import LlamaModel

    with LlamaModel(reference_model) as model:
        one_core = _measure_decoding_rate(model)
    bandwidth = ram_bandwidth(machine) or _measure_bandwidth(machine.cores)
    scaling = CORE_SCALING if machine.cores > 1 else 1.0
    return min(one_core * machine.cores * scaling, bandwidth * BANDWIDTH_SHARE)


def _measure_decoding_rate(model: LlamaModel) -> float:
    """Return the bytes per second that one thread reads while decoding."""
    from dslocal.engine.context import LlamaContext

    with LlamaContext(model, CONTEXT_TOKENS, n_threads=1) as context:
        context.evaluate([0])
        seconds = []
        for n in range(DECODED_TOKENS):
            began = time.perf_counter()
            context.evaluate((FIRST_TOKEN + n,))
            seconds.append(time.perf_counter() - began)
    first_quartile = sorted(seconds)[DECODED_TOKENS // 4]  # other processes only slow it down
    return weight_bytes_per_token(model.header, LoadConfig(CONTEXT_TOKENS)) / first_quartile


def _measure_bandwidth(cores: int) -> float:
    """Return the bytes per second that all cores read together from memory that no cache holds."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    data = np.ones(RAM_SAMPLE // 8, dtype=np.float64)
    parts = np.array_split(data, cores)
    best = 0.0
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(RAM_PASSES):
            began = time.perf_counter()
            list(pool.map(np.max, parts))
            best = max(best, data.nbytes / (time.perf_counter() - began))
    return best
