"""Deleting single files from Hugging Face's cache, which other programs share.

``models--OWNER--NAME/snapshots/COMMIT/FILE`` links to ``blobs/HASH``. A blob is deleted when no
snapshot links to it any more. Links are read, not followed: nothing outside that ``models--``
folder is deleted, whatever a link says. A blob may itself be a link into the store that all
repositories share: :mod:`dslocal.hub.shared_blobs` decides what happens there.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dslocal.errors import DslocalError

from . import shared_blobs

MAX_LINKS = 200_000
MAX_REF = 100  # bytes of a file that names a commit

_COMMIT = re.compile("[0-9a-f]{40}")
_FOLDERS = {"blobs", "snapshots", "refs", "trees", ".no_exist"}  # of a repository


@dataclass(frozen=True)
class CacheRemoval:
    """What deleting some files of a repository's snapshots does.

    Attributes:
        repository: The ``models--`` folder.
        files: The entries of its snapshots that are deleted.
        blobs: Their contents, as far as no other entry needs them.
        nbytes: Bytes of disk that are freed.
    """

    repository: Path
    files: tuple[Path, ...]
    blobs: tuple[Path, ...]
    nbytes: int


def cached_repository_of(file: Path) -> Path | None:
    """Return the ``models--`` folder whose snapshot ``file`` is in, by its path alone."""
    for repository in file.parents:
        inside = file.relative_to(repository).parts
        if (
            repository.name.startswith("models--")
            and len(inside) > 2
            and inside[0] == "snapshots"
            and _COMMIT.fullmatch(inside[1])
        ):
            return repository
    return None


def plan_cache_removal(repository: Path, files: Sequence[Path]) -> CacheRemoval:
    """Return what deleting ``files`` from ``repository`` would do.

    Raises:
        DslocalError: A folder on the way to one is a link, or cannot be read.
    """
    try:
        _require_real_folders(repository, files)
        removed = [file for file in files if os.path.lexists(file)]
        blobs = _unused_blobs(repository, removed)
        nbytes = sum(_freed_bytes(blob, blobs) for blob in blobs)
        for file in removed:
            if not file.is_symlink():  # a cache without links holds the content itself
                nbytes += _own_bytes(file)
    except OSError as e:
        raise DslocalError(f"{e.filename or repository}: cannot be read: {e.strerror}") from e
    return CacheRemoval(repository, tuple(removed), tuple(blobs), nbytes)


def remove_from_cache(removal: CacheRemoval) -> None:
    """Delete what ``removal`` says: links first, so that none is left without its target.

    Raises:
        OSError: A file cannot be deleted.
    """
    shared = [shared_blobs.shared_target(blob) for blob in removal.blobs]
    for file in removal.files:
        file.unlink(missing_ok=True)
    for blob in removal.blobs:
        blob.unlink(missing_ok=True)
    for target in shared:
        if target is not None:
            shared_blobs.delete_unused(target)
    for file in removal.files:
        _tidy(removal.repository, file)


def _require_real_folders(repository: Path, files: Iterable[Path]) -> None:
    folders = {repository, repository / "blobs"}
    for file in files:
        folders.update(parent for parent in file.parents if parent.is_relative_to(repository))
    for folder in folders:
        try:
            is_folder = stat.S_ISDIR(folder.lstat().st_mode)
        except FileNotFoundError:
            continue
        if not is_folder:
            raise DslocalError(
                f"{folder}: is not a folder of Hugging Face's cache, and is left alone"
            )


def _unused_blobs(repository: Path, removed: Sequence[Path]) -> list[Path]:
    """Return the blobs that no snapshot needs once its links ``removed`` are gone."""
    gone = set(removed)
    needed = set()
    for link, blob in _snapshot_links(repository):
        if link not in gone:
            needed.add(blob)
    unused = set()
    for link in removed:
        target = _blob_of(link, repository)
        if target is None or target in needed:
            continue
        if os.path.lexists(target):
            unused.add(target)
    return sorted(unused)


def _snapshot_links(repository: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every link in the snapshots, with the blob that it points to."""

    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    seen = 0
    for folder, folders, names in os.walk(repository / "snapshots", onerror=stop):
        seen += len(names) + len(folders)
        if seen > MAX_LINKS:
            raise DslocalError(
                f"{repository}: has more than {MAX_LINKS:,} files, and is left alone"
            )
        for name in (*names, *folders):
            link = Path(folder, name)
            blob = _blob_of(link, repository)
            if blob is not None:
                yield link, blob


def _blob_of(link: Path, repository: Path) -> Path | None:
    """Return the entry of ``blobs`` that ``link`` names, if it is a link and names one."""
    if not link.is_symlink():
        return None
    target = Path(os.path.normpath(link.parent / link.readlink()))
    return target if target.parent == repository / "blobs" else None


def _freed_bytes(blob: Path, removed: Collection[Path]) -> int:
    target = shared_blobs.shared_target(blob)
    if target is not None:
        return shared_blobs.freed_bytes(target, removed)
    return _own_bytes(blob)


def _own_bytes(file: Path) -> int:
    """Return the size of a file that has no other name, else 0."""
    status = file.lstat()
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0


def _tidy(repository: Path, file: Path) -> None:
    """Delete the folders that are empty now that ``file`` is gone.

    That is its folders, the names of a commit without files, and a repository without any.
    """
    snapshots = repository / "snapshots"
    commit = file.relative_to(snapshots).parts[0]
    with suppress(OSError):
        for folder in file.parents:
            if folder == snapshots:
                break
            folder.rmdir()
    if os.path.lexists(snapshots / commit):
        return
    _delete_refs(repository, commit)
    _delete_empty_repository(repository)


def _delete_refs(repository: Path, commit: str) -> None:
    for above, _, names in os.walk(repository / "refs"):
        for name in names:
            ref = Path(above, name)
            with suppress(OSError, ValueError):
                if ref.is_symlink() or ref.stat().st_size > MAX_REF:
                    continue
                if ref.read_text(encoding="ascii").strip() == commit:
                    ref.unlink()


def _delete_empty_repository(repository: Path) -> None:
    with suppress(OSError):
        for name in ("snapshots", "blobs"):
            folder = repository / name
            if folder.exists() and any(folder.iterdir()):
                return
        if {path.name for path in repository.iterdir()} <= _FOLDERS:
            shutil.rmtree(repository)
