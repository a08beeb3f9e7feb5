"""Removing a model: which of its files are dslocal's to delete, and deleting them together with the
entry.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dslocal.files import is_file
from dslocal.home.paths import cache_dir
from dslocal.hub import cache_delete

from .inventory import CHECKPOINT, InstalledModel, installed_models, locked_removal

MAGIC = b"GGUF"


@dataclass(frozen=True)
class Removal:
    """``goes`` are files that are deleted, which frees ``nbytes``; ``stays`` are those that are
    only forgotten, and ``why``.
    """

    entry: InstalledModel
    goes: tuple[Path, ...]
    stays: tuple[Path, ...]
    why: str
    nbytes: int


def plan_removal(entry: InstalledModel) -> Removal:
    """What :func:`remove_model` would do now. Raises DslocalError for files in a cache that is not as it
    should be.
    """
    return _decided(entry)[0]


def remove_model(entry: InstalledModel) -> Removal:
    """Deletes what of ``entry`` is dslocal's, then forgets it. Raises DslocalError where a file
    cannot be deleted.
    """
    with locked_removal(entry) as known:
        if not known:
            return Removal(entry, (), entry.files, "another process has changed what it is", 0)
        removal, in_cache = _decided(entry)
        if in_cache:
            cache_delete.remove_from_cache(in_cache)
        else:
            for file in removal.goes:
                file.unlink(missing_ok=True)
    return removal


def _decided(entry: InstalledModel) -> tuple[Removal, cache_delete.CacheRemoval | None]:
    there = tuple(file for file in entry.files if is_file(file))
    if entry.how == "imported":
        return Removal(
            entry, (), there, "it was imported, and is not dslocal's" if there else "", 0
        ), None
    if other := _also_used_by(entry, there):
        return Removal(entry, (), there, f"{other.full_name} is the same file", 0), None
    if entry.how == "downloaded":
        repository = cache_delete.cached_repository_of(entry.path)
        if repository and all(
            cache_delete.cached_repository_of(file) == repository for file in entry.files
        ):
            in_cache = cache_delete.plan_cache_removal(repository, entry.files)
            return Removal(entry, in_cache.files, (), "", in_cache.nbytes), in_cache
        if not entry.path.is_relative_to(cache_dir().absolute()):
            return Removal(entry, (), there, "it is in no cache that dslocal downloads to", 0), None
    goes = tuple(file for file in there if _is_gguf(file) or _is_downloaded_checkpoint(file, entry))
    stays = tuple(file for file in there if file not in goes)
    return Removal(
        entry, goes, stays, "it is no GGUF file that dslocal wrote" if stays else "", _size(goes)
    ), None


def _also_used_by(entry: InstalledModel, files: Iterable[Path]) -> InstalledModel | None:
    mine = {os.path.realpath(file) for file in files}
    others = (
        other for other in installed_models() if other.full_name.lower() != entry.full_name.lower()
    )
    return next(
        (other for other in others if any(os.path.realpath(file) in mine for file in other.files)),
        None,
    )


def _is_gguf(file: Path) -> bool:
    """Whether ``file`` is itself a GGUF file, by its name and its first bytes, and no link to
    one.
    """
    try:
        if file.suffix != ".gguf" or not stat.S_ISREG(file.lstat().st_mode):
            return False
        with file.open("rb") as opened:
            return opened.read(4) == MAGIC
    except OSError:
        return False


def _is_downloaded_checkpoint(file: Path, entry: InstalledModel) -> bool:
    """Whether ``file`` is part of a checkpoint that lies where dslocal downloads those that are on
    no hub.
    """
    own = cache_dir().absolute() / "checkpoints"
    return (
        entry.quant == CHECKPOINT
        and entry.how == "downloaded"
        and own in file.parents
        and stat.S_ISREG(file.lstat().st_mode)
    )


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
