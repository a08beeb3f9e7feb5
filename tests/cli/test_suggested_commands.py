"""Proves that a command which an error suggests can be pasted into a shell, whatever the path in it
has.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from support.cli.running import Run

import dslocal

NAME = "it's here; $HOME"
NANO = Path(dslocal.__file__).parent / "nano"


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    """Files with names that a shell would take apart: a checkpoint, a GGUF file, and others."""
    folder = home / NAME
    folder.mkdir()
    (folder / f"checkpoint {NAME}").symlink_to(NANO)
    (folder / f"{NAME}.gguf").hardlink_to(next((home / "cache").rglob("*.gguf")))
    (folder / f"{NAME}.txt").write_text("text")
    (folder / f"{NAME}.safetensors").write_bytes(b"")
    (folder / f"key {NAME}").write_text("secret-key")
    (folder / f"key {NAME}").chmod(0o644)
    return folder


@pytest.mark.parametrize(
    ("args", "suggested"),
    [
        (["ask", "{}.gguf", "hi"], ["dslocal", "ask", "-m", "{}.gguf"]),
        (["ask", "{}.txt", "hi"], ["dslocal", "ask", "-f", "{}.txt"]),
        (["convert", "{}.gguf", "-o", "c.gguf"], ["dslocal", "ask", "-m", "{}.gguf"]),
        (["convert", "{}.gguf", "-o", "c.gguf"], ["dslocal", "quantize", "{}.gguf"]),
        (["convert", "{}.safetensors", "-o", "c.gguf"], ["dslocal", "convert", "."]),
        (["quantize", "checkpoint {}", "-o", "c.gguf"], ["dslocal", "convert", "checkpoint {}"]),
        (["import", "checkpoint {}"], ["dslocal", "ask", "-m", "checkpoint {}"]),
        (["rm", "{}.txt"], ["rm", "{}.txt"]),
        (["rm", "checkpoint {}"], ["rm", "-r", "checkpoint {}"]),
        (["serve", "nano", "--api-key", "key {}"], ["chmod", "600", "key {}"]),
    ],
)
def test_a_suggested_command_names_the_path(
    run: Run, folder: Path, args: list[str], suggested: list[str]
) -> None:
    done = run.inside(*(arg.format(NAME) for arg in args), cwd=folder)
    complaint = done.stderr.decode()
    assert (done.stdout, complaint.count("\n")) == (b"", 1)
    assert shlex.join(word.format(NAME) for word in suggested) in complaint
