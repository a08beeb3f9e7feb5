"""Keep what every token needs in RAM, and give the rest of it to the experts.

Attention, shared experts, routers and output are read for every token. They are locked where the
system lets the process lock so much, else read once, so that the page cache has them: what is used
for every token is what it drops last.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence

import numpy as np

from .disk import DiskReader
from .expert_layout import Extent

TOUCH_BYTES = 4 << 20  # that are read at a time
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
    reader: DiskReader, addresses: Sequence[int], extents: Iterable[Extent], ram: int
) -> int:
    """Lock pieces of a model in RAM, or read them once.

    Args:
        reader: Reads the model's files.
        addresses: Where each file is mapped.
        extents: The pieces.
        ram: The bytes of RAM that there are.

    Returns:
        The bytes that are locked.

    Raises:
        EngineError: A piece cannot be read.
    """
    wanted = sorted(extents)
    may_lock = sum(extent.nbytes for extent in wanted) <= MAX_LOCKED_SHARE * ram
    locked = 0
    for extent in wanted:
        for start in range(extent.start, extent.start + extent.nbytes, TOUCH_BYTES):
            end = min(start + TOUCH_BYTES, extent.start + extent.nbytes)
            reader.fetch(Extent(extent.file, start, end - start))
        may_lock = may_lock and reader.calls.lock(
            addresses[extent.file] + extent.start, extent.nbytes
        )
        locked += extent.nbytes if may_lock else 0
    return locked
