"""Deleting single files from Hugging Face's cache, which other programs share.

``models--OWNER--NAME/snapshots/COMMIT/FILE`` links to ``blobs/HASH``. A blob goes when no snapshot
links to it any more. Links are read, not followed: nothing outside that ``models--`` folder is
deleted, whatever a link says. Since 2026 a blob may itself be a link, into a store that all
repositories share; what lies there is huggingface_hub's to collect.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dslocal.errors import DslocalError

MAX_LINKS = 200_000
_COMMIT = re.compile("[0-9a-f]{40}")
_SHARED = re.compile("[0-9a-f]{64}")
_OWN = {"blobs", "snapshots", "refs", ".no_exist"}


@dataclass(frozen=True)
class CacheRemoval:
    """``files`` go from the snapshots of ``repository``, and ``blobs`` with them; ``nbytes`` are
    freed.
    """

    repository: Path
    files: tuple[Path, ...]
    blobs: tuple[Path, ...]
    nbytes: int


def hub_cache_dir() -> Path:
    """Hugging Face's cache, by the environment as it is now."""
    env = os.environ
    if given := env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE"):
        return Path(os.path.expandvars(given)).expanduser()
    home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def cached_repository_of(file: Path) -> Path | None:
    """The ``models--`` folder whose snapshot ``file`` is in, by its path alone."""
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
    """What deleting ``files`` would do. Raises DslocalError when a folder on the way to one is a
    link, or cannot be read.
    """
    try:
        _require_real(repository, files)
        there = [file for file in files if os.path.lexists(file)]
        gone = {*there}
        used = {blob for link, blob in _links(repository) if link not in gone}
        blobs = sorted(
            {
                blob
                for file in there
                if (blob := _blob_of(file, repository))
                and blob not in used
                and os.path.lexists(blob)
            }
        )
        nbytes = sum(
            _freed(file, set(blobs))
            for file in [*blobs, *(file for file in there if not file.is_symlink())]
        )
    except OSError as e:
        raise DslocalError(f"{e.filename or repository}: cannot be read: {e.strerror}") from e
    return CacheRemoval(repository, tuple(there), tuple(blobs), nbytes)


def remove_from_cache(removal: CacheRemoval) -> None:
    """Links first, so that none is ever left without what it points to. What cannot be deleted is
    an OSError.
    """
    shared = [target for blob in removal.blobs if (target := _shared(blob))]
    for file in (*removal.files, *removal.blobs):
        file.unlink(missing_ok=True)
    for target in shared:
        _collect(target)
    for file in removal.files:
        _tidy(removal.repository, file)


def _require_real(repository: Path, files: Iterable[Path]) -> None:
    folders = {repository, repository / "blobs"}
    for file in files:
        folders.update(parent for parent in file.parents if parent.is_relative_to(repository))
    for folder in folders:
        try:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise DslocalError(
                    f"{folder}: is no folder of Hugging Face's cache, and is left alone"
                )
        except FileNotFoundError:
            continue


def _links(repository: Path) -> Iterator[tuple[Path, Path]]:
    """Every link in the snapshots, with the blob that it points to."""
    seen = 0

    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, folders, names in os.walk(repository / "snapshots", onerror=stop):
        for name in (*names, *folders):
            seen += 1
            if seen > MAX_LINKS:
                raise DslocalError(
                    f"{repository}: has more than {MAX_LINKS:,} files, and is left alone"
                )
            if blob := _blob_of(Path(folder, name), repository):
                yield Path(folder, name), blob


def _blob_of(link: Path, repository: Path) -> Path | None:
    """The entry of ``blobs`` that ``link`` says, if it is a link and says one."""
    if not link.is_symlink():
        return None
    target = Path(os.path.normpath(link.parent / link.readlink()))
    return target if target.parent == repository / "blobs" else None


def _shared(blob: Path) -> Path | None:
    """The file of the store that all repositories share which ``blob`` is a link to."""
    if not blob.is_symlink():
        return None
    target = Path(os.path.normpath(blob.parent / blob.readlink()))
    store = blob.parents[2] / "blobs"
    is_one = _SHARED.fullmatch(target.name) and target.parent == store / target.name[:2]
    return target if is_one else None


def _freed(file: Path, going: set[Path]) -> int:
    if target := _shared(file):
        from huggingface_hub.utils._shared_blobs import expected_shared_blob_freed_size

        return expected_shared_blob_freed_size(
            target, blob_paths_to_delete=going, cache_dir=file.parents[2]
        )
    status = file.lstat()
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0


def _collect(target: Path) -> None:
    from huggingface_hub.utils._shared_blobs import sweep_shared_blob

    sweep_shared_blob(target, cache_dir=target.parents[2])


def _tidy(repository: Path, file: Path) -> None:
    """Removes folders that became empty, the names of a commit of which nothing is left, and a
    repository that is empty.
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
    for above, _, names in os.walk(repository / "refs"):
        for ref in (Path(above, name) for name in names):
            with suppress(OSError, ValueError):
                if (
                    not ref.is_symlink()
                    and ref.stat().st_size < 100
                    and ref.read_text(encoding="ascii").strip() == commit
                ):
                    ref.unlink()
    with suppress(OSError):
        left = [
            *snapshots.iterdir(),
            *((repository / "blobs").iterdir() if (repository / "blobs").exists() else ()),
        ]
        if not left and {path.name for path in repository.iterdir()} <= _OWN:
            shutil.rmtree(repository)
