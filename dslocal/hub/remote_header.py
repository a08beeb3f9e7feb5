"""The header of a GGUF file that is not here, by range request: a few megabytes at its start,
however large the file is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO, cast

from dslocal.errors import DownloadError, NotFoundError
from dslocal.gguf.header import GgufHeader, join_headers, parse_header
from dslocal.gguf.parts import MAX_PARTS, is_first_part, parse_part_name

from . import http
from .manifest import Manifest, RemoteFile
from .repository import Repository

FIRST, STEP = (
    1 << 20,
    2 << 20,
)  # bytes of a request: V3's header takes 8 MB, one of a small vocabulary 1
MAX_HEADER = 64 << 20


def read_remote_header(
    remote: Repository, manifest: Manifest, first: RemoteFile
) -> tuple[GgufHeader, list[RemoteFile]]:
    """The header of the model whose only or first part is ``first``, and all its files. Nothing is
    written.

    Raises NotFoundError for a part that is not there, GgufError for what is no GGUF header,
    DownloadError.
    """
    files = parts_of_model(manifest, first)
    headers = [_header(remote, manifest, file) for file in files]
    for file, header in zip(files, headers, strict=True):
        if header.tensors and header.file_size > file.size:
            raise DownloadError(
                f"{manifest.origin}: {file.name}: its header promises {header.file_size:,} bytes, it has {file.size:,}"
            )
    return (join_headers(headers) if len(headers) > 1 else headers[0]), files


def parts_of_model(manifest: Manifest, first: RemoteFile) -> list[RemoteFile]:
    """All files of the model that ``first`` is, or is a part of. Raises NotFoundError for one that
    is not there.
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
    """The GGUF models among ``files``, each by its only or first file; no projectors, importance
    matrices or adapters.
    """
    named = [file for file in files if file.name.endswith(".gguf")]
    whole = [file for file in named if is_first_part(file.name)]
    return [
        file
        for file in whole
        if not re.search(
            r"(^|/)(mmproj|imatrix|lora)|[-_.]imatrix|[-_.]lora", file.name, re.IGNORECASE
        )
    ]


def _header(remote: Repository, manifest: Manifest, file: RemoteFile) -> GgufHeader:
    if not file.size:
        raise NotFoundError(f"{manifest.origin}: {file.name}: is empty")
    reader = cast(BinaryIO, _Ahead(remote, manifest, file))
    return parse_header(reader, min(file.size, MAX_HEADER), name=file.name.rsplit("/", 1)[-1])


class _Ahead:
    """Reads a remote file from its beginning, a good piece at a time."""

    def __init__(self, remote: Repository, manifest: Manifest, file: RemoteFile) -> None:
        self._remote, self._manifest, self._file = remote, manifest, file
        self._held, self._at, self._come = b"", 0, 0

    def read(self, n: int) -> bytes:
        while len(self._held) - self._at < n and self._come < self._file.size:
            self._fetch(max(STEP if self._come else FIRST, n - (len(self._held) - self._at)))
        data = self._held[self._at : self._at + n]
        self._at += len(data)
        return data

    def _fetch(self, nbytes: int) -> None:
        stop = min(self._file.size, self._come + nbytes)

        def ask() -> bytes:
            data = b"".join(self._remote.part(self._manifest, self._file, self._come, stop))
            if len(data) < stop - self._come:
                raise http.truncated_error()
            return data

        self._held = self._held[self._at :] + http.with_retries(
            ask, f"{self._manifest.origin}: {self._file.name}"
        )
        self._at, self._come = 0, stop
