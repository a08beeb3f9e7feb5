"""What decoding reads a second on this machine, measured once on nano and remembered.

One thread decodes nano, whose weights a core reads about as fast as those of a large model
(measured: 8.7 to 12 GB/s on nano, 8.9 to
10.8 on a 1.6 GB mixture of experts), so that times the cores, or what the memory gives when all
cores read it, is what the RAM tier gives. The SSD is measured on the file that would be read from
it, through the page faults that reading it mapped means.
"""

from __future__ import annotations

import mmap
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import home
from dslocal.catalog import resolve
from dslocal.errors import DslocalError
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.bandwidth import SSD, ram_bandwidth
from dslocal.plan.machine.machine import Machine
from dslocal.plan.speed import SMALL_READ, Rates, read_once

if TYPE_CHECKING:
    from .model import LlamaModel

STATE = "rates"
TOKENS = 48
SCALING = 0.9  # of one core's rate that each of several reaches
SAMPLE = 96 << 20  # bytes that show what the memory gives
PIECE = 4 << 20  # about one expert's matrix
PIECES = 24


def measured_rates(machine: Machine) -> Rates | None:
    """The rates of this machine; None when they cannot be measured, as without room for nano."""
    known = home.read_state(STATE)
    identity = f"{machine.cpu} × {machine.cores}"
    entry = known.get(identity)
    if isinstance(entry, dict) and all(_is_rate(entry.get(tier)) for tier in ("ram", "ssd")):
        return Rates(0.0, float(entry["ram"]), float(entry["ssd"]))
    try:
        rates = Rates(0.0, _ram(machine), SSD * SMALL_READ)
    except (DslocalError, OSError):
        return None
    home.write_state(
        STATE,
        {
            **known,
            identity: {"ram": rates.ram, "ssd": rates.ssd, "one_core": rates.ram / machine.cores},
        },
    )
    return rates


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and 1e6 < value < 1e15


def measure_ssd_rate(file: Path, threads: int) -> float:
    """Bytes a second that scattered pieces of ``file`` come at when none of it is in memory, as
    ``threads`` of a decoder fault them in.

    0 when that cannot be found out.
    """
    if not hasattr(os, "posix_fadvise"):
        return 0.0
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        ):
            places = [
                random.Random(n).randrange(max(1, len(mapped) - PIECE))  # noqa: S311
                // mmap.PAGESIZE
                * mmap.PAGESIZE
                for n in range(PIECES)
            ]
            for place in places:
                os.posix_fadvise(opened.fileno(), place, PIECE, os.POSIX_FADV_DONTNEED)
            return PIECES * PIECE / _faulting(mapped, places, threads)
    except (OSError, ValueError):
        return 0.0


def _faulting(mapped: mmap.mmap, places: Sequence[int], threads: int) -> float:
    """Seconds until every page of the pieces at ``places`` has been touched."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    weights = np.frombuffer(mapped, dtype=np.uint8)
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the GIL
        list(pool.map(lambda place: weights[place : place + PIECE : mmap.PAGESIZE].max(), places))
    return time.perf_counter() - began


def _ram(machine: Machine) -> float:
    from .model import LlamaModel

    with LlamaModel(resolve.ready(resolve.DEFAULT)) as model:
        one = _decoding(model)
    most = (ram_bandwidth(machine) or _reading(machine.cores)) * 0.85
    return min(one * machine.cores * (SCALING if machine.cores > 1 else 1.0), most)


def _decoding(model: LlamaModel) -> float:
    """Bytes a second that one thread reads while decoding."""
    from .context import LlamaContext

    with LlamaContext(model, 512, n_threads=1) as context:
        context.evaluate([0])
        seconds = []
        for token in range(TOKENS):
            began = time.perf_counter()
            context.evaluate((100 + token,))
            seconds.append(time.perf_counter() - began)
    return read_once(model.header, LoadConfig(512)) / sorted(seconds)[TOKENS // 4]


def _reading(cores: int) -> float:
    """Bytes a second that all cores read together from memory that no cache holds."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    data = np.ones(SAMPLE // 8, dtype=np.float64)
    parts = np.array_split(data, cores)
    with ThreadPoolExecutor(cores) as pool:
        best = 0.0
        for _ in range(3):
            began = time.perf_counter()
            list(pool.map(np.max, parts))
            best = max(best, data.nbytes / (time.perf_counter() - began))
    return best
