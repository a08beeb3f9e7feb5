"""models.yaml: data edited by people, checked strictly.

An unknown key is an error that names its line; it is never ignored. The file that ships is read
first, then the user's own from the configuration folder, whose entries win.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dslocal.catalog.model_entry import ModelEntry
from dslocal.errors import DslocalError
from dslocal.home.paths import config_dir, registry_file
from dslocal.strict_yaml import read_yaml

from .model_sections import Shape, read_file

PREFIX = "deepseek-"  # of nearly every name; it may be left out


@dataclass(frozen=True)
class _Registry:
    """The content of one file, by name; ``shapes`` are also those of the file that it builds on."""

    models: dict[str, ModelEntry]
    shapes: dict[str, Shape]


def load_registry(file: Path | None = None) -> dict[str, ModelEntry]:
    """Return all models by name, in the file's order.

    Args:
        file: The only file to read. Without one, it is the file that ships and the user's own.

    Raises:
        DslocalError: A file cannot be read or breaks a rule; the message names file, line, model
            and key.
    """
    if file is not None:
        return _read(file, {}).models
    shipped = _unchanged(registry_file(), None)
    own = config_dir() / "models.yaml"
    try:
        status = own.stat()
    except (FileNotFoundError, NotADirectoryError):
        return dict(shipped.models)
    except OSError as e:
        raise DslocalError(f"{own}: cannot be read: {e.strerror}") from e
    mine = _unchanged(own, (status.st_mtime_ns, status.st_size), registry_file())
    return {**shipped.models, **mine.models}


def find_entry(name: str) -> ModelEntry | None:
    """Return the model that ``name`` or one of its aliases means, however it is spelled.

    Upper and lower case, '_' and '-' are the same, and "deepseek-" may be left out.
    """
    registry = load_registry()
    found = registry.get(name.lower())
    if found is not None:
        return found
    wanted = _key(name)
    for entry in registry.values():
        if wanted in _keys(entry):
            return entry
    without_tag = name.removesuffix(":latest")
    return find_entry(without_tag) if without_tag != name else None


def known_names() -> dict[str, str]:
    """Return all names and aliases, each with the name of its model."""
    names: dict[str, str] = {}
    for entry in load_registry().values():
        names.update(dict.fromkeys((entry.name, *entry.aliases), entry.name))
    return names


def _keys(entry: ModelEntry) -> Iterator[str]:
    for name in (entry.name, *entry.aliases):
        key = _key(name)
        yield key
        if key.startswith(PREFIX):
            yield key.removeprefix(PREFIX)


def _key(name: str) -> str:
    """Return a name in the one spelling in which names are compared."""
    plain = re.sub(r"[\s_:-]+", "-", name.lower()).strip("-")
    return plain.removeprefix("deepseek-ai-")


@functools.lru_cache(maxsize=4)
def _unchanged(file: Path, stamp: object, beneath: Path | None = None) -> _Registry:
    """Read a file once in a process for as long as ``stamp`` stays the same.

    ``beneath`` is a file whose shapes it may use.
    """
    return _read(file, _unchanged(beneath, None).shapes if beneath else {})


def _read(file: Path, known: dict[str, Shape]) -> _Registry:
    models, shapes = read_file(read_yaml(file), known)
    return _Registry(models, {**known, **shapes})
