"""Importance matrices: llama.cpp's GGUF format and the legacy one, as float32 weights per column.

Source: llama.cpp, common/imatrix-loader.cpp and tools/quantize/quantize.cpp (``load_imatrix``).
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
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.tensor_types import GgmlType

MAX_LEGACY = 4 << 30  # bytes
MAX_NAME = 512
MAX_IMPORTANCE = 1e20  # times the square of the largest weight, still far from where float32 ends


@dataclass(frozen=True)
class Imatrix:
    """``entries``: GGUF tensor name to float32 ``[slices, columns]`` flattened, a slice for each
    expert or head.
    """

    file: str
    datasets: tuple[str, ...]
    chunks: int
    entries: Mapping[str, NDArray[np.float32]]

    def slice_of(self, name: str, index: int, columns: int) -> NDArray[np.float32] | None:
        """The weights of one slice of tensor ``name``, or None when the matrix does not know it."""
        values = self.entries.get(name)
        return None if values is None else values[index * columns : (index + 1) * columns]


def load_imatrix(path: Path) -> Imatrix:
    """Reads either format. Raises NotFoundError, GgufError or UsageError naming the file and
    entry.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such importance matrix") from None
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror}") from e
    imatrix = _gguf(path) if magic == b"GGUF" else _legacy(path)
    for name, values in imatrix.entries.items():
        if not np.isfinite(values).all():
            raise UsageError(f"{path.name}: {name}: holds NaN or infinity")
        if values.min() < 0 or values.max() > MAX_IMPORTANCE:  # ggml would abort the process
            raise UsageError(
                f"{path.name}: {name}: holds {values.min():g} to {values.max():g}, which are no mean squares"
            )
    if not imatrix.entries:
        raise UsageError(f"{path.name}: holds no entries")
    return imatrix


def _gguf(path: Path) -> Imatrix:
    header = read_header(path)
    if header.text("general.type") != "imatrix":
        raise UsageError(f"{path.name}: is a GGUF file, but no importance matrix")
    sums: dict[str, NDArray[np.float32]] = {}
    counts: dict[str, NDArray[np.float32]] = {}
    for tensor in header.tensors:
        for suffix, into in ((".in_sum2", sums), (".counts", counts)):
            if tensor.name.endswith(suffix) and tensor.type is GgmlType.F32:
                at = header.data_start + tensor.offset
                into[tensor.name.removesuffix(suffix)] = np.fromfile(
                    path, np.float32, tensor.elements, offset=at
                )
    entries = {}
    for name, total in sums.items():
        count = counts.get(name)
        if count is None or len(total) % len(count):
            raise UsageError(f"{path.name}: {name}: its counts are missing or do not fit")
        rows = total.reshape(len(count), -1)
        count = np.round(count)[:, None]
        entries[name] = (
            np.where(count > 0, rows / np.where(count > 0, count, 1), np.float32(1))
            .astype(np.float32)
            .reshape(-1)
        )
    return Imatrix(path.name, _datasets(header), header.integer("imatrix.chunk_count"), entries)


def _datasets(header: GgufHeader) -> tuple[str, ...]:
    value = header.metadata.get("imatrix.datasets")
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _legacy(path: Path) -> Imatrix:
    size = path.stat().st_size
    if size > MAX_LEGACY:
        raise UsageError(f"{path.name}: {size:,} bytes are too many for an importance matrix")
    data = io.BytesIO(path.read_bytes())

    def number(most: int) -> int:
        raw = data.read(4)
        value = struct.unpack("<i", raw)[0] if len(raw) == 4 else -1
        if not 0 <= value <= most:
            raise UsageError(f"{path.name}: is no importance matrix, or cut off")
        return int(value)

    entries = {}
    for _ in range(number(1 << 20)):
        name = data.read(number(MAX_NAME)).decode("utf-8", "replace")
        calls, n = number(1 << 30), number(size // 4)
        raw = data.read(4 * n)
        if len(raw) != 4 * n or n == 0:
            raise UsageError(f"{path.name}: {name:.80}: cut off")
        values = np.frombuffer(raw, "<f4").astype(np.float32)
        entries[name] = values / np.float32(calls) if calls > 0 else values
    rest = data.read()
    chunks = struct.unpack("<i", rest[:4])[0] if len(rest) >= 8 else 0
    dataset = rest[8:].decode("utf-8", "replace") if len(rest) > 8 else ""
    return Imatrix(path.name, (dataset,) if dataset else (), max(0, chunks), entries)
