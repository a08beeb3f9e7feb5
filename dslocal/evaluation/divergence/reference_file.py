"""The file of a reference's log-probabilities, as ``llama-perplexity --kl-divergence-base`` has it.

The file begins with ``_logits_`` and three int32: the tokens in a chunk, the tokens in the
vocabulary, and the number of chunks. Then come all token ids as int32, and for each chunk the
packed rows of its second half (:mod:`.log_probabilities`), without the last row, which no token of
the chunk follows.

llama-perplexity reads no further. dslocal appends a seal: JSON that says which model and text the
file belongs to, and a checksum of each chunk. A chunk whose checksum is wrong was not written yet,
or is damaged. Either way it is evaluated again, which resumes an interrupted run and repairs a
damaged file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import DslocalError, UsageError
from dslocal.files import sync_folder

from .log_probabilities import PackedRows, row_words
from .reference_seal import ReferenceSeal, parse_seal

MAGIC = b"_logits_"
HEAD = struct.Struct("<8siii")
SEAL_MAGIC = b"dslocal\1"
SEAL_HEAD = struct.Struct("<8sII")  # SealHead
CHECKSUM = struct.Struct("<I")
MAX_SEAL = 1 << 20  # bytes
MAX_TOKENS = 1 << 28
MAX_VOCABULARY = 1 << 24
READ_BYTES = 1 << 20
PART = ".part"  # the end of a partial file's name


class SealHead(NamedTuple):
    """What the seal begins with; the JSON follows."""

    magic: bytes
    length: int
    checksum: int


@dataclass(frozen=True)
class ReferenceShape:
    """What decides the length of the file.

    Attributes:
        n_ctx: The tokens of a chunk.
        n_vocab: The tokens of the vocabulary.
        n_chunks: The chunks.
    """

    n_ctx: int
    n_vocab: int
    n_chunks: int

    @property
    def first_scored(self) -> int:
        """Return the first token of a chunk whose successor is scored, counted from 0."""
        return self.n_ctx // 2

    @property
    def rows(self) -> int:
        """Return the scored tokens of a chunk."""
        return self.n_ctx - 1 - self.first_scored

    @property
    def row_bytes(self) -> int:
        """Return the bytes of a packed row."""
        return 2 * row_words(self.n_vocab)

    @property
    def data_start(self) -> int:
        """Return where the rows begin."""
        return HEAD.size + 4 * self.n_ctx * self.n_chunks

    @property
    def seal_start(self) -> int:
        """Return where the rows end."""
        return self.data_start + self.n_chunks * self.rows * self.row_bytes


class ReferenceFile:
    """An open file. Use as a context manager.

    Attributes:
        path: Where it is.
        shape: Its shape.
        tokens: The token ids of all chunks, ``[chunks, n_ctx]``, before a BOS takes the place of
            the first of each.
        seal: Which model and text it belongs to; None for a file that llama-perplexity wrote.
    """

    def __init__(
        self, path: Path, fd: int, shape: ReferenceShape, seal: ReferenceSeal | None
    ) -> None:
        """Take an open file; use :func:`open_reference` or :func:`create_reference`.

        Raises:
            UsageError: Its token ids are damaged.
        """
        self.path = path
        self.shape = shape
        self.seal = seal
        self._fd = fd
        raw = _read_at(fd, HEAD.size, shape.data_start - HEAD.size)
        self.tokens = np.frombuffer(raw, "<i4").reshape(shape.n_chunks, shape.n_ctx)
        is_damaged = seal is not None and seal.tokens != tokens_hash(self.tokens)
        if is_damaged or self.tokens.min() < 0 or self.tokens.max() >= shape.n_vocab:
            raise _damaged(path)
        content = seal.as_json() if seal else b""
        self._checksums_start = shape.seal_start + SEAL_HEAD.size + len(content)
        self._checksum = 0

    def __enter__(self) -> ReferenceFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @property
    def nbytes(self) -> int:
        """Return the length of the file."""
        return os.fstat(self._fd).st_size

    def read_rows(self, chunk: int, start: int, count: int) -> PackedRows:
        """Return ``count`` packed rows of a chunk, from its row ``start`` on."""
        shape = self.shape
        at = shape.data_start + (chunk * shape.rows + start) * shape.row_bytes
        data = _read_at(self._fd, at, count * shape.row_bytes)
        return np.frombuffer(data, "<u2").reshape(count, -1)

    def write_rows(self, chunk: int, start: int, rows: PackedRows) -> None:
        """Write rows of a chunk, from its row ``start`` on. The rows of a chunk come in order."""
        shape = self.shape
        data = np.ascontiguousarray(rows).data.cast("B")
        self._checksum = zlib.crc32(data, self._checksum if start else 0)
        _write_at(self._fd, shape.data_start + (chunk * shape.rows + start) * shape.row_bytes, data)

    def seal_chunk(self, chunk: int) -> None:
        """Note that all rows of a chunk are written."""
        data = CHECKSUM.pack(self._checksum or 1)  # 0 says that nothing is there
        _write_at(self._fd, self._checksums_start + chunk * CHECKSUM.size, data)

    def missing_chunks(self) -> list[int]:
        """Return the chunks that are not written, or are damaged. Reads the whole file."""
        if self.seal is None:
            return []
        size = self.shape.n_chunks * CHECKSUM.size
        stored = np.frombuffer(_read_at(self._fd, self._checksums_start, size), "<u4")
        return [
            chunk
            for chunk, expected in enumerate(stored)
            if not expected or self._checksum_of(chunk) != expected
        ]

    def _checksum_of(self, chunk: int) -> int:
        nbytes = self.shape.rows * self.shape.row_bytes
        start = self.shape.data_start + chunk * nbytes
        found = 0
        for at in range(0, nbytes, READ_BYTES):
            data = _read_at(self._fd, start + at, min(READ_BYTES, nbytes - at))
            found = zlib.crc32(data, found)
        return found or 1

    def finish(self, path: Path) -> None:
        """Make what was written durable, give the file its name, and let others read it."""
        os.fsync(self._fd)
        self.path.replace(path)
        sync_folder(path.parent)
        self.path = path
        fcntl.flock(self._fd, fcntl.LOCK_SH)


def tokens_hash(tokens: NDArray[np.int32]) -> str:
    """Return the SHA-256 of token ids."""
    return hashlib.sha256(tokens.astype("<i4").tobytes()).hexdigest()


def file_size(shape: ReferenceShape, seal: ReferenceSeal) -> int:
    """Return the bytes of a whole file."""
    checksums = shape.n_chunks * CHECKSUM.size
    return shape.seal_start + SEAL_HEAD.size + len(seal.as_json()) + checksums


def open_reference(path: Path, *, writable: bool = False) -> ReferenceFile:
    """Open a file of either program.

    Args:
        path: The file.
        writable: Whether chunks will be written; no other process may have it open then.

    Raises:
        OSError: It cannot be opened.
        UsageError: It is not such a file, or damaged.
        DslocalError: Another process has it open.
    """
    fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        _lock(fd, path, writable=writable)
        shape = _read_shape(fd, path)
        return ReferenceFile(path, fd, shape, _read_seal(fd, path, shape))
    except BaseException:
        os.close(fd)
        raise


def create_reference(
    path: Path, n_vocab: int, tokens: NDArray[np.int32], seal: ReferenceSeal
) -> ReferenceFile:
    """Write a file in its full length, still without rows.

    Args:
        path: The file.
        n_vocab: The tokens of the vocabulary.
        tokens: The token ids, ``[chunks, n_ctx]``.
        seal: Which model and text the file belongs to, with the hash of the tokens.

    Raises:
        OSError: It cannot be written.
        DslocalError: Another process is writing it, or the disk is full.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _lock(fd, path, writable=True)
        shape = ReferenceShape(tokens.shape[1], n_vocab, tokens.shape[0])
        os.ftruncate(fd, 0)
        _reserve(fd, path, file_size(shape, seal))
        content = seal.as_json()
        seal_head = SEAL_HEAD.pack(*SealHead(SEAL_MAGIC, len(content), zlib.crc32(content)))
        _write_at(fd, shape.seal_start, seal_head + content)
        _write_at(fd, HEAD.size, tokens.astype("<i4").tobytes())
        _write_at(fd, 0, HEAD.pack(MAGIC, shape.n_ctx, shape.n_vocab, shape.n_chunks))
        return ReferenceFile(path, fd, shape, seal)
    except BaseException:
        os.close(fd)
        raise


def _reserve(fd: int, path: Path, nbytes: int) -> None:
    """Take the room on the disk now, so that the disk is not found full after hours."""
    try:
        os.posix_fallocate(fd, 0, nbytes)
    except AttributeError:  # macOS
        os.ftruncate(fd, nbytes)
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            os.ftruncate(fd, nbytes)
            return
        path.unlink(missing_ok=True)
        raise DslocalError(f"{path}: {e.strerror}", hint="free some space on that disk") from e


def _lock(fd: int, path: Path, *, writable: bool) -> None:
    """Claim the file: for this process alone where it is written, else against writers."""
    kind = fcntl.LOCK_EX if writable else fcntl.LOCK_SH
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DslocalError(
            f"{path}: another dslocal quality is writing it", hint="wait until it has ended"
        ) from None


def _read_shape(fd: int, path: Path) -> ReferenceShape:
    head = os.pread(fd, HEAD.size, 0)
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        raise UsageError(
            f"{path}: does not hold log-probabilities",
            hint="use a file that was written by dslocal quality -o or llama-perplexity "
            "--kl-divergence-base",
        )
    shape = ReferenceShape(*HEAD.unpack(head)[1:])
    are_sensible = (
        3 <= shape.n_ctx <= MAX_TOKENS
        and 0 < shape.n_vocab <= MAX_VOCABULARY
        and 0 < shape.n_chunks <= MAX_TOKENS
        and shape.n_ctx * shape.n_chunks <= MAX_TOKENS
    )
    size = os.fstat(fd).st_size
    if not are_sensible or size < shape.seal_start:
        raise _damaged(path)
    return shape


def _read_seal(fd: int, path: Path, shape: ReferenceShape) -> ReferenceSeal | None:
    """Return the seal; None for a file of llama-perplexity, which has none."""
    size = os.fstat(fd).st_size
    if size == shape.seal_start:
        return None
    head = os.pread(fd, SEAL_HEAD.size, shape.seal_start)
    try:
        found = SealHead(*SEAL_HEAD.unpack(head))
        content = os.pread(fd, min(found.length, MAX_SEAL), shape.seal_start + SEAL_HEAD.size)
        if found != SealHead(SEAL_MAGIC, len(content), zlib.crc32(content)):
            raise ValueError(found)
        seal = parse_seal(content)
        if size != file_size(shape, seal):
            raise ValueError(size)
    except (struct.error, ValueError):
        raise _damaged(path) from None
    return seal


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path}: is damaged or incomplete", hint="write it again")


def _read_at(fd: int, start: int, nbytes: int) -> bytearray:
    """Read bytes into memory that may be written to, so that numpy can view it as it likes.

    Raises:
        DslocalError: The file ends before.
    """
    data = bytearray(nbytes)
    view = memoryview(data)
    while view:
        count = os.preadv(fd, [view], start)
        if not count:
            raise DslocalError("the file of the reference's log-probabilities became shorter")
        view, start = view[count:], start + count
    return data


def _write_at(fd: int, start: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, start)
        view, start = view[count:], start + count
