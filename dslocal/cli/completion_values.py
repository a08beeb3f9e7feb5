"""What a shell is offered for the word that is being typed. It runs at every press of Tab: nothing
heavy is imported, nothing raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dslocal.errors import DslocalError

MOST_FILES = 1000  # of a folder
SHELLS = ("bash", "fish", "zsh")


def models(incomplete: str) -> list[str]:
    """Names of models.yaml and of what is here, GGUF files, and folders, which end in a slash."""
    return _beginning(incomplete, _names) + _files(incomplete, ".gguf")


def kept(incomplete: str) -> list[str]:
    """Names of what is on this machine."""
    return _beginning(incomplete, _kept)


def published(incomplete: str) -> list[str]:
    """Names of models.yaml."""
    return _beginning(incomplete, _registered)


def families(incomplete: str) -> list[str]:
    from dslocal import prompts

    return _beginning(incomplete, lambda: prompts.FAMILIES)


def templates(incomplete: str) -> list[str]:
    """Names of templates."""
    from dslocal import home

    def names() -> Iterator[str]:
        tables = home.read_config().get("templates")
        yield from (
            sorted(name for name in tables if name.isprintable())
            if isinstance(tables, dict)
            else ()
        )

    return _beginning(incomplete, names)


def topics(incomplete: str) -> list[str]:
    """Names of help topics."""
    from dslocal.cli.commands.help_ import topics as names

    return _beginning(incomplete, names)


def choices(*values: str) -> Callable[[str], list[str]]:
    """A completion that offers ``values``."""
    return lambda incomplete: _beginning(incomplete, lambda: values)


shells = choices(*SHELLS)
quants = choices("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q3_K_M", "Q2_K", "BF16", "F16")


def _beginning(incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    with suppress(DslocalError, OSError):
        return [name for name in names() if name.startswith(incomplete)]
    return []


def _names() -> Iterator[str]:
    return iter(dict.fromkeys([*_registered(), *_kept()]))


def _registered() -> Iterator[str]:
    from dslocal.catalog.registry_names import quick_model_names

    return quick_model_names()


def _kept() -> Iterator[str]:
    from dslocal import catalog

    entries = [entry for entry in catalog.installed_models() if not entry.missing]
    yield from dict.fromkeys(entry.name for entry in entries)
    yield from (entry.full_name for entry in entries)


def _files(incomplete: str, ending: str) -> list[str]:
    """Files with ``ending`` and folders that ``incomplete`` may be the beginning of, as it spells
    them.
    """
    folder, slash, start = incomplete.rpartition("/")
    found = []
    with (
        suppress(OSError, RuntimeError, ValueError),
        os.scandir(Path(folder + slash or ".").expanduser()) as entries,
    ):
        for _, entry in zip(range(MOST_FILES), entries, strict=False):
            if (
                not entry.name.startswith(start)
                or not entry.name.isprintable()
                or (entry.name.startswith(".") and not start)
            ):
                continue
            if entry.is_dir():
                found.append(f"{folder}{slash}{entry.name}/")
            elif entry.name.endswith(ending):
                found.append(f"{folder}{slash}{entry.name}")
    return sorted(found)
