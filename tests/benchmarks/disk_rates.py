"""What a disk gives to reads of single experts, and what a process has had read from it."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dslocal.engine.streaming.disk.reader import ReadingWay
    from dslocal.engine.streaming.expert_layout import Extent

DISK_SECONDS = 1.5  # that the disk is measured for, each time
BUSY_BYTES = 48 << 20  # that each core reads meanwhile, again and again


def record_reads() -> list[tuple[float, float]]:
    """Return a list that grows by the begin and end of each read past the page cache."""
    from dslocal.engine.streaming.disk.reader import DiskReader

    read, times = DiskReader.read_direct, []

    def timed(self: DiskReader, extent: Extent, memory: memoryview) -> None:
        began = time.perf_counter()
        read(self, extent, memory)
        times.append((began, time.perf_counter()))

    DiskReader.read_direct = timed  # type: ignore[method-assign]
    return times


def covered(times: list[tuple[float, float]]) -> float:
    """Return the seconds in which at least one of these was going on."""
    total, last = 0.0, 0.0
    for began, ended in sorted(times):
        total += max(0.0, ended - max(began, last))
        last = max(last, ended)
    return total


def disk_rate(path: Path, way: ReadingWay) -> float:
    """Return the bytes a second that the disk gives to reads of single experts, at random."""
    from concurrent.futures import ThreadPoolExecutor

    from dslocal.engine.streaming.disk.reader import DiskReader
    from dslocal.engine.streaming.expert_layout import read_layout
    from dslocal.engine.streaming.system_calls import LinuxCalls, page_buffer

    layout = read_layout(path)
    tensors = [tensor for layer in layout.layers.values() for tensor in layer]
    began = time.perf_counter()

    def read(number: int) -> int:
        chance, done = random.Random(number), 0
        buffer = page_buffer(max(tensor.expert_bytes for tensor in tensors))
        while time.perf_counter() - began < DISK_SECONDS:
            tensor = chance.choice(tensors)
            pages = tensor.extent(chance.randrange(tensor.n_experts)).whole_pages()
            reader.read_direct(pages, buffer[: pages.nbytes])
            done += pages.nbytes
        return done

    with DiskReader(layout, LinuxCalls()) as reader, ThreadPoolExecutor(way.threads) as pool:
        nbytes = sum(pool.map(read, range(way.threads)))
        return nbytes / (time.perf_counter() - began)


def busy_disk_rate(path: Path, way: ReadingWay) -> float:
    """Return what :func:`disk_rate` does while every core reads memory."""
    import numpy as np

    values, done = np.ones(BUSY_BYTES // 4, np.float32), threading.Event()

    def add_up() -> None:
        while not done.is_set():
            values.sum()

    workers = [threading.Thread(target=add_up) for _ in range(os.cpu_count() or 1)]
    for worker in workers:
        worker.start()
    try:
        return disk_rate(path, way)
    finally:
        done.set()
        for worker in workers:
            worker.join()


def bytes_read() -> int:
    """Return what this process has had read from disks so far, ahead or by page faults."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def forget(path: Path) -> None:
    """Drop the file from the page cache, and nothing else."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
