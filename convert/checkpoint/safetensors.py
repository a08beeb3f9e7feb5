"""safetensors headers, read without trusting them.

The safetensors library needs torch for bf16 and FP8 and opens whole local files. Here only the
header is read (8 bytes of length and JSON), from anything that gives bytes of it, and every way in
which it can lie is an error that names file and tensor. Source of the rules: safetensors' own
``SafeTensors::read_metadata`` and ``Metadata::validate``.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeGuard

from dslocal.errors import CheckpointError
from dslocal.file_kinds import HEAD_BYTES, content_kind
from dslocal.files import json_integer

from .config import short_repr

MAX_HEADER = 100_000_000  # bytes; safetensors' own limit
MAX_DIMS = 8
MAX_NAME = 512  # characters
FP8 = "F8_E4M3"
FP4 = "FP4"  # our name of it: the files call two weights a byte I8
FP4_BLOCK = 32  # weights that share a scale
E8M0 = "F8_E8M0"  # a power of two in a byte
SCALED = (FP8, FP4)  # types whose weights have scales beside them
INTEGERS = ("I64", "I32")
DTYPE_BYTES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "BF16": 2,
    "F16": 2,
    "I16": 2,
    "U16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_LENGTH_BYTES = 8


class TensorInfo(NamedTuple):
    """Where a tensor lies.

    ``shape`` is row-major; ``start`` counts bytes from the beginning of ``file``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    start: int
    nbytes: int

    @property
    def columns(self) -> int:
        """Return the weights of one step in the first dimension: a vector has rows of one."""
        return self.shape[-1] if len(self.shape) > 1 else 1

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one step in the first dimension."""
        return self.nbytes // self.shape[0]


def read_shard_header(
    read: Callable[[int, int], bytes], size: int, file: str
) -> dict[str, TensorInfo]:
    """Read the tensor table of one shard.

    Args:
        read: Returns bytes of the shard by start and count.
        size: The shard's length in bytes.
        file: The shard's name.

    Returns:
        The tensors by name.

    Raises:
        CheckpointError: The shard is cut off, its header is not a safetensors header, or its
            tensors do not cover the rest of the file exactly.
    """
    length = _header_length(read, size, file)
    header = _parse(read(_LENGTH_BYTES, length), file)
    header.pop("__metadata__", None)
    data_start = _LENGTH_BYTES + length
    tensors = {name: _tensor(name, entry, file, data_start) for name, entry in header.items()}
    _check_cover(tensors.values(), data_start, size, file)
    return tensors


def _header_length(read: Callable[[int, int], bytes], size: int, file: str) -> int:
    """Return how long the header is; name the file for what it is where that cannot be."""
    start = read(0, min(_LENGTH_BYTES, size))
    length = int(struct.unpack("<Q", start)[0]) if len(start) == _LENGTH_BYTES else -1
    is_possible = 0 <= length <= min(MAX_HEADER, size - _LENGTH_BYTES)
    if is_possible and length:
        return length
    kind = content_kind(read(0, min(HEAD_BYTES, size)), size) if start else None
    if kind is not None:
        raise CheckpointError(
            f"is not a safetensors file, but {kind.what}", file=file, hint=kind.hint
        )
    if is_possible:
        return length
    if length < 0:
        raise CheckpointError(
            f"is cut off or empty ({size:,} bytes)", file=file, hint="download the shard again"
        )
    if length > MAX_HEADER:
        raise CheckpointError(
            f"claims a header of {length:,} bytes; safetensors allows {MAX_HEADER:,}", file=file
        )
    raise CheckpointError(
        f"claims a header of {length:,} bytes in a file of {size:,}",
        file=file,
        hint="download the shard again",
    )


def _parse(data: bytes, file: str) -> dict[str, object]:
    try:
        header = json.loads(data.decode(), parse_int=json_integer, object_pairs_hook=_distinct_keys)
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"its header is not valid JSON ({e})", file=file) from None
    if not isinstance(header, dict):
        raise CheckpointError("its header is not a JSON object", file=file)
    return header


def _distinct_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:80]!r} occurs twice")
        found[key] = value
    return found


def _check_cover(tensors: Iterable[TensorInfo], data_start: int, size: int, file: str) -> None:
    """Check that tensors follow each other without a gap to the end. Raises CheckpointError."""
    end, before = data_start, ""
    for tensor in sorted(tensors, key=lambda t: (t.start, t.nbytes)):
        if tensor.start < end:
            raise CheckpointError(f"overlaps {before}", file=file, tensor=tensor.name)
        if tensor.start > end:
            raise CheckpointError(
                f"leaves a gap of {tensor.start - end:,} bytes before it",
                file=file,
                tensor=tensor.name,
            )
        end, before = tensor.start + tensor.nbytes, tensor.name
        if end > size:
            raise CheckpointError(
                f"ends at byte {end:,}, the file has {size:,}",
                file=file,
                tensor=tensor.name,
                hint="the shard is cut off: download it again",
            )
    if end != size:
        raise CheckpointError(f"has {size - end:,} bytes that belong to no tensor", file=file)


def _tensor(name: str, entry: object, file: str, data_start: int) -> TensorInfo:
    """Check one entry of the table. Raises CheckpointError."""

    def error(why: str) -> CheckpointError:
        return CheckpointError(why, file=file, tensor=name)

    if not name.isprintable() or len(name) > MAX_NAME:
        raise CheckpointError(f"has a tensor with an unusable name {name[:80]!r}", file=file)
    if not isinstance(entry, dict):
        raise error("its entry is not an object")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise error(f"unknown dtype {short_repr(dtype)}")
    shape = entry.get("shape")
    if not _are_naturals(shape) or len(shape) > MAX_DIMS:
        raise error(f"impossible shape {short_repr(shape)}")
    offsets = entry.get("data_offsets")
    if not _are_naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise error(f"impossible data_offsets {short_repr(offsets)}")
    start, stop = offsets
    nbytes = DTYPE_BYTES[dtype] * math.prod(shape)
    if nbytes != stop - start:
        raise error(f"{dtype} {shape} takes {nbytes:,} bytes, its offsets span {stop - start:,}")
    return TensorInfo(name, dtype, tuple(shape), file, data_start + start, nbytes)


def _are_naturals(value: object) -> TypeGuard[list[int]]:
    """Return whether it is a list of numbers from 0 that fit into 63 bits."""
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 63 for n in value
    )
