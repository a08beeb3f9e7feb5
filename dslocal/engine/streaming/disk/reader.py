"""Read pieces of a model's files.

There are three ways, each with a number of threads. A piece is read past the page cache into our
own memory (O_DIRECT). Or the page cache is asked for the whole piece, which is then waited for. Or
the piece is read through the page cache. :mod:`.measurement` finds out which is fastest.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from ..expert_layout import ExpertLayout, Extent
from ..overlay import Overlay
from ..system_calls import SystemCalls, file_error, page_buffer

Method = Literal["direct", "request", "read"]

THREADS = (4, 8, 16, 32)


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
