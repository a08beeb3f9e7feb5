"""Make a checkpoint odd in the ways of real ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.checkpoints.damage import (
    FIRST,
    INDEX,
    SECOND,
    SINGLE,
    Damage,
    header,
    in_json,
    put,
    several,
)

import dslocal.convert as converter

SETTINGS = "tokenizer_config.json"
MARK = b"\xef\xbb\xbf"


def new(file: str, data: bytes | str) -> Damage:
    """Write another file, in a folder of the checkpoint perhaps."""

    def do(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(data.encode() if isinstance(data, str) else data)

    return do


def renamed(old: str, to: str) -> Damage:
    def do(folder: Path) -> None:
        (folder / old).rename(folder / to)

    return do


def copied(old: str, to: str) -> Damage:
    def do(folder: Path) -> None:
        shutil.copy(folder / old, folder / to)

    return do


def linked_to_the_cache(folder: Path) -> None:
    """What huggingface-cli --local-dir left before 0.23: links to blobs that have no suffix."""
    blobs = folder.parent / "models--deepseek-ai--X" / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate((SECOND, "tokenizer.json")):
        blob = blobs / f"{number:064x}"
        (folder / file).rename(blob)
        (folder / file).symlink_to(blob)


def every_name(change: Callable[[str], str]) -> Damage:
    """Give the tensors of a single shard other names."""

    def changed(value: dict[str, Any]) -> dict[str, Any]:
        value.pop("__metadata__", None)
        return {change(name): entry for name, entry in value.items()}

    return header(SINGLE, changed)


def listed(*names: str) -> Damage:
    """Name tensors in the index that are in no shard."""
    return several(*(in_json(INDEX, put("weight_map", name, FIRST)) for name in names))


def planned(folder: Path) -> converter.ConversionPlan:
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    return converter.plan_conversion(checkpoint, [converter.recipe_named("Q8_0")])
