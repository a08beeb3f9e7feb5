"""Memory of this process that llama.cpp sees in place of pieces of the model's file. Linux only.

llama.cpp has the file mapped, and its tensors point into that mapping. A piece of memory is shown
at such an address by one ``mmap`` with MAP_FIXED, and hidden again by another, which maps the
file's own bytes there as before. Both replace the pages at once, so whoever reads there meanwhile
sees the same bytes. The memory is a file without a name (``memfd_create``), which can be mapped in
two places: here, where it is written, and there, where it is read.

These calls are short, and keep Python's lock (GIL). If they gave it up, the threads that read would
wait for each other's turns longer than for the calls: a read then took 1.4 ms of a thread's time
besides the disk's, against 0.6 ms.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any

MAP_FIXED = 0x10  # asm-generic/mman-common.h, as are the others
MADV_RANDOM = 1
MADV_REMOVE = 9
FAILED = ctypes.c_void_p(-1).value


class Overlay:
    """Memory in pieces that are shown elsewhere. All positions and lengths are whole pages.

    Only what was written takes RAM. Close it after everything is hidden.
    """

    def __init__(self, nbytes: int) -> None:
        """Set the addresses of ``nbytes`` aside.

        Raises:
            OSError: The system has no such memory.
        """
        self._libc: Any = ctypes.PyDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = (
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_long,
        )
        self._libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._fd = os.memfd_create("dslocal-experts", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._fd, nbytes)
            self._own = mmap.mmap(self._fd, nbytes)
        except BaseException:
            os.close(self._fd)
            raise
        self._view = memoryview(self._own)

    def writable(self, position: int, nbytes: int) -> memoryview:
        """Return a piece of the memory, for writing. Release it before the overlay is closed."""
        return self._view[position : position + nbytes]

    def show(self, address: int, position: int, nbytes: int) -> None:
        """Show a piece of the memory at an address, for reading; its pages are mapped when touched.

        Raises:
            OSError: The system refuses; what was there before is there still.
        """
        self._map(address, nbytes, self._fd, position)

    def hide(self, address: int, fd: int, start: int, nbytes: int) -> None:
        """Map a file at an address again, from its byte ``start`` on, to be read in any order.

        Raises:
            OSError: The system refuses; what was there before is there still.
        """
        self._map(address, nbytes, fd, start)
        self._libc.madvise(address, nbytes, MADV_RANDOM)

    def give_back(self, position: int, nbytes: int) -> None:
        """Give the RAM of a piece back to the system. Its bytes are lost."""
        self._own.madvise(MADV_REMOVE, position, nbytes)

    def close(self) -> None:
        """Give all RAM back."""
        self._view.release()
        self._own.close()
        os.close(self._fd)

    def _map(self, address: int, nbytes: int, fd: int, start: int) -> None:
        mode = mmap.MAP_SHARED | MAP_FIXED
        if self._libc.mmap(address, nbytes, mmap.PROT_READ, mode, fd, start) == FAILED:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
