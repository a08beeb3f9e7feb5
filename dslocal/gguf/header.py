"""A safe reader of GGUF headers: metadata and tensor table, from a file or the first bytes of one.

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dslocal.errors import GgufError
from dslocal.file_kinds import name_kind, unfinished_download

from .header_fields import FieldReader, Value
from .tensor_types import GgmlType

MAX_DIMS = 4
MAX_ELEMENTS = 1 << 50
MAX_ALIGNMENT = 1 << 20
DEFAULT_ALIGNMENT = 32

# of the weights, for a fingerprint
SAMPLE_COUNT = 64
SAMPLE_BYTES = 4096
_CHUNK_BYTES = 1 << 20

# least bytes of an entry: what a table of so many entries takes at least
_MIN_METADATA_BYTES = 13
_MIN_TENSOR_BYTES = 24


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One row of the tensor table.

    ``shape`` is in GGUF's order: ``shape[0]`` is the length of a row. ``offset`` counts bytes from
    the start of the data section.
    """

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    nbytes: int

    @property
    def elements(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class GgufHeader:
    """What a GGUF file says of itself.

    ``data_start`` is the byte at which the weights begin. ``value_spans`` are the bytes of the file
    that hold each metadata value and, before it, its type; a header that was not read has none.
    Two headers are equal only if they are the same object, so that results can be cached by header.
    """

    version: int
    metadata: dict[str, Value]
    tensors: tuple[GgufTensor, ...]
    data_start: int
    value_spans: Mapping[str, slice] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """Return llama.cpp's name of the architecture, such as ``deepseek2``."""
        return self.text("general.architecture")

    @property
    def file_size(self) -> int:
        """Return how many bytes the file must have to hold all weights."""
        return self.data_start + max((t.offset + t.nbytes for t in self.tensors), default=0)

    def text(self, key: str, default: str = "") -> str:
        """Return a string of the metadata, or ``default`` where there is none."""
        value = self.metadata.get(key, default)
        return value if isinstance(value, str) else default

    def integer(self, key: str, default: int = 0) -> int:
        """Return an integer of the metadata, or ``default`` where there is none."""
        value = self.metadata.get(key, default)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def of_arch(self, key: str, default: int = 0) -> int:
        """Return an integer under the architecture's own prefix, such as ``context_length``."""
        return self.integer(f"{self.architecture}.{key}", default)

    @functools.cached_property
    def mtp_layers(self) -> int:
        """The number of layers for multi-token prediction, after the others.

        V4 files of antirez' ds4 name one that they leave out; then llama.cpp counts none either.
        Source: src/models/deepseek4.cpp, ``load_arch_hparams``.
        """
        count = self.of_arch("nextn_predict_layers")
        if self.architecture != "deepseek4" or count <= 0:
            return count
        probe = f"blk.{self.of_arch('block_count') - count}.nextn.eh_proj.weight"
        return count if any(tensor.name == probe for tensor in self.tensors) else 0

    @property
    def bits_per_weight(self) -> float:
        """Return the bits of the file for each weight, metadata included."""
        weights = sum(tensor.elements for tensor in self.tensors)
        return self.file_size * 8 / max(weights, 1)

    @property
    def eos_token(self) -> int | None:
        """Return the id of the token that ends an answer; None where the file names none."""
        token = self.integer("tokenizer.ggml.eos_token_id", -1)
        return token if token >= 0 else None

    def tokens(self) -> list[str]:
        """Return the vocabulary in order of ids; empty where there is none."""
        value = self.metadata.get("tokenizer.ggml.tokens")
        return [t for t in value if isinstance(t, str)] if isinstance(value, list) else []


def read_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file.

    Raises:
        GgufError: The file cannot be read, is damaged, is cut off, or makes no sense. Where its
            name says why, such as that of an unfinished download, so does the message.
    """
    try:
        return _read_whole_file(path)
    except GgufError as e:
        kind = name_kind(path.name)
        if kind is None:
            raise
        raise GgufError(f"{path.name}: is {kind.what}", hint=kind.hint) from e


def _read_whole_file(path: Path) -> GgufHeader:
    """Read a header, and check that the file is as long as it says. Raises GgufError."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = parse_header(file, size, name=path.name)
    except OSError as e:
        raise GgufError(f"{path}: cannot be read: {e.strerror}") from e
    unfinished = unfinished_download(path)
    if unfinished is not None:
        raise GgufError(f"{path.name}: is {unfinished.what}", hint=unfinished.hint)
    if header.tensors and size < header.file_size:  # a vocabulary alone need not be padded
        raise GgufError(
            f"{path.name}: cut off: its header promises {header.file_size:,} bytes, "
            f"the file has {size:,}",
            hint="download or convert it again",
        )
    return header


def parse_header(file: BinaryIO, size: int, *, name: str) -> GgufHeader:
    """Parse the header at the start of ``file``.

    Args:
        file: What the header is read from, by ``read`` alone.
        size: How many bytes may be read at most.
        name: What the file is called in messages.

    Raises:
        GgufError: It is not a header that makes sense, or it continues past ``size``.
    """
    reader = FieldReader(file, size, name)
    reader.require_magic()
    version = reader.number("I")
    _check_version(version, name)
    n_tensors, n_kv = reader.number("Q"), reader.number("Q")
    reader.require_room(n_kv, _MIN_METADATA_BYTES, "metadata entries")
    reader.require_room(n_tensors, _MIN_TENSOR_BYTES, "tensors")
    metadata: dict[str, Value] = {}
    spans: dict[str, slice] = {}
    for _ in range(n_kv):
        key = reader.string()
        if key in metadata:
            raise GgufError(f"{name}: metadata key {key[:80]!r} occurs twice")
        start = reader.position
        metadata[key] = reader.value(reader.number("I"), key)
        spans[key] = slice(start, reader.position)
    tensors = tuple(_read_tensor(reader) for _ in range(n_tensors))
    alignment = _alignment(metadata, name)
    _check_tensors(tensors, alignment, name)
    data_start = -(-reader.position // alignment) * alignment
    return GgufHeader(version, metadata, tensors, data_start, spans)


def join_headers(parts: Sequence[GgufHeader]) -> GgufHeader:
    """Return one header for a model that is split over files.

    The weights of all parts follow each other as if in one file; the metadata is the first part's.
    """
    first, end = parts[0], 0
    tensors: list[GgufTensor] = []
    for part in parts:
        tensors += (replace(tensor, offset=end + tensor.offset) for tensor in part.tensors)
        end += part.file_size - part.data_start
    return GgufHeader(
        first.version, first.metadata, tuple(tensors), first.data_start, first.value_spans
    )


def fingerprint(path: Path, header: GgufHeader | None = None) -> str:
    """Return a hash that tells a GGUF file from any other, in milliseconds.

    It covers the whole header, the file's length, and samples of its weights.

    Args:
        path: The file.
        header: The file's own header, where it has been read already.

    Returns:
        A SHA-256, 64 hexadecimal digits.

    Raises:
        GgufError: The header cannot be read.
        OSError: The file cannot be read.
    """
    header = header or read_header(path)
    seen = hashlib.sha256()
    with path.open("rb") as file:
        fd = file.fileno()
        size = os.fstat(fd).st_size
        seen.update(f"{size}\0".encode())
        for start in range(0, header.data_start, _CHUNK_BYTES):
            seen.update(os.pread(fd, min(_CHUNK_BYTES, header.data_start - start), start))
        step = max(SAMPLE_BYTES, (size - header.data_start) // SAMPLE_COUNT)
        for start in range(header.data_start, size, step):
            seen.update(os.pread(fd, SAMPLE_BYTES, start))
    return seen.hexdigest()


def main_type(header: GgufHeader) -> str:
    """Return the name of the type that takes most bytes; empty for a file without weights."""
    sizes: dict[str, int] = {}
    for tensor in header.tensors:
        sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.nbytes
    return max(sizes, key=lambda kind: sizes[kind], default="")


def _check_version(version: int, name: str) -> None:
    """Raise GgufError unless it is a version that dslocal reads, in little endian."""
    if version in (2, 3):
        return
    if version and not version & 0xFFFF:  # as llama.cpp's gguf_init_from_file knows it
        raise GgufError(
            f"{name}: is a big-endian GGUF file, for machines such as IBM Z",
            hint="use the little-endian file, or convert the checkpoint on this machine",
        )
    hint = "download a newer file of the model" if version == 1 else "update dslocal"
    raise GgufError(
        f"{name}: GGUF version {version} is not one that dslocal reads (2 and 3)", hint=hint
    )


def _alignment(metadata: dict[str, Value], name: str) -> int:
    """Return the alignment of the weights in bytes. Raises GgufError."""
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if isinstance(value, int) and 0 < value <= MAX_ALIGNMENT and value & (value - 1) == 0:
        return value
    raise GgufError(f"{name}: general.alignment {value!r} is not a power of two")


def _read_tensor(reader: FieldReader) -> GgufTensor:
    """Read and check one row of the tensor table. Raises GgufError."""
    name = reader.string()
    shown = f"{reader.name}: {name[:80]}"
    n_dims = reader.number("I")
    if not 1 <= n_dims <= MAX_DIMS:
        raise GgufError(f"{shown}: {n_dims} dimensions")
    shape = tuple(reader.number("Q") for _ in range(n_dims))
    number = reader.number("I")
    try:
        kind = GgmlType(number)
    except ValueError:
        raise GgufError(
            f"{shown}: tensor type {number} is unknown to this version of dslocal"
        ) from None
    if not all(0 < n <= MAX_ELEMENTS for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise GgufError(f"{shown}: impossible shape {list(shape)}")
    if shape[0] % kind.block:
        raise GgufError(
            f"{shown}: rows of {shape[0]} do not fit {kind.name}'s blocks of {kind.block}"
        )
    return GgufTensor(name, shape, kind, reader.number("Q"), kind.nbytes(math.prod(shape)))


def _check_tensors(tensors: Iterable[GgufTensor], alignment: int, name: str) -> None:
    """Check that no two tensors share a name or a byte. Raises GgufError."""
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
