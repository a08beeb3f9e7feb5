"""The files of evaluated prompts: found by the first tokens of a prompt, within a budget of bytes.

Every model has a folder, named by its fingerprint and by a hash of what its states depend on. A
file is named by a hash of its token ids, so that the same prompt is there once. A file that is
damaged, cut short or of another model is deleted when it is found. When room is needed, the files
that were not used for longest are deleted first, by their time of modification.

These files contain prompts, so only the user can read them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dslocal.engine.kv_cache.kv_state import (
    CheckedState,
    Identity,
    UnsealedState,
    check_state,
    is_of,
    read_ids,
    read_note,
)
from dslocal.home.paths import MODEL_DIGITS

SUFFIX = ".kv"
PART = ".part"  # of a file that is being written: dslocal.catalog.leftovers knows it
NAME_DIGITS = 32  # of a hash
MAX_FILES = 10_000
FREE_AFTER = 2  # times the size of a new file that must stay free on the disk


@dataclass(frozen=True, eq=False)
class StoredPrefix:
    """A file that holds the state after some token ids.

    Attributes:
        path: The file.
        ids: The token ids: int32 ``[tokens]``.
        checkpoints: The lengths that it can be cut to, besides its own; None where it can be cut
            anywhere.
        nbytes: The bytes of the file.
    """

    path: Path
    ids: NDArray[np.int32]
    checkpoints: tuple[int, ...] | None
    nbytes: int

    def usable(self, ids: NDArray[np.int32]) -> int:
        """Return how many of ``ids``, from the first on, need not be evaluated with this file."""
        shared = _shared(self.ids, ids)
        if self.checkpoints is None or shared == len(self.ids):
            return shared
        return max((length for length in self.checkpoints if length <= shared), default=0)

    def begins(self, ids: NDArray[np.int32]) -> bool:
        """Return whether ``ids`` begin with all of its ids."""
        return len(self.ids) <= len(ids) and bool(np.array_equal(self.ids, ids[: len(self.ids)]))


class PrefixStore:
    """The files of one model, in a folder that all models share. For several threads."""

    def __init__(self, root: Path, identity: Identity, budget: int, *, can_cut: bool) -> None:
        """Open the folder of one model's states.

        Args:
            root: The folder of all models.
            identity: What its states depend on.
            budget: Bytes that the files of all models may take.
            can_cut: Whether its states can be cut anywhere.
        """
        self.identity = identity
        self.budget = budget
        self._root = root
        self._folder = root / _folder_name(identity)
        self._can_cut = can_cut
        self._known: dict[str, StoredPrefix] = {}
        self._lock = threading.Lock()
        self._parts = itertools.count()

    @property
    def folder(self) -> Path:
        """Return the folder of the model's files, which may not exist yet."""
        return self._folder

    def find(self, ids: Sequence[int]) -> tuple[StoredPrefix | None, int]:
        """Return the file with which most of ``ids`` need not be evaluated, and how many."""
        wanted = np.asarray(ids, np.int32)
        best, most = None, 0
        for stored in self._files():
            usable = stored.usable(wanted)
            if usable > most:
                best, most = stored, usable
        return best, most

    def check(self, stored: StoredPrefix, n_ctx: int) -> CheckedState | None:
        """Return a file's state if it is not damaged; a damaged file is deleted.

        It is read as a whole, and counts as used.
        """
        state = check_state(stored.path, self.identity, n_ctx)
        if state is None:
            if len(stored.ids) <= n_ctx:
                self._delete(stored)
            return None
        with suppress(OSError):
            os.utime(stored.path)
        return state

    def has_room(self, nbytes: int) -> bool:
        """Return whether a file of ``nbytes`` may be written."""
        if nbytes > self.budget:
            return False
        self._make_folder()
        return shutil.disk_usage(self._folder).free >= FREE_AFTER * nbytes

    def places(self, ids: Sequence[int]) -> tuple[Path, Path]:
        """Return where the state after ``ids`` belongs, and where it is while it is written."""
        path = self._folder / (_name(np.asarray(ids, np.int32)) + SUFFIX)
        return path, path.with_name(f"{path.name}.{os.getpid()}-{next(self._parts)}{PART}")

    def seal(self, unsealed: UnsealedState) -> None:
        """Finish a file, and delete others that it replaces or that go beyond the budget.

        Raises:
            OSError: It cannot be written.
        """
        unsealed.seal()
        if self._can_cut:
            self._delete_shorter(unsealed.path)
        self._delete_beyond_budget()

    def _files(self) -> list[StoredPrefix]:
        """Return the files that are there now."""
        with self._lock:
            names = [name for name in _listed(self._folder) if name.endswith(SUFFIX)]
            self._known = {name: self._known[name] for name in names if name in self._known}
            for name in names:
                if name not in self._known:
                    read = self._read(self._folder / name)
                    if read is not None:
                        self._known[name] = read
            return list(self._known.values())

    def _read(self, path: Path) -> StoredPrefix | None:
        """Return what a file says of itself; None where it is no state of this model, and goes."""
        try:
            note, _ = read_note(path)
            ids = read_ids(path, int(note["tokens"]))
            if not is_of(note, self.identity) or not len(ids) or _name(ids) + SUFFIX != path.name:
                raise ValueError("another model's")
            lengths = tuple(int(length) for length, _ in note["checkpoints"])
            nbytes = path.stat().st_size
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, OverflowError):
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return StoredPrefix(path, ids, None if self._can_cut else lengths, nbytes)

    def _delete(self, stored: StoredPrefix) -> None:
        with self._lock:
            self._known.pop(stored.path.name, None)
        with suppress(OSError):
            stored.path.unlink(missing_ok=True)

    def _delete_shorter(self, path: Path) -> None:
        """Delete the files whose prompts the file at ``path`` begins with."""
        files = self._files()
        new = next((stored for stored in files if stored.path == path), None)
        for stored in files if new else ():
            if new is not None and stored is not new and stored.begins(new.ids):
                self._delete(stored)

    def _delete_beyond_budget(self) -> None:
        """Delete the files that were not used for longest until the budget is kept."""
        found = sorted(_all_files(self._root), key=lambda entry: entry.stat().st_mtime_ns)
        total = sum(entry.stat().st_size for entry in found)
        for entry in found:
            if total <= self.budget:
                return
            with suppress(OSError):
                total -= entry.stat().st_size
                Path(entry.path).unlink(missing_ok=True)

    def _make_folder(self) -> None:
        """Make the folders, which are for the user alone."""
        for folder in (self._root, self._folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)


def _all_files(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files of all models."""
    for folder in _listed(root):
        with suppress(OSError), os.scandir(root / folder) as entries:
            for entry in itertools.islice(entries, MAX_FILES):
                if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    yield entry


def _listed(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in itertools.islice(entries, MAX_FILES)]
    except OSError:
        return []


def _folder_name(identity: Identity) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{str(identity['model'])[:MODEL_DIGITS]}-{digest[:MODEL_DIGITS]}"


def _name(ids: NDArray[np.int32]) -> str:
    """Return the name of a file by its token ids."""
    return hashlib.sha256(ids.astype("<i4").tobytes()).hexdigest()[:NAME_DIGITS]


def _shared(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    """Return how many ids two prompts have in common from the first on."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length
