"""Measure in which way pieces of a model's files are read fastest from their disk.

All ways are measured, a few times, with pieces as long as the model's experts, and the result is
remembered. On one disk, in MB/s: page faults 39 to 450, reading with 16 threads 1,435, requesting
with 1, 8 and 32 threads 1,112, 3,048 and 4,042.

These are rates while memory is free. Once the page cache has to drop something for each page that
it reads, it gives less: 620 MB/s on a disk that gave 2,100 past it.

The best rate ever measured is not what tokens get: other programs and machines share the disk, and
the threads that read share the cores with those that compute. For forecasts, the chosen way is
therefore measured again each time, while all cores read memory.
"""

from __future__ import annotations

import mmap
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dslocal import home

from ..expert_layout import ExpertLayout, Extent
from ..system_calls import page_buffer
from .reader import WAYS, DiskReader, Method, ReadingWay

PAGE = mmap.PAGESIZE
RUNS = 3  # times that a disk is measured
STATE = "disk_rates"  # the name under which measurements are remembered
SAMPLE_BYTES = 96 << 20  # that one way of reading is measured on
SAMPLE_SECONDS = 0.4  # after which it has been measured long enough
LOADED_SAMPLE_BYTES = 2 << 30  # that the chosen way is measured on, while the cores are busy
LOADED_SECONDS = 1.0  # after which that is long enough
LOAD_BYTES = 48 << 20  # that each core reads meanwhile, again and again
MIN_SAMPLE_BYTES = 8 << 20  # fewer bytes say nothing
MIN_SPEEDUP = 1.05  # of a way with more threads over the best one before it
MIN_RATE, MAX_RATE = 1e5, 1e12  # bytes a second; anything else in the state file is damage
# The share of the page cache's rate, measured while memory is free, from which on reading past it
# is chosen: a full one gives less than a third of that.
DIRECT_SHARE = 0.5


def best_way(reader: DiskReader, mapped: Sequence[int]) -> ReadingWay:
    """Return the way to read a model's experts, as measured on its disk.

    It is measured the first few times; then what was measured is taken. Other work on the machine
    can only make a way slower, so that the best of its measurements counts.

    Args:
        reader: Reads the model's files.
        mapped: Where each file is mapped, for reading.
    """
    key = _key(reader.layout)
    known = _parsed(home.read_state(STATE).get(key))
    if known.runs < RUNS:
        pieces = _missing_pieces(reader, mapped)
        rates = dict(known.rates)
        for name, way in WAYS.items():
            if way.method == "direct" and not reader.is_direct:
                continue
            rate = _measure(reader, _sample(pieces, SAMPLE_BYTES), way, SAMPLE_SECONDS)
            rates[name] = max(rate, rates.get(name, 0.0))
        if any(rates.values()):
            known = _Measurements(known.runs + 1, rates)
            entry = {"runs": known.runs, "rates": known.rates}
            home.write_state(STATE, {**home.read_state(STATE), key: entry})
    direct = _fastest(known.rates, ("direct",)) if reader.is_direct else None
    cached = _fastest(known.rates, ("request", "read"))
    if direct and direct.rate >= DIRECT_SHARE * (cached.rate if cached else 0.0):
        return direct
    return cached or ReadingWay("direct" if reader.is_direct else "request")


def rate_under_load(
    reader: DiskReader, mapped: Sequence[int], way: ReadingWay, cores: int
) -> float:
    """Return the bytes a second that a way gives now, while cores read memory as for a token.

    Args:
        reader: Reads the model's files.
        mapped: Where each file is mapped, for reading.
        way: How it reads.
        cores: How many cores are busy.

    Returns:
        The rate; 0 where there is too little to read.
    """
    pieces = _missing_pieces(reader, mapped)
    if way.method == "direct":  # which does not look into the page cache
        pieces = ((extent, 0) for extent in _pieces(reader))
    sample = _sample(pieces, LOADED_SAMPLE_BYTES)
    with _load(cores):
        return _measure(reader, sample, way, LOADED_SECONDS)


@contextmanager
def _load(cores: int) -> Iterator[None]:
    """Have each of so many cores read memory, as one that multiplies does."""
    values, is_over = np.ones(LOAD_BYTES // 4, np.float32), threading.Event()

    def add_up() -> None:
        while not is_over.is_set():
            values.sum()  # numpy releases the GIL

    threads = [threading.Thread(target=add_up, daemon=True) for _ in range(cores)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _fastest(rates: Mapping[str, float], methods: Sequence[Method]) -> ReadingWay | None:
    """Return the fastest way that was measured; more threads must be clearly faster."""
    found: ReadingWay | None = None
    for name, way in WAYS.items():
        rate = rates.get(name, 0.0)
        if way.method in methods and rate > (found.rate * MIN_SPEEDUP if found else 0.0):
            found = replace(way, rate=rate)
    return found


class _Measurements(NamedTuple):
    """How often a disk was measured, and the best rate of each way, by its name."""

    runs: int
    rates: dict[str, float]


def _parsed(entry: Any) -> _Measurements:
    """Return what was measured before; nothing where that is damaged."""
    nothing = _Measurements(0, {})
    if not isinstance(entry, dict):
        return nothing
    runs, rates = entry.get("runs"), entry.get("rates")
    if not isinstance(runs, int) or not 0 < runs <= RUNS or not isinstance(rates, dict):
        return nothing
    known = {name: rate for name, rate in rates.items() if name in WAYS and _is_rate(rate)}
    return _Measurements(runs, known) if known else nothing


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and MIN_RATE < value < MAX_RATE


def _key(layout: ExpertLayout) -> str:
    """Return the name of a disk and of a size of pieces, rounded to a power of two."""
    path = next(layout.files[tensor.file] for layer in layout.layers.values() for tensor in layer)
    return f"{_disk(path)} {_piece_bytes(layout).bit_length()}"


def _disk(path: Path) -> str:
    """Return what tells the file system of ``path`` from others, also after a restart."""
    try:
        about = os.statvfs(path)
    except OSError:
        return "unknown"
    return f"{about.f_fsid:x}-{about.f_blocks:x}"


def _piece_bytes(layout: ExpertLayout) -> int:
    return max(tensor.expert_bytes for layer in layout.layers.values() for tensor in layer)


def _pieces(reader: DiskReader) -> Iterator[Extent]:
    """Yield all experts in random order."""
    tensors = [tensor for layer in reader.layout.layers.values() for tensor in layer]
    experts = [(tensor, n) for tensor in tensors for n in range(tensor.n_experts)]
    random.shuffle(experts)
    for tensor, expert in experts:
        yield tensor.extent(expert)


def _missing_pieces(reader: DiskReader, mapped: Sequence[int]) -> Iterator[tuple[Extent, int]]:
    """Yield experts in random order that are not in the page cache, each with its address."""
    for extent in _pieces(reader):
        address = mapped[extent.file] + extent.start
        reader.forget(extent)
        if reader.calls.missing(address, extent.nbytes) >= extent.nbytes // 2:
            yield extent, address


def _sample(pieces: Iterator[tuple[Extent, int]], nbytes: int) -> list[tuple[Extent, int]]:
    """Return the next pieces that have so many bytes together; fewer where no more are left."""
    sample: list[tuple[Extent, int]] = []
    while nbytes > 0:
        piece = next(pieces, None)
        if piece is None:
            break
        sample.append(piece)
        nbytes -= piece[0].nbytes
    return sample


def _measure(
    reader: DiskReader, sample: Sequence[tuple[Extent, int]], way: ReadingWay, seconds: float
) -> float:
    """Return the bytes a second of one way on some pieces; 0 where they have too few bytes.

    Args:
        reader: Reads the model's files.
        sample: The pieces, each with its address.
        way: How it reads.
        seconds: How long pieces are started; those that are being read are finished.
    """
    if sum(extent.nbytes for extent, _ in sample) < MIN_SAMPLE_BYTES:
        return 0.0
    reader.requests = way.method == "request"
    buffers = threading.local()
    largest = max(extent.nbytes for extent, _ in sample) + PAGE
    began = time.perf_counter()

    def fetch(piece: tuple[Extent, int]) -> int:
        if time.perf_counter() - began > seconds:
            return 0
        if way.method != "direct":
            reader.fetch(*piece)
            return piece[0].nbytes
        pages = piece[0].whole_pages()
        if not hasattr(buffers, "memory"):
            buffers.memory = page_buffer(largest)
        reader.read_direct(pages, buffers.memory[: pages.nbytes])
        return pages.nbytes

    with ThreadPoolExecutor(way.threads) as pool:
        nbytes = sum(pool.map(fetch, sample))
    return nbytes / (time.perf_counter() - began)
