"""Keep experts that were read, in the page cache or in memory of our own."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .disk.reader import DiskReader
from .expert_layout import ExpertTensor


class ExpertStore(ABC):
    """Reads experts, keeps them, and knows which it has. Any thread may use it."""

    @abstractmethod
    def place(self, tensor: ExpertTensor, address: int) -> None:
        """Take note of where llama.cpp has a tensor mapped."""

    @abstractmethod
    def use(self, tensor: ExpertTensor, expert: int) -> int:
        """Return how many bytes of an expert have to be read, now that it is needed."""

    @abstractmethod
    def missing(self, tensor: ExpertTensor, expert: int) -> int:
        """Return how many bytes of an expert have to be read, which may be needed later."""

    @abstractmethod
    def fetch(self, tensor: ExpertTensor, expert: int) -> None:
        """Return when an expert can be used without waiting for the disk.

        Raises:
            EngineError: It cannot be read; the message names the file.
        """

    @abstractmethod
    def begin_graph(self) -> None:
        """Do what is due from time to time; called before the first layer of each graph."""

    @abstractmethod
    def begin_layer(self, layer: int, *, whole: bool) -> None:
        """Take note that a layer has chosen its experts; ``whole`` says: nearly all of them."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is kept."""


class PageCache(ExpertStore):
    """The system's cache of files: it drops what was not used for longest, and copies nothing."""

    def __init__(self, reader: DiskReader) -> None:
        """Keep what ``reader`` reads."""
        self._reader = reader
        self._addresses: dict[str, int] = {}
        self._sees_residency = all(
            reader.calls.can_see_residency(path) for path in reader.layout.files
        )

    def place(self, tensor: ExpertTensor, address: int) -> None:
        """See :meth:`ExpertStore.place`."""
        self._addresses[tensor.name] = address
        self._reader.calls.advise_random(address, tensor.nbytes)

    def use(self, tensor: ExpertTensor, expert: int) -> int:
        """See :meth:`ExpertStore.use`."""
        return self.missing(tensor, expert)

    def missing(self, tensor: ExpertTensor, expert: int) -> int:
        """See :meth:`ExpertStore.missing`. All of it where the system does not say."""
        address = self._address(tensor, expert)
        if address and self._sees_residency:
            return self._reader.calls.missing(address, tensor.expert_bytes)
        return tensor.expert_bytes

    def fetch(self, tensor: ExpertTensor, expert: int) -> None:
        """See :meth:`ExpertStore.fetch`."""
        self._reader.fetch(tensor.extent(expert), self._address(tensor, expert))

    def _address(self, tensor: ExpertTensor, expert: int) -> int:
        """Return where an expert is mapped; 0 while that is not known."""
        address = self._addresses.get(tensor.name, 0)
        return address + expert * tensor.expert_bytes if address else 0

    def begin_graph(self) -> None:
        """See :meth:`ExpertStore.begin_graph`. The system sees to everything."""

    def begin_layer(self, layer: int, *, whole: bool) -> None:
        """See :meth:`ExpertStore.begin_layer`."""

    def close(self) -> None:
        """See :meth:`ExpertStore.close`. What was read stays in the page cache."""
