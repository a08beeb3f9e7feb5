"""Importance matrices: llama.cpp's GGUF format and the legacy one, as float32 weights per column.

Source: llama.cpp, common/imatrix-loader.cpp (``common_imatrix_load``) and
tools/quantize/quantize.cpp (``load_imatrix``).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import NotFoundError, UsageError
from dslocal.file_kinds import HEAD_BYTES, content_kind
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.tensor_types import GgmlType

Floats = NDArray[np.float32]

MAX_LEGACY_BYTES = 4 << 30
MAX_LEGACY_ENTRIES = 1 << 20
MAX_CALLS = 1 << 30
MAX_NAME = 512  # bytes
# times the square of the largest weight, this is still far from where float32 ends
MAX_IMPORTANCE = 1e20
SUMS, COUNTS = ".in_sum2", ".counts"
CHUNK_COUNT = "imatrix.chunk_count"
DATASETS = "imatrix.datasets"


@dataclass(frozen=True)
class Imatrix:
    """An importance matrix.

    ``entries`` are by GGUF tensor name: float32 ``[slices * columns]``, one slice for each expert
    or head.
    """

    file: str
    datasets: tuple[str, ...]
    chunks: int
    entries: Mapping[str, Floats]


def load_imatrix(path: Path) -> Imatrix:
    """Read an importance matrix of either format.

    Raises:
        NotFoundError: The file does not exist.
        GgufError: It is a damaged GGUF file.
        UsageError: It is not an importance matrix, or an entry makes no sense; it is named.
    """
    imatrix = _read_legacy(path) if is_legacy(path) else _read_gguf(path)
    for name, values in imatrix.entries.items():
        if not np.isfinite(values).all():
            raise UsageError(f"{path.name}: {name}: holds NaN or infinity")
        if values.min() < 0 or values.max() > MAX_IMPORTANCE:  # ggml would abort the process
            raise UsageError(
                f"{path.name}: {name}: holds {values.min():g} to {values.max():g}, "
                "which are not mean squares"
            )
    if not imatrix.entries:
        raise UsageError(f"{path.name}: holds no entries")
    return imatrix


def is_legacy(path: Path) -> bool:
    """Return whether a file is not GGUF, so that it can only be of the legacy format.

    Raises:
        NotFoundError: The file does not exist.
        UsageError: It cannot be read.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UsageError(f"{path}: is not a file")
    try:
        with path.open("rb") as file:
            return file.read(4) != b"GGUF"
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such importance matrix") from None
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror}") from e


def _read_gguf(path: Path) -> Imatrix:
    """Read the means of the GGUF format. Raises UsageError."""
    header = read_imatrix_header(path)
    entries = {
        stored.name: _means(stored.sums, stored.counts) for stored in stored_sums(path, header)
    }
    return Imatrix(path.name, datasets_of(header), header.integer(CHUNK_COUNT), entries)


def read_imatrix_header(path: Path) -> GgufHeader:
    """Read the header of an importance matrix of the GGUF format.

    Raises:
        NotFoundError: The file does not exist.
        GgufError: It is a damaged GGUF file.
        UsageError: It is a GGUF file of another kind.
    """
    header = read_header(path)
    if header.text("general.type") != "imatrix":
        raise UsageError(f"{path.name}: is a GGUF file, but not an importance matrix")
    return header


class StoredSums(NamedTuple):
    """What a GGUF file holds for one tensor: sums ``[slices * columns]`` and counts ``[slices]``.

    ``name`` is the GGUF name of the tensor.
    """

    name: str
    sums: Floats
    counts: Floats


def stored_sums(path: Path, header: GgufHeader) -> Iterator[StoredSums]:
    """Yield the sums and counts of every tensor.

    Raises:
        UsageError: A tensor has sums, but no counts that they can be divided by.
    """
    values = {
        tensor.name: np.fromfile(
            path, np.float32, tensor.elements, offset=header.data_start + tensor.offset
        )
        for tensor in header.tensors
        if tensor.type is GgmlType.F32
    }
    for tensor_name, sums in values.items():
        if not tensor_name.endswith(SUMS):
            continue
        name = tensor_name.removesuffix(SUMS)
        counts = values.get(name + COUNTS)
        if counts is None or not len(counts) or len(sums) % len(counts):
            raise UsageError(f"{path.name}: {name}: its counts are missing or do not fit")
        yield StoredSums(name, sums, counts)


def datasets_of(header: GgufHeader) -> tuple[str, ...]:
    """Return the texts that a matrix was made with, as it names them."""
    value = header.metadata.get(DATASETS)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _means(total: Floats, count: Floats) -> Floats:
    """Return mean squares: sums ``[slices * columns]`` over counts ``[slices]``.

    A slice that nothing was counted for is 1 everywhere.
    """
    rows = total.reshape(len(count), -1)
    count = np.round(count)[:, None]
    means = np.where(count > 0, rows / np.where(count > 0, count, 1), np.float32(1))
    return means.astype(np.float32).reshape(-1)


def _not_an_imatrix(name: str, content: bytes) -> UsageError:
    """Return the error for a file of another kind, which it names if it is recognized."""
    kind = content_kind(content[:HEAD_BYTES], len(content))
    if kind is None:
        return UsageError(f"{name}: is not an importance matrix, or cut off")
    return UsageError(f"{name}: is not an importance matrix, but {kind.what}", hint=kind.hint)


class LegacySums(NamedTuple):
    """What a legacy file holds for one tensor: sums of chunks' mean squares ``[slices * columns]``.

    ``calls`` is how many chunks were summed.
    """

    sums: Floats
    calls: int


class LegacyImatrix(NamedTuple):
    """A legacy file: sums by GGUF name, the texts that were evaluated, and the last chunk."""

    entries: dict[str, LegacySums]
    datasets: tuple[str, ...]
    chunks: int


def _read_legacy(path: Path) -> Imatrix:
    """Read the means of the legacy format. Raises UsageError."""
    legacy = read_legacy(path)
    entries = {
        name: sums / np.float32(calls) if calls > 0 else sums
        for name, (sums, calls) in legacy.entries.items()
    }
    return Imatrix(path.name, legacy.datasets, legacy.chunks, entries)


def read_legacy(path: Path) -> LegacyImatrix:
    """Read the legacy format: little-endian int32 counts, names and float32 sums of means.

    Raises:
        UsageError: It is too large, cut off, or something else.
    """
    size = path.stat().st_size
    if size > MAX_LEGACY_BYTES:
        raise UsageError(f"{path.name}: {size:,} bytes are too many for an importance matrix")
    data = io.BytesIO(path.read_bytes())

    def number(maximum: int) -> int:
        raw = data.read(4)
        value = struct.unpack("<i", raw)[0] if len(raw) == 4 else -1
        if not 0 <= value <= maximum:
            raise _not_an_imatrix(path.name, data.getvalue())
        return int(value)

    entries: dict[str, LegacySums] = {}
    for _ in range(number(MAX_LEGACY_ENTRIES)):
        name = data.read(number(MAX_NAME)).decode("utf-8", "replace")
        calls, n = number(MAX_CALLS), number(size // 4)
        raw = data.read(4 * n)
        if len(raw) != 4 * n or n == 0:
            raise UsageError(f"{path.name}: {name:.80}: cut off")
        values = np.frombuffer(raw, "<f4").astype(np.float32)
        entries[name] = LegacySums(values, calls)
    rest = data.read()
    chunks = struct.unpack("<i", rest[:4])[0] if len(rest) >= 8 else 0
    dataset = rest[8:].decode("utf-8", "replace") if len(rest) > 8 else ""
    return LegacyImatrix(entries, (dataset,) if dataset else (), max(0, chunks))
