"""What interrupted downloads and conversions left behind, and whether a process is still at it.

Who writes such a file holds a lock (flock) on it, on its sibling ``NAME.part`` or
``NAME.stream/lock``, on the lock file of ``NAME``, which is called ``.NAME.lock`` or ``NAME.lock``,
or on a file ``.lock`` in its folder; for a folder, on any file in it. Who downloads into a cache
holds the lock of that place.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from dslocal.errors import DslocalError
from dslocal.home.paths import cache_dir
from dslocal.hub.environment import hub_cache_dir

DOWNLOADS = (".partial", ".quick", ".damaged")
FILES = (*DOWNLOADS, ".part", ".journal", ".journal.new")
FOLDERS = (".stream",)
MAX_DEPTH, MAX_SEEN = 6, 100_000

_URL = re.compile("[0-9a-f]{12}")  # what the folder of a URL's files is called


@dataclass(frozen=True)
class Leftover:
    """A file, or a folder with all that is in it, and the bytes of disk that it takes."""

    path: Path
    nbytes: int

    @property
    def base(self) -> str:
        """The name of what it was to become."""
        return next(
            self.path.name.removesuffix(suffix)
            for suffix in (*FILES[::-1], *FOLDERS)
            if self.path.name.endswith(suffix)
        )


def find_leftovers() -> list[Leftover]:
    """All in dslocal's cache, and those of its downloads in Hugging Face's, by path."""
    found = [*_under(cache_dir(), MAX_DEPTH)]
    for repository in _listed(hub_cache_dir()):
        if repository.name.startswith("models--"):
            found += _under(Path(repository.path, "blobs"), 1)
    return sorted(found, key=lambda leftover: leftover.path)


def delete_leftover(leftover: Leftover) -> bool:
    """Deletes ``leftover``, or returns False because a process uses it. Raises DslocalError where
    it cannot be deleted.
    """
    with ExitStack() as locks:
        if not all(_claim(file, locks) for file in _claimable(leftover)):
            return False
        try:
            if leftover.path.is_dir():
                shutil.rmtree(leftover.path)
            else:
                leftover.path.unlink(missing_ok=True)
        except OSError as e:
            raise DslocalError(f"{leftover.path}: cannot be deleted: {e.strerror}") from e
    return True


def is_in_use(leftover: Leftover) -> bool:
    """Whether a process is still writing it."""
    with ExitStack() as locks:
        return not all(_claim(file, locks) for file in _claimable(leftover))


def _under(folder: Path, depth: int) -> Iterator[Leftover]:
    """Links are not followed, and are no leftovers."""
    for entry in _listed(folder):
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name.endswith(FOLDERS):
                yield Leftover(
                    path,
                    sum(
                        _disk(Path(above, name))
                        for above, _, names in os.walk(path)
                        for name in names
                    ),
                )
            elif depth > 1:
                yield from _under(path, depth - 1)
        elif entry.is_file(follow_symlinks=False) and entry.name.endswith(FILES):
            yield Leftover(path, _disk(path))


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(islice(entries, MAX_SEEN))
    except OSError:
        return []


def _disk(path: Path) -> int:
    """Bytes on the disk: a file that is being written has its full length long before."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return min(status.st_size, status.st_blocks * 512)


def _claimable(leftover: Leftover) -> list[Path]:
    """The files of which one is locked while ``leftover`` is written."""
    path, base = leftover.path, leftover.base
    beside = [
        path.parent / name
        for name in (
            f"{base}.part",
            f"{base}.stream/lock",
            f".{base}.lock",
            f"{base}.lock",
            ".lock",
        )
    ]
    own = (
        [Path(above, name) for above, _, names in os.walk(path) for name in names]
        if path.is_dir()
        else [path]
    )
    return [
        *dict.fromkeys(
            [*own, *beside, *(_locks_of_places(path) if path.name.endswith(DOWNLOADS) else ())]
        )
    ]


def _locks_of_places(path: Path) -> Iterator[Path]:
    """The locks of the places that a file in a cache may come from: of every revision of a
    repository, or of the one URL.
    """
    folder = cache_dir() / "locks"
    owners = [
        part.removeprefix("models--").replace("--", "/")
        for part in path.parts
        if part.startswith("models--")
    ]
    for lock in _listed(folder):
        if any(lock.name.startswith(quote(f"hf:{owner}", safe="")) for owner in owners) or any(
            lock.name.endswith(f"-{part}.lock") for part in path.parts if _URL.fullmatch(part)
        ):
            yield Path(lock.path)


def _claim(file: Path, locks: ExitStack) -> bool:
    """Locks ``file``, if it is there and a plain file; False when another has it."""
    with suppress(FileNotFoundError):
        try:
            if not stat.S_ISREG(file.lstat().st_mode):
                return True
            fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            locks.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except PermissionError as e:
            raise DslocalError(f"{file}: cannot be opened: {e.strerror}") from e
    return True
