"""A safe reader of GGUF headers: metadata and tensor table, from a file or from the first bytes of
one.

A GGUF file is hostile until checked. Every count and length is bounded by the bytes that are really
there before anything of that size is made; types, names, shapes and offsets are checked; nothing is
executed. Weights are not read. Source of the format: ggml/docs/gguf.md (version 2 and 3, little
endian).
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from dslocal.errors import GgufError

from .tensor_types import GgmlType

SAMPLES, SAMPLE = 64, 4096  # of the weights, in bytes each, for a fingerprint
MAX_DIMS = 4
MAX_DEPTH = 4  # arrays of arrays
MAX_ELEMENTS = 1 << 50
DEFAULT_ALIGNMENT = 32

Scalar: TypeAlias = int | float | bool | str
Value: TypeAlias = "Scalar | list[Value]"

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One row of the tensor table. ``shape`` is in GGUF's order: ``shape[0]`` is the row's
    length.
    """

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int  # bytes from the start of the data section
    nbytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class GgufHeader:
    """What a GGUF file says of itself. ``data_start`` is where the weights begin; ``file_size``
    what they should add up to.

    Two are equal only if they are the same, so that what follows from one can be kept.
    """

    version: int
    metadata: dict[str, Value]
    tensors: tuple[GgufTensor, ...]
    data_start: int

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

    @property
    def file_size(self) -> int:
        return self.data_start + max((t.offset + t.nbytes for t in self.tensors), default=0)

    def text(self, key: str, default: str = "") -> str:
        value = self.metadata.get(key, default)
        return value if isinstance(value, str) else default

    def integer(self, key: str, default: int = 0) -> int:
        value = self.metadata.get(key, default)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def of_arch(self, key: str, default: int = 0) -> int:
        """An integer under the architecture's own prefix, as ``context_length``."""
        return self.integer(f"{self.architecture}.{key}", default)

    def tokens(self) -> list[str]:
        value = self.metadata.get("tokenizer.ggml.tokens")
        return [t for t in value if isinstance(t, str)] if isinstance(value, list) else []


def read_header(path: Path) -> GgufHeader:
    """The header of the file at ``path``. Raises GgufError when it is damaged, cut off or makes no
    sense.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = parse_header(file, size, name=path.name)
    except OSError as e:
        raise GgufError(f"{path}: cannot be read: {e.strerror}") from e
    if header.tensors and size < header.file_size:  # a vocabulary alone need not be padded
        raise GgufError(
            f"{path.name}: cut off: its header promises {header.file_size:,} bytes, the file has {size:,}",
            hint="fetch or convert it again",
        )
    return header


def join_headers(parts: Sequence[GgufHeader]) -> GgufHeader:
    """One header for a model that is split over files, as if their weights followed each other in
    one. The first has the metadata.
    """
    first, end = parts[0], 0
    tensors: list[GgufTensor] = []
    for part in parts:
        tensors += (replace(tensor, offset=end + tensor.offset) for tensor in part.tensors)
        end += part.file_size - part.data_start
    return GgufHeader(first.version, first.metadata, tuple(tensors), first.data_start)


def fingerprint(path: Path, header: GgufHeader | None = None) -> str:
    """Tells a GGUF file from any other, in milliseconds: its header, its length, and samples of its
    weights. ``header`` is the file's own where it has been read already."""
    header = header or read_header(path)
    seen = hashlib.sha256()
    with path.open("rb") as file:
        fd = file.fileno()
        size = os.fstat(fd).st_size
        seen.update(f"{size}\0".encode())
        for start in range(0, header.data_start, 1 << 20):
            seen.update(os.pread(fd, min(1 << 20, header.data_start - start), start))
        step = max(SAMPLE, (size - header.data_start) // SAMPLES)
        for start in range(header.data_start, size, step):
            seen.update(os.pread(fd, SAMPLE, start))
    return seen.hexdigest()


def parse_header(file: BinaryIO, size: int, *, name: str) -> GgufHeader:
    """The header at the start of ``file``, of which at most ``size`` bytes may be read. ``name`` is
    for messages.

    Raises GgufError, also when the header goes on past ``size``.
    """
    reader = _HeaderReader(file, size, name)
    if reader.take(4) != b"GGUF":
        raise GgufError(
            f"{name}: not a GGUF file", hint="dslocal convert makes one of a checkpoint"
        )
    version = reader.number("I")
    if version not in (2, 3):
        raise GgufError(f"{name}: GGUF version {version} is not one that dslocal reads (2 and 3)")
    n_tensors, n_kv = reader.number("Q"), reader.number("Q")
    reader.expect(n_kv, 13, "metadata entries")
    reader.expect(n_tensors, 24, "tensors")
    metadata: dict[str, Value] = {}
    for _ in range(n_kv):
        key = reader.string()
        if key in metadata:
            raise GgufError(f"{name}: metadata key {key[:80]!r} occurs twice")
        metadata[key] = reader.value(reader.number("I"), key)
    rows = [_row(reader) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if (
        not isinstance(alignment, int)
        or alignment <= 0
        or alignment & (alignment - 1)
        or alignment > 1 << 20
    ):
        raise GgufError(f"{name}: general.alignment {alignment!r} is not a power of two")
    tensors = _checked(rows, alignment, name)
    return GgufHeader(version, metadata, tensors, -(-reader.position // alignment) * alignment)


def main_type(header: GgufHeader) -> str:
    """The name of the type of most weights; empty where there are none."""
    sizes: dict[str, int] = {}
    for tensor in header.tensors:
        sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.nbytes
    return max(sizes, key=lambda kind: sizes[kind], default="")


@functools.lru_cache(maxsize=8192)
def tensor_class(name: str) -> str:
    """What a GGUF tensor is for, in the words that sizes are reported in."""
    part = name.split(".", 2)[-1] if name.startswith("blk.") else name
    for prefix, kind in _CLASSES:
        if part.startswith(prefix):
            return kind
    return "other"


@functools.lru_cache(maxsize=8192)
def layer_of(name: str) -> int:
    """The layer that a GGUF tensor belongs to; -1 outside of layers."""
    parts = name.split(".", 2)
    return int(parts[1]) if parts[0] == "blk" and len(parts) > 1 and parts[1].isdecimal() else -1


_CLASSES = (
    ("token_embd", "embeddings"),
    ("output.", "output"),
    ("output_norm", "norms"),
    ("nextn.", "mtp"),
    ("attn_norm", "norms"),
    ("attn_", "attention"),
    ("ffn_norm", "norms"),
    ("ffn_gate_inp", "router"),
    ("exp_probs_b", "router"),
    ("ffn_gate_exps", "routed experts"),
    ("ffn_up_exps", "routed experts"),
    ("ffn_down_exps", "routed experts"),
    ("ffn_gate_shexp", "shared experts"),
    ("ffn_up_shexp", "shared experts"),
    ("ffn_down_shexp", "shared experts"),
    ("ffn_", "dense feed-forward"),
)


def _row(reader: _HeaderReader) -> GgufTensor:
    tensor = reader.string()
    n_dims = reader.number("I")
    if not 1 <= n_dims <= MAX_DIMS:
        raise GgufError(f"{reader.name}: {tensor[:80]}: {n_dims} dimensions")
    shape = tuple(reader.number("Q") for _ in range(n_dims))
    kind = reader.number("I")
    try:
        ggml_type = GgmlType(kind)
    except ValueError:
        raise GgufError(
            f"{reader.name}: {tensor[:80]}: tensor type {kind} is unknown to this version of dslocal"
        ) from None
    if not all(0 < n <= MAX_ELEMENTS for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise GgufError(f"{reader.name}: {tensor[:80]}: impossible shape {list(shape)}")
    if shape[0] % ggml_type.block:
        raise GgufError(
            f"{reader.name}: {tensor[:80]}: rows of {shape[0]} do not fit {ggml_type.name}'s blocks of {ggml_type.block}"
        )
    return GgufTensor(
        tensor, shape, ggml_type, reader.number("Q"), ggml_type.nbytes(math.prod(shape))
    )


def _checked(rows: Iterable[GgufTensor], alignment: int, name: str) -> tuple[GgufTensor, ...]:
    """``rows`` in file order, once no two share a name or a byte."""
    tensors = tuple(rows)
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise GgufError(f"{name}: tensor {tensor.name[:80]!r} occurs twice")
        seen.add(tensor.name)
    end, before = 0, ""
    for tensor in sorted(tensors, key=lambda t: t.offset):
        if tensor.offset % alignment:
            raise GgufError(
                f"{name}: {tensor.name[:80]}: offset {tensor.offset} is not aligned to {alignment}"
            )
        if tensor.offset < end:
            raise GgufError(f"{name}: {tensor.name[:80]}: overlaps {before[:80]}")
        end, before = tensor.offset + tensor.nbytes, tensor.name
    return tensors


class _HeaderReader:
    """Reads little-endian fields and never past ``size``."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self._file, self._size, self.name, self.position = file, size, name, 0

    def expect(self, count: int, least: int, what: str) -> None:
        """Refuses ``count`` items of at least ``least`` bytes when the file has no room for
        them.
        """
        if count * least > self._size - self.position:
            raise GgufError(f"{self.name}: claims {count:,} {what}, more than the file can hold")

    def take(self, n: int) -> bytes:
        if n > self._size - self.position:
            raise GgufError(
                f"{self.name}: cut off inside the header, after {self.position:,} bytes"
            )
        data = self._file.read(n)
        if len(data) != n:
            raise GgufError(
                f"{self.name}: cut off inside the header, after {self.position + len(data):,} bytes"
            )
        self.position += n
        return data

    def number(self, code: str) -> int:
        return int(struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0])

    def string(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", "replace")

    def value(self, kind: int, key: str, depth: int = 0) -> Value:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            if depth >= MAX_DEPTH:
                raise GgufError(f"{self.name}: {key[:80]}: arrays nested too deep")
            item, count = self.number("I"), self.number("Q")
            if code := _SCALARS.get(item):
                width = struct.calcsize("<" + code)
                self.expect(count, width, f"numbers in {key[:80]}")
                return list(struct.unpack(f"<{count}{code}", self.take(count * width)))
            self.expect(count, 8, f"items in {key[:80]}")
            return [self.value(item, key, depth + 1) for _ in range(count)]
        if code := _SCALARS.get(kind):
            scalar: Scalar = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]
            return scalar
        raise GgufError(f"{self.name}: {key[:80]}: unknown value type {kind}")
