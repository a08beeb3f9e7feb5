"""Keep experts in memory of our own, read past the page cache (O_DIRECT). Linux only.

The page cache costs more than it brings once the memory is full: for each page that is read,
another one must be found, unmapped everywhere and freed. On the machine where the ways were
compared, in a cgroup that was full, that took 0.65 seconds of a core for each GB, and the disk gave
0.6 GB/s of its 2.1. Here the memory of the expert that was not used for longest is used again, as
it is, for the one that is read: 0.1 seconds for each GB, at the disk's full rate.

An expert that is not kept is seen through the mapped file, as llama.cpp mapped it. So nothing can
be read wrong: what was not read ahead is only slow.

The first and the last page of an expert hold bytes of its neighbours too. They are read and shown
with each of them, and stay until none of these is kept. If they were left to the page cache, a full
memory would drop them: a token then waited 130 times for a page fault, behind the reads of whole
experts.
"""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Callable

from .disk.reader import DiskReader
from .expert_layout import ExpertTensor, Extent
from .overlay import Overlay
from .piece_pool import ExpertKey, PiecePool, PieceUse, make_pools
from .store import ExpertStore

PAGE = mmap.PAGESIZE
CHECK_SECONDS = 1.0  # between two looks at how much memory is left

_owned: set[int] = set()  # addresses of tensors, of all stores: only one may replace their pages
_owned_lock = threading.Lock()


class OwnMemory(ExpertStore):
    """Keeps experts while there is memory. Close it before the model is freed."""

    def __init__(self, reader: DiskReader, room: Callable[[], int]) -> None:
        """Set addresses aside; memory is taken when experts are read.

        Args:
            reader: Reads the model's files.
            room: Returns the bytes that may be taken in addition to what is taken already; less
                than 0 where some are to be given back.

        Raises:
            OSError: The system has no such memory.
        """
        self._reader = reader
        self._room = room
        self._lock = threading.Lock()
        self._addresses: dict[str, int] = {}
        self._loading: dict[ExpertKey, threading.Event] = {}
        # By the address of a page that experts share: those that are kept, and where that page is.
        self._sharers: dict[int, dict[ExpertKey, int]] = {}
        self._uses = 0
        self._layer = -1  # that has chosen its experts last
        self._is_scan = False  # whether whole layers are read one after the other
        self._pools = make_pools(reader.layout)
        self._overlay = Overlay(sum(p.n_pieces * p.piece_bytes for p in self._pools.values()))
        self._allowed = 0
        self._checked = -CHECK_SECONDS
        self.begin_graph()

    @property
    def held_bytes(self) -> int:
        """Return the RAM that is taken."""
        return sum(pool.held_bytes for pool in self._pools.values())

    def place(self, tensor: ExpertTensor, address: int) -> None:
        """See :meth:`ExpertStore.place`. A tensor that another store has is left to it."""
        self._reader.calls.advise_random(address, tensor.nbytes)
        if (address - tensor.start) % PAGE:  # not mapped from a page of the file on
            return
        with _owned_lock:
            if address in _owned:
                return
            _owned.add(address)
        self._addresses[tensor.name] = address

    def use(self, tensor: ExpertTensor, expert: int) -> int:
        """See :meth:`ExpertStore.use`."""
        one = ExpertKey(tensor, expert)
        pool = self._pools[tensor.expert_bytes]
        with self._lock:
            kept = pool.find(one)
            if kept is None:
                return tensor.expert_bytes
            self._uses += 1
            pool.keep(one, kept._replace(used=self._uses))
            return 0

    def missing(self, tensor: ExpertTensor, expert: int) -> int:
        """See :meth:`ExpertStore.missing`."""
        kept = self._pools[tensor.expert_bytes].find(ExpertKey(tensor, expert))
        return 0 if kept else tensor.expert_bytes

    def fetch(self, tensor: ExpertTensor, expert: int) -> None:
        """See :meth:`ExpertStore.fetch`."""
        one = ExpertKey(tensor, expert)
        while True:
            with self._lock:
                if self._pools[tensor.expert_bytes].find(one):
                    return
                loading = self._loading.get(one)
                if loading is None:
                    position = self._piece_for(one)
                    if position is not None:
                        self._loading[one] = threading.Event()
                    break
            loading.wait()  # another thread reads it; if that fails, this one tries
        if position is None:
            self._fetch_into_page_cache(one)
        else:
            self._fetch_into(one, position)

    def begin_graph(self) -> None:
        """See :meth:`ExpertStore.begin_graph`."""
        self._adapt_to_machine()

    def begin_layer(self, layer: int, *, whole: bool) -> None:
        """See :meth:`ExpertStore.begin_layer`.

        A prompt can fill the memory within one graph, whose own buffers take memory meanwhile.
        """
        self._layer, self._is_scan = layer, whole
        self._adapt_to_machine()

    def close(self) -> None:
        """Show the file everywhere, and give all memory back."""
        with self._lock:
            for pool in self._pools.values():
                while self._make_free(pool) is not None:
                    pass
            self._overlay.close()
            with _owned_lock:
                _owned.difference_update(self._addresses.values())
            self._addresses.clear()

    def _adapt_to_machine(self) -> None:
        """Allow more memory to be taken, or give some back, if that was not done just now."""
        if time.monotonic() - self._checked < CHECK_SECONDS:
            return
        with self._lock:
            self._allowed = max(0, self.held_bytes + self._room())
            for pool in self._pools.values():
                while pool.held_bytes > self._allowed * pool.share:
                    position = pool.free.pop() if pool.free else self._make_free(pool)
                    if position is None:
                        break
                    self._overlay.give_back(position, pool.piece_bytes)
                    pool.given_back.append(position)
            self._checked = time.monotonic()

    def _piece_for(self, one: ExpertKey) -> int | None:
        """Return a piece for an expert; None where there is none for it. Holds the lock."""
        if one.tensor.name not in self._addresses or not one.extent.whole_pages().nbytes:
            return None
        pool = self._pools[one.tensor.expert_bytes]
        position = pool.grow(self._allowed)
        return self._make_free(pool) if position is None else position

    def _make_free(self, pool: PiecePool) -> int | None:
        """Return the piece of an expert that is no longer kept; None if none is kept.

        While whole layers are read in turn, what was used last is needed last. Holds the lock.
        """
        one = pool.furthest_ahead(self._layer) if self._is_scan else pool.longest_unused()
        if one is None:
            return None
        try:
            self._hide(one)
        except OSError:  # as many mappings as the system allows: it is kept for now
            return None
        return pool.kept[one.tensor.layer].pop(one).position

    def _fetch_into(self, one: ExpertKey, position: int) -> None:
        """Read an expert into a piece of memory, and show it to llama.cpp."""
        pool, pages = self._pools[one.tensor.expert_bytes], self._pages(one)
        is_shown = False
        try:
            self._fetch_rest(one, pages)
            with self._overlay.writable(position, pages.nbytes) as piece:
                self._reader.read_direct(pages, piece)
            with self._lock:
                is_shown = self._show(one, position)
        finally:
            with self._lock:
                if not is_shown:
                    pool.free.append(position)
                self._loading.pop(one).set()
        if is_shown:
            self._reader.calls.populate(self._address(one, pages), pages.nbytes)
        else:
            self._fetch_into_page_cache(one)

    def _show(self, one: ExpertKey, position: int) -> bool:
        """Show an expert that was read to ``position``, and keep it. Holds the lock.

        Returns:
            False where the system refuses: as many mappings as it allows. The file is there still.
        """
        pages = self._pages(one)
        try:
            self._overlay.show(self._address(one, pages), position, pages.nbytes)
        except OSError:
            return False
        for page in _shared_pages(one.extent, pages):
            sharers = self._sharers.setdefault(self._address(one, page), {})
            sharers[one] = position + page.start - pages.start
        self._uses += 1
        self._pools[one.tensor.expert_bytes].keep(one, PieceUse(position, self._uses))
        return True

    def _hide(self, one: ExpertKey) -> None:
        """Show the file in place of an expert, and neighbours that are kept on pages of theirs.

        Holds the lock.

        Raises:
            OSError: The system refuses; part of the expert may be shown still.
        """
        pages = self._pages(one)
        start, end = pages.start, pages.start + pages.nbytes
        shared = _shared_pages(one.extent, pages)
        for page in shared:
            address = self._address(one, page)
            others = [at for other, at in self._sharers[address].items() if other != one]
            if others:
                self._overlay.show(address, others[0], PAGE)
                if page.start == pages.start:
                    start += PAGE
                else:
                    end -= PAGE
        inner = Extent(pages.file, start, end - start)
        self._reader.map_again(self._overlay, self._address(one, inner), inner)
        for page in shared:
            address = self._address(one, page)
            del self._sharers[address][one]
            if not self._sharers[address]:
                del self._sharers[address]

    def _pages(self, one: ExpertKey) -> Extent:
        """Return the pages that an expert is shown with: all it lies on that its file has whole."""
        pages = one.extent.covering_pages()
        is_cut = pages.start + pages.nbytes > self._reader.layout.sizes[pages.file]
        return pages._replace(nbytes=pages.nbytes - PAGE) if is_cut else pages

    def _fetch_rest(self, one: ExpertKey, pages: Extent) -> None:
        """Read what of an expert lies on the last, incomplete page of a file."""
        extent, end = one.extent, pages.start + pages.nbytes
        rest = extent.start + extent.nbytes - end
        if rest > 0:
            piece = Extent(extent.file, end, rest)
            self._reader.fetch(piece, self._address(one, piece))

    def _fetch_into_page_cache(self, one: ExpertKey) -> None:
        extent = one.extent
        known = one.tensor.name in self._addresses
        self._reader.fetch(extent, self._address(one, extent) if known else 0)

    def _address(self, one: ExpertKey, piece: Extent) -> int:
        """Return where a piece of an expert is mapped."""
        return self._addresses[one.tensor.name] + piece.start - one.tensor.start


def _shared_pages(extent: Extent, pages: Extent) -> list[Extent]:
    """Return those of ``pages``, which an expert lies on, that hold other bytes too."""
    end = extent.start + extent.nbytes
    first = [pages.start] if extent.start > pages.start else []
    last = [pages.start + pages.nbytes - PAGE] if end < pages.start + pages.nbytes else []
    return [Extent(extent.file, start, PAGE) for start in (*first, *last)]
