"""safetensors headers, read without trusting them.

The safetensors library needs torch for bf16 and FP8 and opens whole local files; here only the
header is read (8 bytes of length and JSON), from anything that gives bytes of it, and every way in
which it can lie is an error that names file and tensor. Source of the rules: safetensors' own
``TensorIndexer``/``Metadata::validate``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import NamedTuple, TypeGuard

from dslocal.errors import CheckpointError

from .config import short_repr

MAX_HEADER = 100_000_000  # bytes; safetensors' own limit
MAX_DIMS = 8
MAX_NAME = 512  # characters
DTYPE_BYTES = {
    **{
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
    },
    **{"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I8": 1, "U8": 1, "BOOL": 1},
}


class TensorInfo(NamedTuple):
    """Where a tensor lies. ``shape`` is row-major; ``start`` counts bytes from the beginning of
    ``file``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    start: int
    nbytes: int


def read_shard_header(
    read: Callable[[int, int], bytes], size: int, file: str
) -> dict[str, TensorInfo]:
    """The tensors of one shard of ``size`` bytes, by name. ``read`` gives bytes by start and count,
    ``file`` is the shard's name.

    Raises CheckpointError when the shard is cut off, its header is no safetensors header, or its
    tensors do not tile the rest.
    """
    start = read(0, min(8, size))
    if len(start) < 8:
        raise CheckpointError(
            f"is cut off or empty ({size:,} bytes)", file=file, hint="download the shard again"
        )
    length = int(struct.unpack("<Q", start)[0])
    if length > MAX_HEADER:
        raise CheckpointError(
            f"claims a header of {length:,} bytes; safetensors allows {MAX_HEADER:,}", file=file
        )
    if length > size - 8:
        raise CheckpointError(
            f"claims a header of {length:,} bytes in a file of {size:,}",
            file=file,
            hint="download the shard again",
        )
    try:
        header = json.loads(read(8, length).decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"its header is not valid JSON ({e})", file=file) from None
    if not isinstance(header, dict):
        raise CheckpointError("its header is not a JSON object", file=file)
    header.pop("__metadata__", None)
    tensors = {name: _tensor(name, entry, file, 8 + length) for name, entry in header.items()}
    end, before = 8 + length, ""
    for tensor in sorted(tensors.values(), key=lambda t: (t.start, t.nbytes)):
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
    return tensors


def _tensor(name: str, entry: object, file: str, data_start: int) -> TensorInfo:
    def fail(why: str) -> CheckpointError:
        return CheckpointError(why, file=file, tensor=name)

    if not name.isprintable() or len(name) > MAX_NAME:
        raise CheckpointError(f"has a tensor with an unusable name {name[:80]!r}", file=file)
    if not isinstance(entry, dict):
        raise fail("its entry is not an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise fail(f"unknown dtype {short_repr(dtype)}")
    if not _naturals(shape) or len(shape) > MAX_DIMS:
        raise fail(f"impossible shape {short_repr(shape)}")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise fail(f"impossible data_offsets {short_repr(offsets)}")
    nbytes = DTYPE_BYTES[dtype]
    for n in shape:
        nbytes *= n
    if nbytes != offsets[1] - offsets[0]:
        raise fail(
            f"{dtype} {shape} takes {nbytes:,} bytes, its offsets span {offsets[1] - offsets[0]:,}"
        )
    return TensorInfo(name, dtype, tuple(shape), file, data_start + offsets[0], nbytes)


def _naturals(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 63 for n in value
    )


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:80]!r} occurs twice")
        found[key] = value
    return found
