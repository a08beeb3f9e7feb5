"""How fast are V4's FP4 experts repacked to MXFP4? GB of source a second and core.

    python tests/benchmarks/fp4_repack.py [FILE]

One thread's CPU time for units of work as the converter cuts them; the best of several. A plain
copy of the same bytes is timed beside it. With FILE, one of at least 256 MB, the speed of reading
it past the page cache is printed too. Ends with 1 below 1 GB/s and below the disk's speed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dslocal.convert.checkpoint.safetensors import FP4_BLOCK
from dslocal.convert.fp4 import repack
from dslocal.convert.work_units import UNIT_WEIGHTS

COLUMNS = 4096  # of V4-Flash's gate and up
REPEATS = 200
TARGET = 1.0  # GB/s
READ_BYTES = 256 << 20


def least_seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of several runs."""
    found = []
    for _ in range(REPEATS):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return min(found)


def disk_speed(path: Path) -> float:
    """Return GB/s of reading a file whose pages were dropped from the cache."""
    with path.open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        buffer = bytearray(8 << 20)
        done = 0
        began = time.perf_counter()
        while done < READ_BYTES and (count := file.readinto(buffer)):
            done += count
        return done / (time.perf_counter() - began) / 1e9


def main() -> None:
    """Print the speeds."""
    r = np.random.default_rng(1)
    raw = r.integers(0, 256, UNIT_WEIGHTS // 2, np.uint8)
    rows = UNIT_WEIGHTS // COLUMNS
    scales = r.integers(110, 130, (rows, COLUMNS // FP4_BLOCK), np.uint8)
    nbytes = raw.nbytes + scales.nbytes
    speed = nbytes / least_seconds(lambda: repack(raw, scales)) / 1e9
    copying = raw.nbytes / least_seconds(raw.copy) / 1e9
    print(f"repacking: {speed:.2f} GB/s of source a core; copying: {copying:.2f} GB/s")
    needed = TARGET
    if len(sys.argv) > 1:
        disk = disk_speed(Path(sys.argv[1]))
        print(f"the disk: {disk:.2f} GB/s")
        needed = min(needed, disk)
    sys.exit(speed < needed)


if __name__ == "__main__":
    main()
