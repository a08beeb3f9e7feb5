"""Which GGUF models are on this machine, besides what ships: one small file for each, so that no
process loses another's entry.

An entry is written whole or not at all. It is hostile until checked: one that is damaged, or says
what cannot be, is passed over and never deleted.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from dslocal.errors import DslocalError, UsageError
from dslocal.files import is_file, sync_folder, write_atomic
from dslocal.gguf.parts import MAX_PARTS
from dslocal.home.paths import state_dir

from .quant_names import is_quant_label

How = Literal["converted", "downloaded", "imported"]
HOW: tuple[How, ...] = ("converted", "downloaded", "imported")
FORMAT = 1
CHECKPOINT = (
    "checkpoint"  # the "quantization" of one that was downloaded whole, and is not a GGUF file
)
MAX_ENTRIES, MAX_ENTRY, MAX_TEXT = 10_000, 1 << 20, 4096
MAX_BYTES, MAX_TIME = 1 << 50, 1e11

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")


@dataclass(frozen=True)
class InstalledModel:
    """One model in one quantization. ``path`` is the file to open, the first of ``files`` where it
    is split; a checkpoint's config.json.

    ``how`` it came here decides whether its files are dslocal's to delete. ``origin`` is where it
    came from: ``hf:OWNER/NAME@COMMIT``, a URL, ``ollama:deepseek-r1:7b`` or a path. ``added`` is
    Unix time.
    """

    name: str
    quant: str
    path: Path
    files: tuple[Path, ...]
    nbytes: int
    how: How
    origin: str
    added: float

    @property
    def full_name(self) -> str:
        """What names this one and no other."""
        return f"{self.name}:{self.quant}"

    @property
    def missing(self) -> Path | None:
        """The first of its files that is gone, if any is."""
        return next((file for file in self.files if not is_file(file)), None)


def add_installed(entry: InstalledModel, *, replacing: bool = True) -> None:
    """Makes ``entry`` known by its name and quantization, in place of what was.

    Raises UsageError for a name or a number that cannot be kept, and, unless ``replacing``, where
    other files are known by that name already; DslocalError where it cannot be written.
    """
    files = tuple(map(absolute_path, entry.files))
    entry = replace(entry, path=absolute_path(entry.path), files=files)
    fields = {
        **{
            "format": FORMAT,
            "name": entry.name,
            "quant": entry.quant,
            "files": [str(file) for file in files],
        },
        **{"bytes": entry.nbytes, "how": entry.how, "origin": entry.origin, "added": entry.added},
    }
    if _entry(fields) != entry:
        raise UsageError(
            f"{entry.name!r:.100} in {entry.quant!r:.40} cannot be kept",
            hint="a name is lower case letters, digits, '.', '_' and '-'",
        )
    with locked_inventory() as folder:
        known = _read(folder / _file_name(entry.name, entry.quant))
        if known and not replacing and known.files != files:
            raise UsageError(
                f"{entry.full_name} is {known.path} already", hint="--name gives it another name"
            )
        write_atomic(
            folder / _file_name(entry.name, entry.quant),
            json.dumps(fields),
            beside=folder / ".new",
        )


def installed_models() -> list[InstalledModel]:
    """All of them, by name, then by quantization."""
    folder = _folder()
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name for entry in islice(entries, MAX_ENTRIES) if entry.name.endswith(".json")
            ]
    except OSError:
        return []
    found = [entry for name in names if (entry := _read(folder / name))]
    return sorted(found, key=lambda entry: (entry.name, entry.quant.lower()))


def find_installed(name: str, quant: str | None = None) -> InstalledModel | None:
    """The model called ``name``, which may be ``NAME:QUANT``, in any case; without a quantization
    the one added last.

    A checkpoint comes after everything that can be run as it is.
    """
    if quant is None:
        name, colon, quant = name.partition(":")
        if colon and not quant:
            return None
    same = [
        entry
        for entry in installed_models()
        if entry.name == name.lower() and quant.lower() in ("", entry.quant.lower())
    ]
    return max(
        same, key=lambda entry: (entry.quant != CHECKPOINT, entry.added, entry.quant), default=None
    )


def remove_installed(entry: InstalledModel) -> bool:
    """Forgets ``entry``, and touches none of its files; False when it is not what is known by that
    name, or nothing is.
    """
    with locked_removal(entry) as known:
        return known


@contextmanager
def locked_removal(entry: InstalledModel) -> Iterator[bool]:
    """Holds the lock, says whether ``entry`` is still what is known by its name, and forgets it at
    the end if so.
    """
    with locked_inventory() as folder:
        file = folder / _file_name(entry.name, entry.quant)
        known = _read(file) == entry
        yield known
        if known:
            file.unlink(missing_ok=True)
            sync_folder(folder)


@contextmanager
def locked_inventory() -> Iterator[Path]:
    """Yields the folder of the entries while no other process changes them. What cannot be written
    there is a DslocalError.
    """
    from filelock import FileLock

    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as e:
        raise DslocalError(
            f"{folder}: cannot be written to: {e.strerror}", hint="DSLOCAL_HOME moves it"
        ) from e
    try:
        yield folder
    except OSError as e:
        raise DslocalError(f"{e.filename or folder}: cannot be changed: {e.strerror}") from e
    finally:
        lock.release()


def model_slug(text: str) -> str:
    """``text`` as a name: ``DeepSeek R1 (7B)`` becomes ``deepseek-r1-7b``. Empty when nothing is
    left.
    """
    plain = re.sub(r"[^a-z0-9._]+", "-", text.lower())
    return re.sub(r"([._-])[._-]+", r"\1", plain).lstrip("._-")[:96].rstrip("._-")


def absolute_path(path: Path) -> Path:
    """``path`` from the root on, without ``.`` and ``..``; links in it stay."""
    return Path(os.path.normpath(path.absolute()))


def _folder() -> Path:
    return state_dir() / "models"


def _file_name(name: str, quant: str) -> str:
    return f"{name}@{quant.lower()}.json"


def _read(file: Path) -> InstalledModel | None:
    """The entry in ``file``, unless it is none."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as opened:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ENTRY:
                return None
            entry = _entry(json.loads(opened.read(MAX_ENTRY)))
    except (OSError, ValueError, RecursionError):
        return None
    return entry if entry and file.name == _file_name(entry.name, entry.quant) else None


def _entry(content: Any) -> InstalledModel | None:
    """What an entry says, if all of it can be."""
    match content:
        case {
            "format": 1,
            "name": str(name),
            "quant": str(quant),
            "files": [str(first), *rest],
            "bytes": int(nbytes),
            **more,
        }:
            how, origin, added = (more.get(key) for key in ("how", "origin", "added"))
        case _:
            return None
    files = [first, *rest]
    if not (
        _NAME.fullmatch(name)
        and is_quant_label(quant)
        and len(files) <= MAX_PARTS
        and all(isinstance(file, str) and _is_plain_path(file) for file in files)
        and not isinstance(nbytes, bool)
        and 0 <= nbytes <= MAX_BYTES
        and how in HOW
        and isinstance(origin, str)
        and len(origin) <= MAX_TEXT
        and isinstance(added, int | float)
        and not isinstance(added, bool)
        and 0 <= added <= MAX_TIME
    ):
        return None
    return InstalledModel(
        name, quant, Path(first), tuple(map(Path, files)), nbytes, how, origin, float(added)
    )


def _is_plain_path(text: str) -> bool:
    return (
        len(text) <= MAX_TEXT
        and "\0" not in text
        and Path(text).is_absolute()
        and os.path.normpath(text) == text
    )
