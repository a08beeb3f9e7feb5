"""Proves which model is the default, when a line says that it changed, and where it is marked."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import Screen

from dslocal.catalog import resolve
from dslocal.cli.default_model import default_model, make_default

FILE = "tiny.gguf"
ANNOUNCED = "is now the default model"

# What is named one after the other, and which of it is announced.
NAMED: dict[str, tuple[list[str], list[str]]] = {
    "what ships is the default already": (["nano", "nano"], []),
    "a file": ([FILE, FILE, FILE], [FILE]),
    "and back": ([FILE, "nano", FILE, "nano"], [FILE, "nano"]),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DSLOCAL_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / FILE).touch()
    return tmp_path


def announced(monkeypatch: pytest.MonkeyPatch, names: list[str], *, is_terminal: bool) -> list[str]:
    """The models that are announced when they are named one after the other."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    lines: list[str] = []
    for name in names:
        make_default(name, lines.append)
    assert all(f" {ANNOUNCED}; -m NAME " in line for line in lines)
    return [Path(line.split(" ")[0]).name for line in lines]


@pytest.mark.parametrize(("names", "expected"), NAMED.values(), ids=NAMED)
def test_a_new_default_is_announced_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], expected: list[str]
) -> None:
    assert announced(monkeypatch, names, is_terminal=True) == expected
    assert Path(default_model()).name == names[-1]


def test_a_script_reads_nothing_of_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert announced(monkeypatch, [FILE, "nano", FILE], is_terminal=False) == []
    assert default_model() == str(place / FILE)


def test_a_default_that_is_configured_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_MODEL", "nano")
    assert announced(monkeypatch, [FILE], is_terminal=True) == []
    assert default_model() == "nano"
    assert resolve.last_used_model() == str(place / FILE)


def test_a_file_that_was_tried_is_said_to_be_the_default_and_marked(
    place: Path, nano: Path
) -> None:
    own, file = Run(place / "home"), place / FILE
    own.home.mkdir()
    shutil.copy(nano, file)
    command = [str(BINARY), "ask", "-m", str(file), "capital of peru"]
    with Screen(command, own.env()) as screen:
        assert screen.leave() == 0
    assert " ".join(screen.text.split()).count(f"{file} {ANNOUNCED}") == 1
    listed = own.inside("models", env={"COLUMNS": "500"}).stdout.decode()
    assert f"\n{file} is the default model, used where a command names none\n" in listed


@pytest.mark.parametrize("name", ["nano", "nano:Q8_0"])
def test_the_default_is_marked_below_its_row(place: Path, name: str) -> None:
    own = Run(place / "home")
    own.home.mkdir()
    resolve.remember_last_used(name)
    lines = own.inside("models").stdout.decode().splitlines()
    assert lines[1].startswith("nano ")
    assert lines[2] == "  the default model, used where a command names none"


def test_damaged_settings_do_not_keep_models_from_being_listed(place: Path) -> None:
    own = Run(place / "home")
    (own.home / "config").mkdir(parents=True)
    (own.home / "config" / "config.toml").write_text("model = ")
    listed = own.inside("models")
    assert listed.returncode == 0
    assert listed.stdout.startswith(b"model ")
    assert b"default model" not in listed.stdout
