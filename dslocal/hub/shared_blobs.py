"""The store in Hugging Face's cache that all repositories share, and what nobody uses in it.

``CACHE/blobs/PREFIX/HASH`` is a file's content, by its Xet hash. A repository's ``blobs/ETAG`` is a
relative link to it, and ``HASH.refs`` lists those links, one a line, relative to the cache. The
list is only a hint: every line is checked against the disk here, and a file whose list is missing
or cannot be read is kept. A marker file tells the store from a folder that somebody else made. The
layout is documented in huggingface_hub's guide "Understand caching", section "Shared blobs across
repos"; ``HASH.lock`` is what its ``_shared_blobs`` locks (version 2.4).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARKER, MARKER_TEXT = ".huggingface-shared-blobs", "1\n"
MAX_MANIFEST = 16 << 20  # bytes

_HASH = re.compile("[0-9a-f]{64}")


def shared_target(blob: Path) -> Path | None:
    """Return the file of the shared store that a repository's ``blob`` links to, if it does."""
    if not blob.is_symlink():
        return None
    target = Path(os.path.normpath(blob.parent / blob.readlink()))
    store = blob.parents[2] / "blobs"
    if not _HASH.fullmatch(target.name) or target.parent != store / target.name[:2]:
        return None
    return target


def freed_bytes(target: Path, removed: Collection[Path]) -> int:
    """Return how many bytes of the store are freed once the links ``removed`` are gone.

    Args:
        target: A file of the store.
        removed: Entries of repositories' ``blobs`` folders.
    """
    references = _references(target)
    if not references or not references <= set(removed):
        return 0
    return _size(target)


def delete_unused(target: Path) -> None:
    """Delete a file of the store that no repository links to any more; keep it where in doubt."""
    if not _is_store(target.parents[1]):
        return
    with suppress(OSError), _locked(target):
        references = _references(target)
        if references is None or references:
            return
        target.unlink(missing_ok=True)
        _manifest(target).unlink(missing_ok=True)


def _references(target: Path) -> set[Path] | None:
    """Return the links to ``target`` that its list names and that are there; None if unknown."""
    try:
        with _manifest(target).open("rb") as opened:
            listed = opened.read(MAX_MANIFEST + 1)
        if len(listed) > MAX_MANIFEST:
            return None
        cache = target.parents[2]
        found = set()
        for line in listed.decode("utf-8").splitlines():
            parts = Path(line).parts
            if len(parts) != 3 or parts[1] != "blobs" or "/" in parts or ".." in parts:
                continue
            link = cache / line
            if _links_to(link, target):
                found.add(link)
    except (OSError, ValueError):
        return None
    return found


def _links_to(link: Path, target: Path) -> bool:
    """Return whether ``link`` leads to ``target``. Raises OSError where that cannot be read."""
    try:
        if not stat.S_ISLNK(link.lstat().st_mode):
            return False
        return os.path.normpath(link.parent / link.readlink()) == str(target)
    except FileNotFoundError:
        return False


def _manifest(target: Path) -> Path:
    return target.with_name(f"{target.name}.refs")


def _size(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _is_store(folder: Path) -> bool:
    marker = folder / MARKER
    try:
        is_plain = stat.S_ISDIR(folder.lstat().st_mode) and stat.S_ISREG(marker.lstat().st_mode)
        return is_plain and marker.read_text(encoding="utf-8") == MARKER_TEXT
    except (OSError, ValueError):
        return False


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock under which huggingface_hub links to ``target`` and deletes it."""
    from filelock import FileLock

    path = target.with_name(f"{target.name}.lock")
    # as huggingface_hub makes it: never through a link, and for every user of a shared cache
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    os.close(os.open(path, flags, 0o666))
    with FileLock(path, mode=0o666):
        yield
