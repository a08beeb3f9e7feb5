"""The inventory: which models are on this machine, besides the one that ships.

There is one small JSON file for each model and quantization, so that no process loses another's
entry. An entry is written whole or not at all. It is not trusted before it is checked: a damaged or
impossible one is skipped, and never deleted.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from dslocal.errors import DslocalError, UsageError
from dslocal.files import is_file, parse_json_object, sync_folder, write_atomic
from dslocal.gguf.parts import MAX_PARTS
from dslocal.home.paths import state_dir

from .quant_names import is_quant_label

Provenance = Literal["converted", "downloaded", "imported"]
PROVENANCES: tuple[Provenance, ...] = ("converted", "downloaded", "imported")
FORMAT = 1
CHECKPOINT = "checkpoint"  # the "quantization" of a whole safetensors checkpoint
MAX_ENTRIES = 10_000
MAX_ENTRY = 1 << 20  # bytes of an entry's file
MAX_TEXT = 4096  # characters of a path or an origin
MAX_BYTES = 1 << 50  # of a model
MAX_TIME = 1e11  # Unix time

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")


@dataclass(frozen=True)
class InstalledModel:
    """One model in one quantization.

    Attributes:
        name: Lower case letters, digits, '.', '_' and '-'.
        quant: Its quantization, or :data:`CHECKPOINT`.
        path: The file to open: the first of ``files``; of a checkpoint its config.json.
        files: All of its files.
        nbytes: Their size.
        how: How it came here, which decides whether its files are dslocal's to delete.
        origin: Where it came from: ``hf:OWNER/NAME@COMMIT``, a URL, ``ollama:deepseek-r1:7b`` or
            a path.
        added: When, in Unix time.
    """

    name: str
    quant: str
    path: Path
    files: tuple[Path, ...]
    nbytes: int
    how: Provenance
    origin: str
    added: float

    @property
    def full_name(self) -> str:
        """What names this model and no other: ``NAME:QUANT``."""
        return f"{self.name}:{self.quant}"

    @property
    def missing(self) -> Path | None:
        """The first of its files that is gone, if any is."""
        return next((file for file in self.files if not is_file(file)), None)


def add_installed(entry: InstalledModel, *, replacing: bool = True) -> None:
    """Make ``entry`` known by its name and quantization.

    Args:
        entry: Relative paths in it become absolute.
        replacing: Replace an entry of that name that has other files, too.

    Raises:
        UsageError: A name or a number cannot be kept, or other files are known by that name.
        DslocalError: It cannot be written.
    """
    files = tuple(absolute_path(file) for file in entry.files)
    entry = replace(entry, path=absolute_path(entry.path), files=files)
    content = {
        "format": FORMAT,
        "name": entry.name,
        "quant": entry.quant,
        "files": [str(file) for file in files],
        "bytes": entry.nbytes,
        "how": entry.how,
        "origin": entry.origin,
        "added": entry.added,
    }
    if _entry_of(content) != entry:
        raise UsageError(
            f"{entry.name!r:.100} in {entry.quant!r:.40} cannot be kept",
            hint="use lower case letters, digits, '.', '_' and '-' in a name",
        )
    with locked_inventory() as folder:
        file = folder / _file_name(entry)
        known = _read(file)
        if known and not replacing and known.files != files:
            raise UsageError(
                f"{entry.full_name} is {known.path} already", hint="choose another name with --name"
            )
        write_atomic(file, json.dumps(content), beside=folder / ".new")


def installed_models() -> list[InstalledModel]:
    """Return all installed models, sorted by name, then by quantization."""
    folder = _folder()
    try:
        with os.scandir(folder) as entries:
            listed = list(islice(entries, MAX_ENTRIES))
    except OSError:
        return []
    found = []
    for file in listed:
        entry = _read(Path(file.path)) if file.name.endswith(".json") else None
        if entry is not None:
            found.append(entry)
    return sorted(found, key=lambda entry: (entry.name, entry.quant.lower()))


def find_installed(name: str, quant: str | None = None) -> InstalledModel | None:
    """Return the model called ``name``, in upper or lower case.

    Args:
        name: ``NAME``, or ``NAME:QUANT`` where ``quant`` is not given.
        quant: Its quantization. Without one it is the model that was added last, and a checkpoint
            only where there is nothing that can be run as it is.
    """
    if quant is None and ":" in name:
        name, quant = name.split(":", 1)
        if not quant:
            return None
    found = []
    for entry in installed_models():
        is_quant = not quant or quant.lower() == entry.quant.lower()
        if is_quant and entry.name == name.lower():
            found.append(entry)
    return max(found, key=_preference, default=None)


def _preference(entry: InstalledModel) -> tuple[bool, float, str]:
    return entry.quant != CHECKPOINT, entry.added, entry.quant


def remove_installed(entry: InstalledModel) -> bool:
    """Forget ``entry``, and touch none of its files.

    Returns:
        Whether it was known; False when something else is known by that name, or nothing.
    """
    with locked_removal(entry) as is_known:
        return is_known


@contextmanager
def locked_removal(entry: InstalledModel) -> Iterator[bool]:
    """Hold the inventory's lock, and forget ``entry`` at the end unless an error is raised inside.

    Yields:
        Whether ``entry`` is still what is known by its name.
    """
    with locked_inventory() as folder:
        file = folder / _file_name(entry)
        is_known = _read(file) == entry
        yield is_known
        if is_known:
            file.unlink(missing_ok=True)
            sync_folder(folder)


@contextmanager
def locked_inventory() -> Iterator[Path]:
    """Yield the folder of the entries while no other process changes them.

    Raises:
        DslocalError: Something there cannot be written.
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
    """Return ``text`` as a model's name: ``DeepSeek R1 (7B)`` becomes ``deepseek-r1-7b``.

    Empty when nothing of it may stand in a name.
    """
    plain = re.sub(r"[^a-z0-9._]+", "-", text.lower())
    return re.sub(r"([._-])[._-]+", r"\1", plain).lstrip("._-")[:96].rstrip("._-")


def absolute_path(path: Path) -> Path:
    """Return ``path`` as an absolute path without ``.`` and ``..``; links in it stay."""
    return Path(os.path.normpath(path.absolute()))


def _folder() -> Path:
    return state_dir() / "models"


def _file_name(entry: InstalledModel) -> str:
    return f"{entry.name}@{entry.quant.lower()}.json"


def _read(file: Path) -> InstalledModel | None:
    """Return the entry in ``file``, unless it is a link, too long, damaged or misnamed."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as opened:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ENTRY:
                return None
            entry = _entry_of(parse_json_object(opened.read(MAX_ENTRY)))
    except (OSError, ValueError):
        return None
    return entry if entry and file.name == _file_name(entry) else None


def _entry_of(content: dict[str, Any]) -> InstalledModel | None:
    """Return the entry that JSON describes, if each of its values is possible."""
    if content.get("format") != FORMAT:
        return None
    for key, can_be in _CHECKS.items():
        if not can_be(content.get(key)):
            return None
    files = tuple(Path(file) for file in content["files"])
    return InstalledModel(
        name=content["name"],
        quant=content["quant"],
        path=files[0],
        files=files,
        nbytes=content["bytes"],
        how=content["how"],
        origin=content["origin"],
        added=float(content["added"]),
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_quant(value: object) -> bool:
    return isinstance(value, str) and is_quant_label(value)


def _are_files(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MAX_PARTS and all(map(_is_path, value))


def _is_path(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
        return False
    return Path(value).is_absolute() and os.path.normpath(value) == value


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_BYTES


def _is_provenance(value: object) -> bool:
    return value in PROVENANCES


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_TIME


_CHECKS: dict[str, Callable[[object], bool]] = {
    "name": _is_name,
    "quant": _is_quant,
    "files": _are_files,
    "bytes": _is_size,
    "how": _is_provenance,
    "origin": _is_text,
    "added": _is_time,
}
