"""Prove that links which lead out of a checkpoint are not followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkpoints.damage import (
    SINGLE,
    refusal,
)

# a link in place of a shard or config.json that leads out of the folder, and the words about it
LINKS: dict[str, tuple[str, str, str]] = {
    "to a private key": ("tokenizer.json", "id_rsa", "is a link out of the checkpoint"),
    "to a file of another kind": (SINGLE, "notes.txt", "is a link out of the checkpoint"),
    "to a device": (SINGLE, "/dev/zero", "is a link out of the checkpoint"),
    "to a FIFO": (SINGLE, "pipe.safetensors", "is not a regular file"),
    "to a folder": (SINGLE, "folder.safetensors", "is not a regular file"),
    "to nowhere": (SINGLE, "nothing.safetensors", "is missing from"),
    "around": (SINGLE, "loop.safetensors", "cannot be read"),
    "to a blob that is not the cache's": (SINGLE, "blobs/" + "0" * 64, "is a link out"),
}


@pytest.mark.parametrize(("file", "target", "words"), LINKS.values(), ids=LINKS)
def test_links_that_stay_forbidden(
    file: str, target: str, words: str, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("llama")
    outside = tmp_path / "outside"
    (outside / "blobs").mkdir(parents=True)
    (outside / "folder.safetensors").mkdir()
    os.mkfifo(outside / "pipe.safetensors")
    (outside / "loop.safetensors").symlink_to(outside / "loop.safetensors")
    for name in ("id_rsa", "notes.txt", "blobs/" + "0" * 64):
        shutil.copy(folder / file, outside / name)
    (folder / file).unlink()
    (folder / file).symlink_to(outside / target)
    (tmp_path / "out").mkdir()
    assert words in str(refusal(folder, tmp_path / "out"))
