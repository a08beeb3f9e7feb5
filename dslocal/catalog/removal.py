"""Remove a model: find the files that dslocal may delete, and delete them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dslocal.files import is_file
from dslocal.home.paths import cache_dir
from dslocal.hub import cache_delete
from dslocal.hub.cache_delete import CacheRemoval

from .inventory import CHECKPOINT, InstalledModel, installed_models, locked_removal

MAGIC = b"GGUF"


@dataclass(frozen=True)
class Removal:
    """What removing a model does.

    Attributes:
        entry: The model, which is forgotten.
        goes: Files that are deleted.
        stays: Files that are only forgotten.
        why: Why they stay.
        nbytes: Bytes of disk that are freed.
        in_cache: What is deleted from Hugging Face's cache, where ``goes`` are in it.
    """

    entry: InstalledModel
    goes: tuple[Path, ...] = ()
    stays: tuple[Path, ...] = ()
    why: str = ""
    nbytes: int = 0
    in_cache: CacheRemoval | None = None


def plan_removal(entry: InstalledModel) -> Removal:
    """Return what :func:`remove_model` would do now.

    Raises:
        DslocalError: Its files are in a cache that is not laid out as it should be.
    """
    there = tuple(file for file in entry.files if is_file(file))
    if entry.how == "imported":
        why = "it was imported, so dslocal does not delete it" if there else ""
        return Removal(entry, stays=there, why=why)
    other = _other_user(entry, there)
    if other is not None:
        return Removal(entry, stays=there, why=f"{other.full_name} is the same file")
    if entry.how == "downloaded":
        repository = _cached_repository(entry)
        if repository is not None:
            cached = cache_delete.plan_cache_removal(repository, entry.files)
            return Removal(entry, goes=cached.files, nbytes=cached.nbytes, in_cache=cached)
        if not entry.path.is_relative_to(cache_dir().absolute()):
            return Removal(entry, stays=there, why="it is in no cache that dslocal downloads to")
    return _own_files(entry, there)


def remove_model(entry: InstalledModel) -> Removal:
    """Delete the files of ``entry`` that belong to dslocal, then forget the entry.

    Returns:
        What was done.

    Raises:
        DslocalError: A file cannot be deleted. The entry stays.
    """
    with locked_removal(entry) as is_known:
        if not is_known:
            why = "another process has changed it"
            return Removal(entry, stays=entry.files, why=why)
        removal = plan_removal(entry)
        if removal.in_cache is not None:
            cache_delete.remove_from_cache(removal.in_cache)
        else:
            for file in removal.goes:
                file.unlink(missing_ok=True)
    return removal


def _own_files(entry: InstalledModel, files: Sequence[Path]) -> Removal:
    """Return the removal of those of ``files`` that dslocal wrote."""
    goes: list[Path] = []
    stays: list[Path] = []
    for file in files:
        is_own = _is_gguf(file) or _is_downloaded_checkpoint(file, entry)
        (goes if is_own else stays).append(file)
    why = "it is not a GGUF file that dslocal wrote" if stays else ""
    nbytes = sum(file.stat().st_size for file in goes)
    return Removal(entry, tuple(goes), tuple(stays), why, nbytes)


def _cached_repository(entry: InstalledModel) -> Path | None:
    """Return the repository of Hugging Face's cache that all files of ``entry`` are in."""
    repository = cache_delete.cached_repository_of(entry.path)
    if repository is None:
        return None
    for file in entry.files:
        if cache_delete.cached_repository_of(file) != repository:
            return None
    return repository


def _other_user(entry: InstalledModel, files: Iterable[Path]) -> InstalledModel | None:
    """Return another installed model that has one of ``files``."""
    mine = {os.path.realpath(file) for file in files}
    for other in installed_models():
        if other.full_name.lower() == entry.full_name.lower():
            continue
        if any(os.path.realpath(file) in mine for file in other.files):
            return other
    return None


def _is_gguf(file: Path) -> bool:
    """Return whether ``file`` is itself a GGUF file, by name and first bytes, and no link."""
    try:
        if file.suffix != ".gguf" or not stat.S_ISREG(file.lstat().st_mode):
            return False
        with file.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _is_downloaded_checkpoint(file: Path, entry: InstalledModel) -> bool:
    """Return whether ``file`` is of a checkpoint that dslocal downloaded from a plain folder."""
    own = cache_dir().absolute() / "checkpoints"
    return (
        entry.quant == CHECKPOINT
        and entry.how == "downloaded"
        and own in file.parents
        and stat.S_ISREG(file.lstat().st_mode)
    )
