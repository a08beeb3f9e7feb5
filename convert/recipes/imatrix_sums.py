"""Sums of squared activations with their counts: what an importance matrix is made of.

Sums and counts, unlike means, can be added: a run is continued, and matrices of several texts are
merged. The file is llama.cpp's GGUF format. Source: llama.cpp, tools/imatrix/imatrix.cpp
(``save_imatrix`` and ``load_imatrix``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from dslocal.errors import EngineError, UsageError
from dslocal.files import sync_folder

from .imatrix import (
    CHUNK_COUNT,
    COUNTS,
    DATASETS,
    SUMS,
    datasets_of,
    is_legacy,
    read_imatrix_header,
    read_legacy,
    stored_sums,
)

CHUNK_SIZE = "imatrix.chunk_size"
IDENTITY = "dslocal.imatrix.identity"
LEGACY_CHUNK = 512  # tokens: what llama-imatrix evaluates, and the legacy format does not say
CHUNKS_DONE = "dslocal.imatrix.chunks_done"


@dataclass
class ChannelSums:
    """What was summed for one weight tensor.

    Attributes:
        sums: Sums of squares by input channel: float32 ``[slices, channels]``.
        counts: How many activations each was summed over: int64 ``[slices]`` for experts, and
            ``[1]`` for all slices of any other tensor.
    """

    sums: NDArray[np.float32]
    counts: NDArray[np.int64]

    @classmethod
    def zeros(cls, slices: int, channels: int, counts: int) -> ChannelSums:
        """Return empty sums."""
        return cls(np.zeros((slices, channels), np.float32), np.zeros(counts, np.int64))

    def add(self, other: ChannelSums, name: str) -> None:
        """Add what was summed elsewhere for the same tensor.

        Raises:
            UsageError: The shapes differ.
        """
        if self.sums.size != other.sums.size or len(other.counts) not in (1, len(self.counts)):
            raise UsageError(
                f"{name}: {other.sums.size:,} sums and {len(other.counts):,} counts, where this "
                f"model has {self.sums.size:,} and {len(self.counts):,}",
                hint="an importance matrix of another model",
            )
        self.sums += other.sums.reshape(self.sums.shape)
        self.counts += other.counts


@dataclass
class ImatrixSums:
    """An importance matrix that can still grow.

    Attributes:
        chunk_size: The tokens of a chunk.
        entries: The sums by the weight tensor's GGUF name.
        datasets: The texts that were evaluated, by file name.
        identity: What a partial run evaluates; empty for a finished matrix.
        chunks_done: How many chunks a partial run has evaluated.
    """

    chunk_size: int
    entries: dict[str, ChannelSums] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    identity: str = ""
    chunks_done: int = 0

    @property
    def chunks(self) -> int:
        """Return how many chunks the largest count amounts to, as llama.cpp counts them."""
        largest = max((int(entry.counts.max()) for entry in self.entries.values()), default=0)
        return largest // self.chunk_size

    def merge(self, other: ImatrixSums) -> None:
        """Add another matrix of the same model.

        Raises:
            UsageError: It belongs to a model of another shape.
        """
        for name, entry in other.entries.items():
            known = self.entries.get(name)
            if known is None:
                self.entries[name] = ChannelSums(entry.sums.copy(), entry.counts.copy())
            else:
                known.add(entry, name)
        self.datasets = (*self.datasets, *other.datasets)

    def require_finite(self) -> None:
        """Raise EngineError, naming the tensor, where a sum is NaN or infinite."""
        for name, entry in self.entries.items():
            if not np.isfinite(entry.sums).all():
                raise EngineError(
                    f"{name}: its input holds NaN or infinity", hint="the file may be damaged"
                )

    def unseen(self) -> Iterator[tuple[str, list[int]]]:
        """Yield every tensor with slices that no token reached, and the numbers of these."""
        for name, entry in sorted(self.entries.items()):
            missing = np.flatnonzero(entry.counts == 0).tolist()
            if missing:
                yield name, missing


def read_sums(path: Path) -> ImatrixSums:
    """Read an importance matrix with its sums and counts.

    The legacy format has neither: its means count as often as chunks were evaluated, for all
    experts alike, as in llama-imatrix.

    Raises:
        NotFoundError: The file does not exist.
        GgufError: It is damaged.
        UsageError: It is not an importance matrix, or its sums make no sense.
    """
    if is_legacy(path):
        return _legacy_sums(path)
    header = read_imatrix_header(path)
    entries = {}
    for stored in stored_sums(path, header):
        if not _are_sums(stored.sums) or not _are_sums(stored.counts):
            raise UsageError(f"{path.name}: {stored.name}: its sums and counts are not valid")
        counts = np.rint(stored.counts).astype(np.int64)
        entries[stored.name] = ChannelSums(stored.sums.reshape(len(counts), -1), counts)
    chunk_size = header.integer(CHUNK_SIZE)
    if not entries or chunk_size <= 0:
        raise UsageError(f"{path.name}: holds no sums")
    return ImatrixSums(
        chunk_size,
        entries,
        datasets_of(header),
        header.text(IDENTITY) or "",
        header.integer(CHUNKS_DONE) if CHUNKS_DONE in header.metadata else 0,
    )


def _legacy_sums(path: Path) -> ImatrixSums:
    """Return sums and counts for the means of a legacy file. Raises UsageError."""
    legacy = read_legacy(path)
    entries = {}
    for name, (sums, calls) in legacy.entries.items():
        if calls <= 0 or not _are_sums(sums):
            raise UsageError(f"{path.name}: {name}: its sums and counts are not valid")
        counts = np.array([calls * LEGACY_CHUNK], np.int64)
        entries[name] = ChannelSums(sums.reshape(1, -1) * np.float32(LEGACY_CHUNK), counts)
    if not entries:
        raise UsageError(f"{path.name}: holds no sums")
    return ImatrixSums(LEGACY_CHUNK, entries, legacy.datasets)


def write_sums(path: Path, matrix: ImatrixSums) -> None:
    """Write a matrix in llama.cpp's GGUF format: beside its place, synced, then renamed.

    Raises:
        OSError: The disk refuses it; what was there stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        _write(beside, matrix)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from e  # not the file that nobody named
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write(path: Path, matrix: ImatrixSums) -> None:
    writer = GGUFWriter(path, "")
    writer.kv_data[0].clear()  # llama.cpp writes no architecture here
    writer.add_type("imatrix")
    if matrix.datasets:
        writer.add_array(DATASETS, list(matrix.datasets))
    writer.add_uint32(CHUNK_COUNT, matrix.chunks)
    writer.add_uint32(CHUNK_SIZE, matrix.chunk_size)
    if matrix.identity:
        writer.add_string(IDENTITY, matrix.identity)
        writer.add_uint32(CHUNKS_DONE, matrix.chunks_done)
    for name, entry in sorted(matrix.entries.items(), key=lambda item: item[0].encode()):
        sums = entry.sums.reshape(len(entry.counts), -1)
        counts = entry.counts.astype(np.float32)[:, None]
        is_single = len(counts) == 1  # llama.cpp writes no dimension of 1 at the end
        writer.add_tensor(name + SUMS, sums[0] if is_single else sums)
        writer.add_tensor(name + COUNTS, counts[0] if is_single else counts)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _are_sums(values: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(values).all() and values.min() >= 0)
