"""Importance matrices: llama.cpp's GGUF format and the legacy one, as float32 weights per column.

Source: llama.cpp, common/imatrix-loader.cpp (``common_imatrix_load``) and
tools/quantize/quantize.cpp (``load_imatrix``).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UsageError(f"{path}: is not a file")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such importance matrix") from None
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror}") from e
    imatrix = _read_gguf(path) if magic == b"GGUF" else _read_legacy(path)
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


def _read_gguf(path: Path) -> Imatrix:
    """Read the GGUF format: a sum of squares and a count for each entry. Raises UsageError."""
    header = read_header(path)
    if header.text("general.type") != "imatrix":
        raise UsageError(f"{path.name}: is a GGUF file, but no importance matrix")
    sums = _read_tensors(path, header, ".in_sum2")
    counts = _read_tensors(path, header, ".counts")
    entries = {}
    for name, total in sums.items():
        count = counts.get(name)
        if count is None or len(total) % len(count):
            raise UsageError(f"{path.name}: {name}: its counts are missing or do not fit")
        entries[name] = _means(total, count)
    return Imatrix(path.name, _datasets(header), header.integer("imatrix.chunk_count"), entries)


def _read_tensors(path: Path, header: GgufHeader, suffix: str) -> dict[str, Floats]:
    """Return the float32 tensors whose names end in ``suffix``, by the name before it."""
    found: dict[str, Floats] = {}
    for tensor in header.tensors:
        if tensor.name.endswith(suffix) and tensor.type is GgmlType.F32:
            start = header.data_start + tensor.offset
            values = np.fromfile(path, np.float32, tensor.elements, offset=start)
            found[tensor.name.removesuffix(suffix)] = values
    return found


def _means(total: Floats, count: Floats) -> Floats:
    """Return mean squares: sums ``[slices * columns]`` over counts ``[slices]``.

    A slice that nothing was counted for is 1 everywhere.
    """
    rows = total.reshape(len(count), -1)
    count = np.round(count)[:, None]
    means = np.where(count > 0, rows / np.where(count > 0, count, 1), np.float32(1))
    return means.astype(np.float32).reshape(-1)


def _datasets(header: GgufHeader) -> tuple[str, ...]:
    value = header.metadata.get("imatrix.datasets")
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _not_an_imatrix(name: str, content: bytes) -> UsageError:
    """Return the error for a file of another kind, named for what it is where that can be told."""
    kind = content_kind(content[:HEAD_BYTES], len(content))
    if kind is None:
        return UsageError(f"{name}: is not an importance matrix, or cut off")
    return UsageError(f"{name}: is not an importance matrix, but {kind.what}", hint=kind.hint)


def _read_legacy(path: Path) -> Imatrix:
    """Read the legacy format: little-endian int32 counts, names and float32 sums of means."""
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

    entries = {}
    for _ in range(number(MAX_LEGACY_ENTRIES)):
        name = data.read(number(MAX_NAME)).decode("utf-8", "replace")
        calls, n = number(MAX_CALLS), number(size // 4)
        raw = data.read(4 * n)
        if len(raw) != 4 * n or n == 0:
            raise UsageError(f"{path.name}: {name:.80}: cut off")
        values = np.frombuffer(raw, "<f4").astype(np.float32)
        entries[name] = values / np.float32(calls) if calls > 0 else values
    rest = data.read()
    chunks = struct.unpack("<i", rest[:4])[0] if len(rest) >= 8 else 0
    dataset = rest[8:].decode("utf-8", "replace") if len(rest) > 8 else ""
    return Imatrix(path.name, (dataset,) if dataset else (), max(0, chunks), entries)
