"""One file, from a remote onto this disk: resumed where it stopped, and given its name only when
its hash is right.

A file with a wrong hash is put aside as ``NAME.damaged``, which nothing reads, and fetched once
more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dslocal.errors import DownloadError
from dslocal.files import gigabytes, sync_folder

from . import http
from .manifest import Manifest, RemoteFile
from .repository import Repository

PARTIAL, DAMAGED, QUICK = ".partial", ".damaged", ".quick"
READ = 1 << 20

FileCallback = Callable[[RemoteFile, int], None]  # a file, and how many bytes of it are here


class DownloadProgress(NamedTuple):
    """How far a download has come: ``done`` of ``total`` bytes, ``new`` of them in this run, and
    the file that is coming.
    """

    file: str
    done: int
    total: int
    new: int


DownloadCallback = Callable[[DownloadProgress], None]


class ProgressSum:
    """Adds up what several fetches of ``files`` say."""

    def __init__(self, files: Iterable[RemoteFile], on_progress: DownloadCallback | None) -> None:
        self._total = sum(file.size for file in files)
        self._on_progress = on_progress
        self._done: dict[str, int] = {}
        self._found = 0

    def __call__(self, file: RemoteFile, done: int) -> None:
        if file.name not in self._done:
            self._found += done
        self._done[file.name] = done
        if self._on_progress:
            all_done = sum(self._done.values())
            self._on_progress(
                DownloadProgress(file.name, all_done, self._total, max(0, all_done - self._found))
            )


def ignore_progress(file: RemoteFile, done: int) -> None:
    """For who does not want to know."""


def fetch(
    remote: Repository,
    manifest: Manifest,
    file: RemoteFile,
    path: Path,
    *,
    tick: FileCallback = ignore_progress,
    before_again: Callable[[], None] | None = None,
    stop: threading.Event | None = None,
) -> str:
    """Makes ``path`` the file, verified, and returns a remark for the user, mostly empty.

    ``before_again`` is called before a damaged file is fetched once more, which needs room for
    both. Whatever interrupts it (``stop`` as well), what has arrived stays beside ``path`` and the
    next call goes on there. Raises DownloadError, NotFoundError.
    """
    partial, damaged = suffixed(path, PARTIAL), suffixed(path, DAMAGED)
    what = f"{manifest.origin}: {file.name}"
    try:
        found = _once(remote, manifest, file, partial, what, tick, stop)
        remark = ""
        if found != file.hash:
            partial.replace(damaged)
            remark = f"{_wrong(what, found, file)}; put aside and fetched once more"
            if before_again:
                before_again()
            found = _once(remote, manifest, file, partial, what, tick, stop)
        if found != file.hash:
            partial.replace(damaged)
            hint = f"put aside as {damaged}; the hub's copy or the way here is damaged"
            raise DownloadError(f"{_wrong(what, found, file)}, twice", hint=hint)
        partial.replace(path)
        sync_folder(path.parent)
        damaged.unlink(missing_ok=True)
    except OSError as e:
        raise http.explain_error(e, what) from e
    return remark


def _wrong(what: str, found: str, file: RemoteFile) -> str:
    return f"{what}: is damaged: its hash is {found[:12]}…, it should be {file.hash[:12]}…"


def suffixed(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def content_hash(path: Path, file: RemoteFile) -> str:
    """The hash of what is at ``path``, of the kind that is known of ``file``: SHA-256, or git's
    SHA-1 of a blob.
    """
    with path.open("rb") as opened:
        if file.sha256:
            return hashlib.file_digest(opened, "sha256").hexdigest()
        seen = hashlib.sha1(b"blob %d\0" % os.fstat(opened.fileno()).st_size, usedforsecurity=False)
        while block := opened.read(READ):
            seen.update(block)
        return seen.hexdigest()


def require_disk_space(folder: Path, nbytes: int, what: str) -> None:
    """Raises DownloadError where ``folder``'s disk has less free."""
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise DownloadError(
            f"{what}: {gigabytes(nbytes, 3)} are needed in {folder}, {gigabytes(free, 3)} are free",
            hint="make room; --stream needs the least, --dry-run says how much",
        )


def _once(
    remote: Repository,
    manifest: Manifest,
    file: RemoteFile,
    partial: Path,
    what: str,
    tick: FileCallback,
    stop: threading.Event | None,
) -> str:
    """Brings ``partial`` to its full length, and returns its hash."""
    if partial.is_symlink():  # which is none of ours, and leads elsewhere
        partial.unlink()
    have = partial.stat().st_size if partial.exists() else 0
    if have > file.size:
        partial.unlink()
        have = 0
    require_disk_space(partial.parent, file.size - have, what)
    if have == 0 and _quickly(remote, manifest, file, partial):
        tick(file, file.size)
        return content_hash(partial, file)
    with os.fdopen(
        os.open(partial, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666),
        "ab",
        buffering=0,
    ) as into:

        def arrived() -> int:
            return os.fstat(into.fileno()).st_size

        def go_on() -> None:
            tick(file, arrived())
            for piece in remote.part(manifest, file, arrived(), file.size):
                _write_all(into.fileno(), piece)
                tick(file, arrived())
                if stop is not None and stop.is_set():
                    raise http.stopped_error()
            if arrived() < file.size:
                raise http.truncated_error()

        http.with_retries(go_on, what, gained=arrived, stop=stop)
        os.fsync(into.fileno())
    return content_hash(partial, file)


def _quickly(remote: Repository, manifest: Manifest, file: RemoteFile, partial: Path) -> bool:
    quick = suffixed(
        partial, QUICK
    )  # it does not grow from its beginning, so that it cannot be gone on with
    try:
        if not remote.whole(manifest, file, quick) or quick.stat().st_size != file.size:
            return False
        quick.replace(partial)
        return True
    finally:
        with suppress(OSError):
            quick.unlink(missing_ok=True)


def _write_all(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]
