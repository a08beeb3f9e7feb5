"""Candidates for the word that is being typed.

This runs at every press of Tab: it imports nothing that is slow to load, and raises no error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dslocal.errors import DslocalError

MAX_FILES = 1000  # of a folder that are looked at
SHELLS = ("bash", "fish", "zsh")

Completer = Callable[[str], list[str]]


def models(incomplete: str) -> list[str]:
    """Offer names of models.yaml and of models on this machine, GGUF files, and folders."""
    return _matching(incomplete, _model_names) + _matching_files(incomplete, ".gguf")


def installed(incomplete: str) -> list[str]:
    """Offer names of models on this machine."""
    return _matching(incomplete, _installed_names)


def published(incomplete: str) -> list[str]:
    """Offer names of models.yaml."""
    return _matching(incomplete, _registered_names)


def families(incomplete: str) -> list[str]:
    """Offer names of model families."""
    from dslocal import prompts

    return _matching(incomplete, lambda: prompts.FAMILIES)


def efforts(incomplete: str) -> list[str]:
    """Offer efforts of reasoning."""
    return _matching(incomplete, lambda: ("none", "low", "high", "max"))


def templates(incomplete: str) -> list[str]:
    """Offer names of templates in config.toml."""
    from dslocal import home

    def names() -> Iterable[str]:
        tables = home.read_config().get("templates")
        if not isinstance(tables, dict):
            return ()
        return sorted(name for name in tables if name.isprintable())

    return _matching(incomplete, names)


def gpus(incomplete: str) -> list[str]:
    """Offer GPUs of the table of hardware."""
    from dslocal.plan.machine.hardware import load_hardware

    return _matching(incomplete, lambda: sorted({card.name for card in load_hardware().gpus}))


def cpus(incomplete: str) -> list[str]:
    """Offer CPUs of the table of hardware."""
    from dslocal.plan.machine.hardware import load_hardware

    names = sorted({cpu.name.rstrip("*") for cpu in load_hardware().cpus})
    return _matching(incomplete, lambda: names)


def chips(incomplete: str) -> list[str]:
    """Offer chips of the table of hardware, Apple's without their vendor."""
    from dslocal.plan.machine.hardware import load_hardware

    names = {chip.name.removeprefix("Apple ") for chip in load_hardware().chips}
    return _matching(incomplete, lambda: sorted(names))


def topics(incomplete: str) -> list[str]:
    """Offer names of help topics."""
    from dslocal.cli.help_topics import topic_names

    return _matching(incomplete, topic_names)


def choices(*values: str) -> Completer:
    """Return a completer that offers ``values``."""
    return lambda incomplete: _matching(incomplete, lambda: values)


def imatrices(incomplete: str) -> list[str]:
    """Offer "auto", GGUF files, and folders."""
    return _matching(incomplete, lambda: ("auto",)) + _matching_files(incomplete, ".gguf")


shells = choices(*SHELLS)
quants = choices("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q3_K_M", "Q2_K", "BF16", "F16")


def _matching(incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    """Return the names that begin with ``incomplete``; none where they cannot be had."""
    with suppress(DslocalError, OSError):
        return [name for name in names() if name.startswith(incomplete)]
    return []


def _model_names() -> Iterable[str]:
    return dict.fromkeys([*_registered_names(), *_installed_names()])


def _registered_names() -> Iterator[str]:
    from dslocal.catalog.registry.quick_names import quick_model_names

    return quick_model_names()


def _installed_names() -> Iterator[str]:
    from dslocal import catalog

    entries = [entry for entry in catalog.installed_models() if not entry.missing]
    yield from dict.fromkeys(entry.name for entry in entries)
    yield from (entry.full_name for entry in entries)


def _matching_files(incomplete: str, ending: str) -> list[str]:
    """Return the folders, and the files with ``ending``, whose names begin with ``incomplete``.

    They are spelled as the user began to; folders end in a slash.
    """
    folder = incomplete[: incomplete.rfind("/") + 1]
    start = incomplete[len(folder) :]
    found: list[str] = []
    with (
        suppress(OSError, RuntimeError, ValueError),
        os.scandir(Path(folder or ".").expanduser()) as entries,
    ):
        for _, entry in zip(range(MAX_FILES), entries, strict=False):
            is_hidden = entry.name.startswith(".") and not start
            if is_hidden or not entry.name.startswith(start) or not entry.name.isprintable():
                continue
            if entry.is_dir():
                found.append(f"{folder}{entry.name}/")
            elif entry.name.endswith(ending):
                found.append(f"{folder}{entry.name}")
    return sorted(found)
