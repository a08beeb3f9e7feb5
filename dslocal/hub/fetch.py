"""Download one file of a repository to this disk.

A download is resumed where it stopped, and gets its name only when its hash is right. A file with a
wrong hash is put aside as ``NAME.damaged``, which nothing reads, and downloaded once more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dslocal.errors import DownloadError
from dslocal.files import decimal_size, sync_folder

from . import http
from .manifest import Manifest, RemoteFile
from .repository import Repository

PARTIAL = ".partial"  # grows from its beginning
QUICK = ".quick"  # does not, so that it cannot be resumed
DAMAGED = ".damaged"
READ_BYTES = 1 << 20  # at a time

FileCallback = Callable[[RemoteFile, int], None]  # a file, and how many bytes of it are here
Notify = Callable[[str], None]  # what the user should know


class DownloadProgress(NamedTuple):
    """How far a download has come.

    Attributes:
        file: The file that is being fetched.
        done: Bytes that are here, of all files.
        total: Bytes of all files.
        new: Bytes that came in this run.
    """

    file: str
    done: int
    total: int
    new: int


DownloadCallback = Callable[[DownloadProgress], None]


class ProgressSum:
    """Adds up the progress of several fetches of ``files``; it is their FileCallback."""

    def __init__(self, files: Iterable[RemoteFile], on_progress: DownloadCallback | None) -> None:
        self._total = sum(file.size for file in files)
        self._on_progress = on_progress
        self._done: dict[str, int] = {}
        self._before = 0  # bytes that were here already

    def __call__(self, file: RemoteFile, done: int) -> None:
        if file.name not in self._done:
            self._before += done
        self._done[file.name] = done
        if self._on_progress:
            all_done = sum(self._done.values())
            new = max(0, all_done - self._before)
            self._on_progress(DownloadProgress(file.name, all_done, self._total, new))


def ignore_progress(file: RemoteFile, done: int) -> None:
    """Do nothing: the FileCallback of a caller that does not report progress."""


@dataclass(frozen=True)
class _Transfer:
    """One file on its way into ``partial``."""

    remote: Repository
    manifest: Manifest
    file: RemoteFile
    partial: Path
    tick: FileCallback
    stop: threading.Event | None

    @property
    def what(self) -> str:
        """The file, for messages."""
        return f"{self.manifest.origin}: {self.file.name}"


def fetch_file(
    remote: Repository,
    manifest: Manifest,
    file: RemoteFile,
    path: Path,
    *,
    tick: FileCallback = ignore_progress,
    before_retry: Callable[[], None] | None = None,
    stop: threading.Event | None = None,
) -> str:
    """Make ``path`` the file, verified.

    Whatever interrupts it, what has arrived stays beside ``path``, and the next call resumes it.

    Args:
        remote: Where it comes from.
        manifest: What that holds.
        file: The file.
        path: What it becomes.
        tick: Receives how much of it is here.
        before_retry: Called before a damaged file is fetched once more, which needs room for both.
        stop: Set to interrupt it.

    Returns:
        A remark for the user, usually empty.

    Raises:
        DownloadError: It cannot be fetched, or is damaged twice.
        NotFoundError: It is not there.
    """
    transfer = _Transfer(remote, manifest, file, suffixed(path, PARTIAL), tick, stop)
    damaged = suffixed(path, DAMAGED)
    remark = ""
    try:
        found = _fetch_partial(transfer)
        if found != file.hash:
            transfer.partial.replace(damaged)
            remark = f"{_damage(transfer, found)}; put aside and fetched once more"
            if before_retry:
                before_retry()
            found = _fetch_partial(transfer)
        if found != file.hash:
            transfer.partial.replace(damaged)
            hint = f"the file was kept as {damaged}; the hub's copy or the connection damages it"
            raise DownloadError(f"{_damage(transfer, found)}, twice", hint=hint)
        transfer.partial.replace(path)
        sync_folder(path.parent)
        damaged.unlink(missing_ok=True)
    except OSError as e:
        raise http.explain_error(e, transfer.what) from e
    return remark


def suffixed(path: Path, suffix: str) -> Path:
    """Return the path beside ``path`` whose name has ``suffix`` added."""
    return path.with_name(path.name + suffix)


def content_hash(path: Path, file: RemoteFile) -> str:
    """Return the hash of what is at ``path``, of the kind that is known of ``file``.

    That is SHA-256, or the SHA-1 that git gives a blob.
    """
    with path.open("rb") as opened:
        if file.sha256:
            return hashlib.file_digest(opened, "sha256").hexdigest()
        size = os.fstat(opened.fileno()).st_size
        seen = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while block := opened.read(READ_BYTES):
            seen.update(block)
        return seen.hexdigest()


def require_disk_space(folder: Path, nbytes: int, what: str) -> None:
    """Raise DownloadError where the disk of ``folder`` has less free than ``nbytes``."""
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        needed = f"{decimal_size(nbytes)} are needed in {folder}"
        raise DownloadError(
            f"{what}: {needed}, {decimal_size(free)} are free",
            hint="free some space; --stream needs the least, and --dry-run shows how much",
        )


def _damage(transfer: _Transfer, found: str) -> str:
    expected = transfer.file.hash
    hashes = f"its hash is {found[:12]}… and should be {expected[:12]}…"
    return f"{transfer.what}: is damaged: {hashes}"


def _fetch_partial(transfer: _Transfer) -> str:
    """Bring the partial file to its full length, and return its hash."""
    partial, file = transfer.partial, transfer.file
    if partial.is_symlink():  # dslocal makes none, and it leads elsewhere
        partial.unlink()
    have = partial.stat().st_size if partial.exists() else 0
    if have > file.size:
        partial.unlink()
        have = 0
    require_disk_space(partial.parent, file.size - have, transfer.what)
    if have == 0 and _fetch_quickly(transfer):
        transfer.tick(file, file.size)
    else:
        _append_rest(transfer)
    return content_hash(partial, file)


def _append_rest(transfer: _Transfer) -> None:
    """Append what is missing of the partial file, and make it durable."""
    file, tick = transfer.file, transfer.tick
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    fd = os.open(transfer.partial, flags, 0o666)

    def length() -> int:
        return os.fstat(fd).st_size

    def request() -> None:
        tick(file, length())
        for piece in transfer.remote.read_range(transfer.manifest, file, length(), file.size):
            _require_not_stopped(transfer)  # which may have happened while the server was silent
            _write_all(fd, piece)
            tick(file, length())
            _require_not_stopped(transfer)
        if length() < file.size:
            raise http.truncated_error()

    try:
        http.with_retries(request, transfer.what, gained=length, stop=transfer.stop)
        os.fsync(fd)
    finally:
        os.close(fd)


def _require_not_stopped(transfer: _Transfer) -> None:
    if transfer.stop is not None and transfer.stop.is_set():
        raise http.stopped_error()


def _fetch_quickly(transfer: _Transfer) -> bool:
    """Fetch the file by a quicker way than ranges, where there is one; False where not."""
    quick = suffixed(transfer.partial, QUICK)
    try:
        if not transfer.remote.fetch_quickly(transfer.manifest, transfer.file, quick):
            return False
        if quick.stat().st_size != transfer.file.size:
            return False
        quick.replace(transfer.partial)
        return True
    finally:
        with suppress(OSError):
            quick.unlink(missing_ok=True)


def _write_all(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]
