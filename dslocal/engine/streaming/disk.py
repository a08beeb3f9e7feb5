"""Read pieces of a model's files in the way that is fastest on their disk.

There are three ways, each with a number of threads. A piece is read past the page cache into our
own memory (O_DIRECT). Or the page cache is asked for the whole piece, which is then waited for. Or
the piece is read through the page cache. The disk decides which is best: all are measured on it, a
few times, with pieces as long as the model's experts, and the result is remembered. On one disk, in
MB/s: page faults 39 to 450, reading with 16 threads 1,435, requesting with 1, 8 and 32 threads
1,112, 3,048 and 4,042.

These are rates while memory is free. Once the page cache has to drop something for each page that
it reads, it gives less: 620 MB/s on a disk that gave 2,100 past it.

The best rate ever measured is not what tokens get: other programs and machines share the disk, and
the threads that read share the cores with those that compute. For forecasts, the chosen way is
therefore measured anew each time, while all cores read memory.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from dslocal import home

from .expert_layout import ExpertLayout, Extent
from .overlay import Overlay
from .system_calls import SystemCalls, file_error, page_buffer

Method = Literal["direct", "request", "read"]

PAGE = mmap.PAGESIZE
RUNS = 3  # times that a disk is measured
STATE = "disk_rates"  # the name under which measurements are remembered
THREADS = (4, 8, 16, 32)
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


@dataclass(frozen=True)
class ReadingWay:
    """How pieces are read.

    Attributes:
        method: past the page cache, or into it, requested whole or read piece by piece.
        threads: how many pieces are read at a time.
        rate: bytes a second that this gives; 0 where it was not measured.
    """

    method: Method = "request"
    threads: int = 16
    rate: float = 0.0


METHODS: tuple[Method, ...] = ("direct", "request", "read")
WAYS = {
    f"{method} {threads}": ReadingWay(method, threads) for method in METHODS for threads in THREADS
}


class DiskReader:
    """Reads pieces of a model's files. Close it, or use it in ``with``; any thread may read."""

    def __init__(self, layout: ExpertLayout, calls: SystemCalls) -> None:
        """Open the files of ``layout``.

        Raises:
            EngineError: One cannot be opened, or is shorter than its header says.
        """
        self.layout = layout
        self.calls = calls
        self.requests = True
        self._fds: list[int] = []
        self._direct_fds: list[int] = []
        self._buffers = threading.local()
        try:
            for path in layout.files:
                try:
                    self._fds.append(calls.open(path))
                except OSError as e:
                    raise file_error(path, e) from e
            self.check_sizes()
            self._open_direct()
        except BaseException:
            self.close()
            raise

    @property
    def is_direct(self) -> bool:
        """Return whether the files can be read past the page cache."""
        return bool(self._direct_fds)

    def __enter__(self) -> DiskReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. May be called again."""
        fds = [*self._fds, *self._direct_fds]
        self._fds, self._direct_fds = [], []
        for fd in fds:
            self.calls.close(fd)

    def check_sizes(self) -> None:
        """Check that no file has been cut off: touching what is gone would kill the process.

        Raises:
            EngineError: One has; the message names it.
        """
        for path, fd, size in zip(self.layout.files, self._fds, self.layout.sizes, strict=True):
            try:
                there = self.calls.size(fd)
            except OSError as e:
                raise file_error(path, e) from e
            if there < size:
                cut = OSError(0, f"it became shorter: {there:,} of {size:,} bytes are left")
                raise file_error(path, cut)

    def fetch(self, extent: Extent, address: int = 0) -> None:
        """Return when a piece is in the page cache.

        Args:
            extent: The piece.
            address: Where it is mapped, if that is known: the pages are mapped then too.

        Raises:
            EngineError: It cannot be read; the message names the file.
        """
        fd = self._fds[extent.file]
        try:
            if self.requests:
                self.calls.request(fd, extent.start, extent.nbytes)
                if address and self.calls.populates:
                    if self.calls.populate(address, extent.nbytes):
                        return
                    self.check_sizes()
            self.calls.read(fd, self._buffer(extent.nbytes), extent.start, extent.nbytes)
        except OSError as e:
            raise file_error(self.layout.files[extent.file], e) from e

    def read_direct(self, extent: Extent, memory: memoryview) -> None:
        """Read whole pages past the page cache.

        Args:
            extent: Where they are.
            memory: Takes them; as long, and at the beginning of a page.

        Raises:
            EngineError: They cannot be read; the message names the file.
        """
        try:
            self.calls.read(self._direct_fds[extent.file], memory, extent.start, extent.nbytes)
        except OSError as e:
            raise file_error(self.layout.files[extent.file], e) from e

    def map_again(self, overlay: Overlay, address: int, extent: Extent) -> None:
        """Hide what ``overlay`` shows at an address: the file's own bytes are there again."""
        overlay.hide(address, self._fds[extent.file], extent.start, extent.nbytes)

    def forget(self, extent: Extent) -> None:
        """Drop a piece from the page cache, where nobody has it mapped."""
        self.calls.forget(self._fds[extent.file], extent.start, extent.nbytes)

    def _open_direct(self) -> None:
        """Open the files for reading past the page cache, where that is possible with all."""
        for path in self.layout.files:
            fd = self.calls.open_direct(path)
            if fd is None:
                break
            self._direct_fds.append(fd)
        else:
            return
        while self._direct_fds:
            self.calls.close(self._direct_fds.pop())

    def _buffer(self, nbytes: int) -> memoryview:
        """Return this thread's buffer, of at least ``nbytes`` bytes, from the start of a page."""
        buffer: memoryview = getattr(self._buffers, "buffer", memoryview(b""))
        if len(buffer) < nbytes:
            buffer = self._buffers.buffer = page_buffer(nbytes)
        return buffer[:nbytes]


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
        seconds: After which no other piece is begun.
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
