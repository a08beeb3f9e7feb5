"""Read small pieces of a repository's files by range; two responses that agree stand in for a
hash."""

from __future__ import annotations

import threading

from dslocal.errors import CheckpointError
from dslocal.hub import http
from dslocal.hub.manifest import Manifest, RemoteFile
from dslocal.hub.repository import Repository
from dslocal.types import FileRange

from .used_ranges import UsedRanges

MAX_RESPONSES = 4  # to a request for a piece that has no hash
HEAD_BYTES = 128 << 10  # most headers of shards are shorter


def checkpoint_file(manifest: Manifest, name: str) -> RemoteFile:
    """Return a file of a checkpoint. Raises CheckpointError where it is missing."""
    found = manifest.files.get(name)
    if found is None:
        raise CheckpointError(f"is missing from {manifest.origin}", file=name)
    return found


class RangeRequests:
    """Requests pieces of files. Threads may share it."""

    def __init__(
        self, remote: Repository, manifest: Manifest, pieces: UsedRanges, stop: threading.Event
    ) -> None:
        """Request pieces of ``remote``.

        Args:
            remote: The repository.
            manifest: What it holds.
            pieces: What is known of pieces that were used before.
            stop: Ends retries.
        """
        self._remote = remote
        self._manifest = manifest
        self._pieces = pieces
        self._stop = stop

    def head(self, file: str) -> bytes:
        """Return the first bytes of a file."""
        size = checkpoint_file(self._manifest, file).size
        return self.agreed(FileRange(file, 0, min(HEAD_BYTES, size)))

    def agreed(self, piece: FileRange) -> bytes:
        """Return a piece as two responses agree on, or one with what is known of it.

        It has no published hash to check.
        """
        responses: list[bytes] = []
        while len(responses) < MAX_RESPONSES:
            data = self._once(piece)
            if data in responses or self._pieces.matches(piece, data):
                return data
            responses.append(data)
        where = f"the {piece.nbytes:,} bytes at {piece.start:,}"
        raise CheckpointError(f"{where} differ each time that they are downloaded", file=piece.file)

    def _once(self, piece: FileRange) -> bytes:
        file = checkpoint_file(self._manifest, piece.file)
        stop = piece.start + piece.nbytes
        if stop > file.size:
            raise CheckpointError(
                f"has {file.size:,} bytes, too few for what its header says", file=piece.file
            )
        data = bytearray()

        def request() -> None:
            start = piece.start + len(data)
            for arrived in self._remote.read_range(self._manifest, file, start, stop):
                data.extend(arrived)
            if len(data) < piece.nbytes:
                raise http.truncated_error()

        what = f"{self._manifest.origin}: {piece.file}"
        http.with_retries(request, what, gained=lambda: len(data), stop=self._stop)
        return bytes(data)
