"""Read the header of a GGUF file that is on a server, by range requests.

It is a few megabytes at the start of the file, however large that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple, cast

from dslocal.errors import DownloadError, NotFoundError
from dslocal.gguf.header import GgufHeader, join_headers, parse_header
from dslocal.gguf.parts import MAX_PARTS, is_first_part, parse_part_name

from . import http
from .manifest import Manifest, RemoteFile
from .repository import Repository

# Bytes of a request: V3's header takes 8 MB, that of a small vocabulary 1 MB.
FIRST_REQUEST = 1 << 20
NEXT_REQUEST = 2 << 20
MAX_HEADER = 64 << 20

_NOT_A_MODEL = re.compile(r"(^|/)(mmproj|imatrix|lora)|[-_.]imatrix|[-_.]lora", re.IGNORECASE)


class RemoteModel(NamedTuple):
    """A published GGUF model: its header, that of its parts joined, and all its files."""

    header: GgufHeader
    files: list[RemoteFile]


def read_remote_header(remote: Repository, manifest: Manifest, first: RemoteFile) -> RemoteModel:
    """Read the header of the model whose only or first part is ``first``. Nothing is written.

    Raises:
        NotFoundError: A part is not there.
        GgufError: It is no GGUF header.
        DownloadError: It cannot be read, or promises more than the file has.
    """
    files = parts_of_model(manifest, first)
    headers = [_read_header(remote, manifest, file) for file in files]
    for file, header in zip(files, headers, strict=True):
        if header.tensors and header.file_size > file.size:
            promised = f"its header promises {header.file_size:,} bytes"
            raise DownloadError(f"{manifest.origin}: {file.name}: {promised}, it has {file.size:,}")
    return RemoteModel(join_headers(headers) if len(headers) > 1 else headers[0], files)


def parts_of_model(manifest: Manifest, first: RemoteFile) -> list[RemoteFile]:
    """Return all files of the model whose only or first part is ``first``.

    Raises:
        NotFoundError: A part is not there.
        DownloadError: There are too many.
    """
    part = parse_part_name(first.name)
    if part is None:
        return [first]
    if not 0 < part.count <= MAX_PARTS:
        raise DownloadError(
            f"{manifest.origin}: {first.name}: {part.count:,} parts cannot be right"
        )
    return [manifest.file(name) for name in part.all_parts()]


def published_models(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return the GGUF models among ``files``, each by its only or first file.

    Image projectors, importance matrices and adapters are left out.
    """
    found = []
    for file in files:
        is_gguf = file.name.endswith(".gguf") and is_first_part(file.name)
        if is_gguf and not _NOT_A_MODEL.search(file.name):
            found.append(file)
    return found


def _read_header(remote: Repository, manifest: Manifest, file: RemoteFile) -> GgufHeader:
    if not file.size:
        raise NotFoundError(f"{manifest.origin}: {file.name}: is empty")
    reader = cast(BinaryIO, _ReadAhead(remote, manifest, file))
    return parse_header(reader, min(file.size, MAX_HEADER), name=file.name.rsplit("/", 1)[-1])


class _ReadAhead:
    """Reads a remote file from its beginning, a megabyte or more at a time."""

    def __init__(self, remote: Repository, manifest: Manifest, file: RemoteFile) -> None:
        self._remote = remote
        self._manifest = manifest
        self._file = file
        self._buffer = b""
        self._position = 0  # in the buffer
        self._fetched = 0  # bytes of the file

    def read(self, n: int) -> bytes:
        """Return the next ``n`` bytes; fewer at the end of the file."""
        while self._available < n and self._fetched < self._file.size:
            least = NEXT_REQUEST if self._fetched else FIRST_REQUEST
            self._fetch(max(least, n - self._available))
        data = self._buffer[self._position : self._position + n]
        self._position += len(data)
        return data

    @property
    def _available(self) -> int:
        return len(self._buffer) - self._position

    def _fetch(self, nbytes: int) -> None:
        stop = min(self._file.size, self._fetched + nbytes)

        def request() -> bytes:
            data = b"".join(
                self._remote.read_range(self._manifest, self._file, self._fetched, stop)
            )
            if len(data) < stop - self._fetched:
                raise http.truncated_error()
            return data

        data = http.with_retries(request, f"{self._manifest.origin}: {self._file.name}")
        self._buffer = self._buffer[self._position :] + data
        self._position = 0
        self._fetched = stop
