"""The vocabulary of a model whose weights are elsewhere: found on this machine, as a GGUF file.

An engine that serves a model says what it is called, and perhaps where its files are. Nothing is
downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dslocal import catalog, home
from dslocal.errors import DslocalError, NotFoundError
from dslocal.files import is_file, stat_fingerprint
from dslocal.gguf.parts import first_part

from . import conversion_cache, resolve
from .locations import entry_of_repository

FORMAT = 1  # raised when the vocabulary's file changes, so that older ones are made again
TOKENIZER = "tokenizer.json"
PARTS = (TOKENIZER, "tokenizer_config.json", "config.json")
DIGITS = 12
REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
HINT = (
    "name it with --tokenizer: a tokenizer.json, a checkpoint folder, or a GGUF file of the model"
)


def vocabulary_at(place: str) -> Path:
    """Return a GGUF file with the vocabulary that the user named.

    Args:
        place: A GGUF file, tokenizer.json, a checkpoint folder, or a model on this machine.

    Raises:
        NotFoundError: It is not there.
        DslocalError: It is damaged, or not a tokenizer that llama.cpp can run.
    """
    path = Path(place).expanduser()
    if path.name == TOKENIZER and is_file(path):
        return _vocabulary_of(path.parent)
    if path.is_dir():
        return _vocabulary_of(path)
    found = resolve.resolve_model(place)
    return found if isinstance(found, Path) else _vocabulary_of(found.folder)


def find_vocabulary(names: Sequence[str], *, is_here: bool) -> Path:
    """Return a GGUF file with the vocabulary of the model that an engine serves.

    Args:
        names: What the engine calls the model, and where it says that its files are.
        is_here: Whether the engine runs on this machine, so that its files are this machine's.

    Raises:
        NotFoundError: Nothing here has it.
        DslocalError: What has it is damaged.
    """
    for name in names:
        for found in (_at_path(name) if is_here else None, _by_file_name(name), _by_name(name)):
            if found is not None:
                return found
    shown = names[0] if names else "the engine's model"
    raise NotFoundError(f"the tokenizer of {shown:.100} is not on this machine", hint=HINT)


def known_family(names: Sequence[str]) -> str | None:
    """Return the family that models.yaml gives a model with one of these names, if it has one."""
    for name in names:
        entry = entry_of_repository(name) or catalog.load_registry().get(name.lower())
        if entry is not None:
            return entry.family
    return None


def _at_path(name: str) -> Path | None:
    """Return what is at a path that an engine named, if that is an ordinary GGUF or checkpoint."""
    path = Path(name)
    if not path.is_absolute():
        return None
    if path.suffix == ".gguf" and is_file(path):
        return first_part(path)
    return _vocabulary_of(path) if is_file(path / TOKENIZER) else None


def _by_file_name(name: str) -> Path | None:
    """Return the file on this machine that is called as the engine's, which may be a copy of it."""
    wanted = Path(name).name
    if not wanted.endswith(".gguf"):
        return None
    return next((file for file in _known_files() if file.name == wanted and is_file(file)), None)


def _known_files() -> Iterator[Path]:
    for conversion in conversion_cache.cached_conversions():
        yield conversion.path
    for installed in catalog.installed_models():
        yield installed.path


def _by_name(name: str) -> Path | None:
    """Return the vocabulary of the model of that name, as it was downloaded or converted here."""
    from dslocal.hub.download import cached_snapshot
    from dslocal.hub.repository import HubRepository

    if REPOSITORY.fullmatch(name) and ".." not in name:
        folder = cached_snapshot(HubRepository(name))
        if folder is not None and is_file(folder / TOKENIZER):
            return _vocabulary_of(folder)
    entry = entry_of_repository(name) or catalog.load_registry().get(name.lower())
    installed = catalog.find_installed(entry.name if entry else name)
    if installed is not None and installed.quant != catalog.CHECKPOINT and not installed.missing:
        return installed.path
    if entry is not None and entry.local is not None:
        return _vocabulary_of(entry.folder)
    return None


def _vocabulary_of(folder: Path) -> Path:
    """Return the vocabulary of a checkpoint folder as a GGUF file, made once, in the cache."""
    if not is_file(folder / TOKENIZER):
        raise NotFoundError(f"{folder}: has no {TOKENIZER}", hint=HINT)
    parts = [folder / name for name in PARTS if is_file(folder / name)]
    digest = stat_fingerprint(parts, str(FORMAT))[:DIGITS]
    cache = home.cache_dir() / "vocabularies"
    out = cache / f"{folder.name[:60]}-{digest}.gguf"
    if is_file(out):
        return out
    from filelock import FileLock

    import dslocal.convert as converter

    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(out.with_name(f".{out.name}.lock")):
            if not is_file(out):
                converter.write_vocabulary(folder, out)
    except OSError as e:
        raise DslocalError(
            f"{cache}: cannot be written: {e.strerror}", hint="DSLOCAL_HOME moves it"
        ) from e
    return out
