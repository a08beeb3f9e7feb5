"""Find the files of interrupted work and of measurements, and whether a process still uses them.

A process that writes such a file holds a lock (flock) on one of these: the file itself, its sibling
``NAME.part`` or ``NAME.stream/lock``, the lock file of ``NAME``, which is called ``.NAME.lock`` or
``NAME.lock``, or a file ``.lock`` in its folder; for a folder, any file in it. A process that
downloads into a cache holds the lock of the repository or URL.
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

from dslocal.errors import DslocalError, GgufError
from dslocal.files import read_json_object
from dslocal.gguf.header import parse_header
from dslocal.home.paths import MODEL_DIGITS, cache_dir, prefix_dir, quality_dir
from dslocal.hub.environment import hub_cache_dir

DOWNLOADS = (".partial", ".quick", ".damaged")  # of dslocal.hub.fetch
JOURNAL = ".journal"  # of dslocal.convert
JOURNAL_KEYS = {"fingerprint", "data_starts", "done"}
MAX_JOURNAL = 1 << 20  # bytes
FILES = (*DOWNLOADS, ".part", JOURNAL, ".journal.new")
FOLDERS = (".stream",)
KEPT = (".kld", ".scores")  # of dslocal quality: whole, and made again where they are missing
PROMPTS = (".kv", ".calls")  # evaluated prompts and answers of dslocal serve, likewise
MAX_DEPTH = 6  # of folders in the cache
MAX_LISTED = 100_000  # entries of a folder

_URL_FOLDER = re.compile("[0-9a-f]{12}")  # what the folder of a URL's files is called


@dataclass(frozen=True)
class Leftover:
    """A file, or a folder with all that is in it, and the bytes of disk that it takes."""

    path: Path
    nbytes: int

    @property
    def base(self) -> str:
        """The name of the file that it was to become."""
        name = self.path.name
        if name.endswith((*KEPT, *PROMPTS)):
            return name
        for suffix in (*FILES[::-1], *FOLDERS):  # ".journal.new" before ".journal"
            if name.endswith(suffix):
                return name.removesuffix(suffix)
        raise ValueError(f"{self.path}: not a leftover")


def find_leftovers() -> list[Leftover]:
    """Return all in dslocal's cache, those of its downloads in Hugging Face's, and those of
    conversions in the current folder, by path.
    """
    found = list(_leftovers_in(cache_dir(), MAX_DEPTH))
    here = Path.cwd()
    if not here.is_relative_to(cache_dir()):
        found += _conversions_in(here)
    for repository in _listed(hub_cache_dir()):
        if repository.name.startswith("models--"):
            found += _leftovers_in(Path(repository.path, "blobs"), 1)
    return sorted(found, key=lambda leftover: leftover.path)


def find_kept_logits() -> list[Leftover]:
    """Return what ``dslocal quality`` keeps: log-probabilities of references, and scores."""
    folder = quality_dir()
    return sorted(
        (
            Leftover(folder / entry.name, _disk_usage(folder / entry.name))
            for entry in _listed(folder)
            if entry.name.endswith(KEPT) and entry.is_file(follow_symlinks=False)
        ),
        key=lambda kept: kept.path,
    )


def find_kept_prompts(fingerprint: str = "") -> list[Leftover]:
    """Return the evaluated prompts that ``dslocal serve`` keeps: of one model, or of all.

    Args:
        fingerprint: The fingerprint of the model's file; empty for all models.
    """
    folders = [
        prefix_dir() / entry.name
        for entry in _listed(prefix_dir())
        if entry.name.startswith(fingerprint[:MODEL_DIGITS]) and entry.is_dir(follow_symlinks=False)
    ]
    return sorted(
        (
            Leftover(folder / entry.name, _disk_usage(folder / entry.name))
            for folder in folders
            for entry in _listed(folder)
            if entry.name.endswith(PROMPTS) and entry.is_file(follow_symlinks=False)
        ),
        key=lambda kept: kept.path,
    )


def delete_leftover(leftover: Leftover) -> bool:
    """Delete ``leftover``.

    Returns:
        False where a process uses it, and nothing was deleted.

    Raises:
        DslocalError: It cannot be deleted.
    """
    with ExitStack() as locks:
        if not _lock_all(leftover, locks):
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
    """Return whether a process is still writing it."""
    with ExitStack() as locks:
        return not _lock_all(leftover, locks)


def _leftovers_in(folder: Path, depth: int) -> Iterator[Leftover]:
    """Yield the leftovers in ``folder`` and in the folders below it; links are not followed."""
    for entry in _listed(folder):
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name.endswith(FOLDERS):
                yield Leftover(path, sum(_disk_usage(file) for file in _files_below(path)))
            elif depth > 1:
                yield from _leftovers_in(path, depth - 1)
        elif entry.is_file(follow_symlinks=False) and entry.name.endswith(FILES):
            yield Leftover(path, _disk_usage(path))


def _conversions_in(folder: Path) -> Iterator[Leftover]:
    """Yield what conversions left in a folder of the user, and no other file.

    A journal is known by its content. Beside one, a part is known by its header, into which dslocal
    writes its version, or which says that it is a later part of a split file.
    """
    names = {entry.name for entry in _listed(folder) if entry.is_file(follow_symlinks=False)}
    journals = {name for name in names if name.endswith(JOURNAL) and _is_journal(folder / name)}
    for name in sorted(names if journals else ()):
        path = folder / name
        if name in journals or (name.endswith(".part") and _is_own_part(path)):
            yield Leftover(path, _disk_usage(path))


def _is_journal(path: Path) -> bool:
    try:
        return set(read_json_object(path, max_bytes=MAX_JOURNAL)) == JOURNAL_KEYS
    except (OSError, ValueError):
        return False


def _is_own_part(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = parse_header(file, path.stat().st_size, name=path.name)
    except (OSError, GgufError):
        return False
    return "dslocal.version" in header.metadata or header.integer("split.no") > 0


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(islice(entries, MAX_LISTED))
    except OSError:
        return []


def _files_below(folder: Path) -> Iterator[Path]:
    for above, _, names in os.walk(folder):
        for name in names:
            yield Path(above, name)


def _disk_usage(path: Path) -> int:
    """Return bytes on the disk: a partial file has its full length long before."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return min(status.st_size, status.st_blocks * 512)


def _lock_all(leftover: Leftover, locks: ExitStack) -> bool:
    """Lock every file that a process writing ``leftover`` may hold; False where one is held."""
    files = dict.fromkeys(_lock_files(leftover))  # each once: a second lock on it would fail
    return all(_try_lock(file, locks) for file in files)


def _lock_files(leftover: Leftover) -> Iterator[Path]:
    """Yield the files one of which is locked while ``leftover`` is written."""
    path, base = leftover.path, leftover.base
    if path.is_dir():
        yield from _files_below(path)
    else:
        yield path
    for name in (f"{base}.part", f"{base}.stream/lock", f".{base}.lock", f"{base}.lock", ".lock"):
        yield path.parent / name
    if path.name.endswith(DOWNLOADS):
        yield from _download_locks(path)


def _download_locks(path: Path) -> Iterator[Path]:
    """Yield the locks of the repositories and URLs that a file in a cache may come from."""
    repositories = []
    urls = []
    for part in path.parts:
        if part.startswith("models--"):
            name = part.removeprefix("models--").replace("--", "/")
            repositories.append(quote(f"hf:{name}", safe=""))  # of every revision
        if _URL_FOLDER.fullmatch(part):
            urls.append(f"-{part}.lock")
    for lock in _listed(cache_dir() / "locks"):
        if lock.name.startswith(tuple(repositories)) or lock.name.endswith(tuple(urls)):
            yield Path(lock.path)


def _try_lock(file: Path, locks: ExitStack) -> bool:
    """Lock ``file`` if it is there and a plain file; False when another process has the lock."""
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
