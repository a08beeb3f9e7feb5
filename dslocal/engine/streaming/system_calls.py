"""The system calls that reading ahead needs, on Linux and on macOS, behind one interface.

``calls_for(platform)`` gives those of a platform; None for Windows, where weights are read through
the mapping alone. Those of macOS were tested with recorded calls, and have not been run on a Mac.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import struct
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from dslocal.errors import EngineError

MADV_RANDOM = 1  # on both systems
MADV_POPULATE_READ = 22  # Linux 5.14 and newer, asm-generic/mman-common.h
F_RDADVISE = 44  # macOS, sys/fcntl.h
RADVISORY = "=qi4x"  # struct radvisory: off_t ra_offset; int ra_count
PIECE_BYTES = 128 << 10  # of a request, where the device's own limit is not known
MAX_PIECE_BYTES = 16 << 20
KIB = 1 << 10
IN_CORE = 1  # the bit of a page that is in RAM, in what mincore returns


class SystemCalls(ABC):
    """System calls on files and on mapped memory. Offsets and lengths are bytes."""

    populates = False  # whether the system has the call of :meth:`populate`

    def __init__(self) -> None:
        """Open the system's own library."""
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self._libc.mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

    def open(self, path: Path) -> int:
        """Return a descriptor for reading pieces of a file in any order.

        Raises:
            OSError: It cannot be opened.
        """
        return os.open(path, os.O_RDONLY)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def size(self, fd: int) -> int:
        """Return the bytes of a file."""
        return os.fstat(fd).st_size

    def open_direct(self, path: Path) -> int | None:
        """Return a descriptor for reading past the page cache; None where that is not possible."""
        return None

    def read(self, fd: int, buffer: memoryview, start: int, nbytes: int) -> None:
        """Read a piece of a file into ``buffer``, and into the page cache unless ``fd`` is direct.

        Raises:
            OSError: It cannot be read, or the file ends before.
        """
        done = 0
        while done < nbytes:
            count = os.preadv(fd, [buffer[done:nbytes]], start + done)
            if count == 0:
                raise OSError(errno.EIO, "the file is shorter than its header says")
            done += count

    @abstractmethod
    def request(self, fd: int, start: int, nbytes: int) -> None:
        """Have the system read a piece of a file into the page cache, and return at once."""

    @abstractmethod
    def populate(self, address: int, nbytes: int) -> bool:
        """Map pages of a file, and wait until they are read.

        Returns:
            Whether that is done; False where a page cannot be read, or the system has no such call.
        """

    def advise_random(self, address: int, nbytes: int) -> None:
        """Have the system read a missing page of mapped memory without its neighbours."""
        self._libc.madvise(*_whole_pages(address, nbytes), MADV_RANDOM)

    def missing(self, address: int, nbytes: int) -> int:
        """Return how many bytes of mapped memory are not in the page cache."""
        start, length = _whole_pages(address, nbytes)
        pages = np.empty(-(-length // mmap.PAGESIZE), np.uint8)
        if self._libc.mincore(start, length, pages.ctypes.data):
            return nbytes
        absent = len(pages) - int(np.count_nonzero(pages & IN_CORE))
        return min(nbytes, absent * mmap.PAGESIZE)

    def can_see_residency(self, path: Path) -> bool:
        """Return whether :meth:`missing` is right about a file.

        For a file that belongs to others and cannot be written to, Linux says that all of it is in
        RAM (mm/mincore.c, ``can_do_mincore``).
        """
        return os.geteuid() in (0, path.stat().st_uid) or os.access(path, os.W_OK)

    def lock(self, address: int, nbytes: int) -> bool:
        """Lock mapped memory in RAM; return whether the system allowed it."""
        return not self._libc.mlock(*_whole_pages(address, nbytes))

    @abstractmethod
    def forget(self, fd: int, start: int, nbytes: int) -> None:
        """Have the system drop a piece of a file from the page cache, where it has such a call."""


class LinuxCalls(SystemCalls):
    """Linux: posix_fadvise, and madvise with MADV_POPULATE_READ."""

    populates = True

    def open(self, path: Path) -> int:
        """See :meth:`SystemCalls.open`. What is read is what was asked for, no neighbours."""
        fd = super().open(path)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return fd

    def open_direct(self, path: Path) -> int | None:
        """See :meth:`SystemCalls.open_direct`. Some file systems refuse it, some when reading."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        except OSError:
            return None
        try:
            os.preadv(fd, [page_buffer(mmap.PAGESIZE)], 0)
        except OSError:
            os.close(fd)
            return None
        return fd

    def request(self, fd: int, start: int, nbytes: int) -> None:
        """See :meth:`SystemCalls.request`.

        The kernel reads at most as much as the device takes at once, and silently drops the rest
        (mm/readahead.c, ``force_page_cache_ra``), so it gets pieces of that size.
        """
        piece = _piece_bytes(os.fstat(fd).st_dev)
        for offset in range(0, nbytes, piece):
            os.posix_fadvise(
                fd, start + offset, min(piece, nbytes - offset), os.POSIX_FADV_WILLNEED
            )

    def populate(self, address: int, nbytes: int) -> bool:
        """See :meth:`SystemCalls.populate`."""
        return not self._libc.madvise(*_whole_pages(address, nbytes), MADV_POPULATE_READ)

    def forget(self, fd: int, start: int, nbytes: int) -> None:
        """See :meth:`SystemCalls.forget`."""
        os.posix_fadvise(fd, start, nbytes, os.POSIX_FADV_DONTNEED)


class MacCalls(SystemCalls):
    """macOS: F_RDADVISE, which the kernel answers at once; :meth:`read` then waits for the bytes.

    Args:
        fcntl: The system's fcntl; a test hands over one that records.
    """

    def __init__(self, fcntl: Any = None) -> None:
        """Use the system's own fcntl, or another."""
        super().__init__()
        if fcntl is None:
            from fcntl import fcntl
        self._fcntl = fcntl

    def request(self, fd: int, start: int, nbytes: int) -> None:
        """See :meth:`SystemCalls.request`."""
        self._fcntl(fd, F_RDADVISE, struct.pack(RADVISORY, start, nbytes))

    def populate(self, address: int, nbytes: int) -> bool:
        """Return False: macOS has no such call."""
        return False

    def forget(self, fd: int, start: int, nbytes: int) -> None:
        """Do nothing: macOS has no such call."""


def calls_for(platform: str = sys.platform) -> SystemCalls | None:
    """Return the calls of a platform; None where experts cannot be read ahead."""
    if platform == "linux":
        return LinuxCalls()
    return MacCalls() if platform == "darwin" else None


def page_buffer(nbytes: int) -> memoryview:
    """Return memory of its own that begins with a page."""
    return memoryview(mmap.mmap(-1, nbytes))


def file_error(path: Path, error: OSError) -> EngineError:
    """Return the error for a model's file that cannot be read any more."""
    reason = error.strerror or str(error)
    return EngineError(
        f"{path.name}: cannot be read: {reason}",
        hint="if the disk is not damaged, download or convert the model again",
    )


def _whole_pages(address: int, nbytes: int) -> tuple[int, int]:
    """Return the start and length of the pages that these bytes lie on."""
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    return start, address + nbytes - start


@functools.lru_cache(maxsize=64)
def _piece_bytes(device: int) -> int:
    """Return how many bytes the kernel reads ahead at most for one request to a device."""
    folder = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for queue in (folder / "queue", folder.resolve().parent / "queue"):
        limits = [_number(queue / name) for name in ("read_ahead_kb", "max_sectors_kb")]
        if max(limits):
            return min(max(limits) * KIB, MAX_PIECE_BYTES)
    return PIECE_BYTES


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
