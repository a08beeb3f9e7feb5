"""Small things that are remembered: a disk that refuses them, and damage."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO, Any

import pytest

from dslocal import home


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the state in a home of its own."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    return tmp_path / "state"


def test_what_is_written_is_read() -> None:
    home.write_state("things", {"a": 1})
    assert home.read_state("things") == {"a": 1}


def test_a_full_disk_leaves_the_old_state_and_no_other_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_state("things", {"a": 1})
    opened = Path.open

    def open_full(path: Path, *args: Any, **options: Any) -> IO[Any]:
        file: IO[Any] = opened(path, *args, **options)
        if "wb" in args:
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return file

    monkeypatch.setattr(Path, "open", open_full)
    home.write_state("things", {"a": 2})
    assert [file.name for file in folder.iterdir()] == ["things.json"]
    assert home.read_state("things") == {"a": 1}


@pytest.mark.parametrize("content", ["", "[]", "{", "\0"])
def test_damage_is_nothing(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "things.json").write_text(content)
    assert home.read_state("things") == {}
