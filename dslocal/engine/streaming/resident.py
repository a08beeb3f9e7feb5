"""Keep what every token needs in RAM, and leave the rest of the RAM to the experts.

Attention, shared experts, routers and output are read for every token. They are locked where the
system lets the process lock that much, else read once, so that the page cache has them: it drops
last what is used for every token.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from .disk.reader import DiskReader
from .expert_layout import Extent
from .read_queue import ReadQueue, Urgency

PART_BYTES = 4 << 20  # that a thread reads at a time
NO_LAYER = -1
MAX_LOCKED_SHARE = 0.6  # of the RAM: more would leave too little for everything else


class MappedFiles:
    """A model's files, mapped for reading for as long as something refers to ``maps``."""

    def __init__(self, reader: DiskReader) -> None:
        """Map the files of ``reader``."""
        self.maps: dict[int, mmap.mmap] = {}
        self.addresses: list[int] = []
        for number, path in enumerate(reader.layout.files):
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.maps[number] = mapped
            self.addresses.append(int(np.frombuffer(mapped, np.uint8).ctypes.data))


def keep_resident(
    reader: DiskReader, addresses: Sequence[int], extents: Iterable[Extent], ram: int, threads: int
) -> int:
    """Read pieces of a model, where they are missing, and lock them in RAM if that is allowed.

    Args:
        reader: Reads the model's files.
        addresses: Where each file is mapped.
        extents: The pieces.
        ram: The bytes of RAM of the machine.
        threads: How many read at a time.

    Returns:
        The bytes that are locked.

    Raises:
        EngineError: A piece cannot be read.
    """
    wanted = _joined(extents)
    queue = ReadQueue(threads)
    try:
        reads = [
            partial(reader.fetch, part, addresses[part.file] + part.start)
            for extent in wanted
            for part in _parts(extent)
            if reader.calls.missing(addresses[part.file] + part.start, part.nbytes)
        ]
        queue.submit(reads, Urgency.NOW, NO_LAYER).wait(lambda: False)
    finally:
        queue.close()
    if sum(extent.nbytes for extent in wanted) > MAX_LOCKED_SHARE * ram:
        return 0
    locked = 0
    for extent in wanted:
        if not reader.calls.lock(addresses[extent.file] + extent.start, extent.nbytes):
            break
        locked += extent.nbytes
    return locked


def _joined(extents: Iterable[Extent]) -> list[Extent]:
    """Return extents in order, those that follow each other within a page as one.

    Linux locks a folio at once if all of it is locked by one call; the memory of others it
    reports as free until it tries to take it.
    """
    joined: list[Extent] = []
    for extent in sorted(extents):
        last = joined[-1] if joined else None
        end = last.start + last.nbytes if last else 0
        if last and last.file == extent.file and extent.start - end < mmap.PAGESIZE:
            nbytes = extent.start + extent.nbytes - last.start
            joined[-1] = last._replace(nbytes=nbytes)
        else:
            joined.append(extent)
    return joined


def _parts(extent: Extent) -> Iterator[Extent]:
    """Yield parts of a piece that are read one by one."""
    for offset in range(0, extent.nbytes, PART_BYTES):
        nbytes = min(PART_BYTES, extent.nbytes - offset)
        yield Extent(extent.file, extent.start + offset, nbytes)
