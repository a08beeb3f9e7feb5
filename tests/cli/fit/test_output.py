"""Proves that ``dslocal fit`` breaks no line in a pipe, prints nothing that a terminal acts on, and
runs as a program."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli.fit_answers import QWEN, V3
from support.cli.running import Run

PIPED = [
    [],
    ["--all"],
    ["--explain"],
    [QWEN, "--ram", "64GB", "--explain"],
    [V3, "--ram", "64GB", "--explain"],
]


@pytest.mark.parametrize("args", PIPED, ids=" ".join)
def test_lines_are_whole_in_a_pipe(
    run: Run, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """Proves that no line is broken or padded where no terminal needs it."""
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = run.inside("fit", *args).stdout.decode().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    monkeypatch.setenv("COLUMNS", "40")
    narrow = run.inside("fit", *args).stdout.decode().splitlines()
    assert len(narrow) > len(lines)


def test_a_hostile_name_is_harmless(run: Run, tmp_path: Path, nano: Path) -> None:
    file = tmp_path / "a\x1b[31m\nb.gguf"
    data = nano.read_bytes().replace(b"general.name", b"general.nama")
    file.write_bytes(data)
    done = run.inside("fit", file, env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert "\x1b" not in run.inside("fit", "--json", file).stdout.decode()


@pytest.mark.parametrize("args", [["deepseek-v2-lite"], []], ids=["plan", "table"])
def test_the_binary(run: Run, args: list[str]) -> None:
    done = run("fit", *args, env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"deepseek-v2-lite" in done.stdout
