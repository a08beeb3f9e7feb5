"""Proves that the README's tour is what a newcomer gets: every command of it, run in a home that is
new, prints what stands there.

Compared is stdout, line by line, spaces at the ends left out. Of the conversation, the lines below
a question must come on the screen in their order. Numbers before ``s`` and ``tokens/s`` may be
others: they are times of one machine.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import READY, Screen
from support.timing import at_most

README = Path(__file__).parents[2] / "README.md"
LIMIT_S = 60
VOLATILE = re.compile(r"\d[\d.,–]* (?=(s|tokens/s)\b)")


def steps() -> list[tuple[str, list[str]]]:
    """The commands of the tour, each with the lines below it."""
    blocks = re.findall(
        r"^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 1
    found: list[tuple[str, list[str]]] = []
    for line in blocks[0].splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def masked(lines: list[str]) -> list[str]:
    return [VOLATILE.sub("# ", line.rstrip()) for line in lines]


def converse(run: Run, folder: Path, lines: list[str]) -> None:
    """Types what stands after ``›`` and waits for what stands below it."""
    with Screen(["/bin/sh", "-c", f"cd '{folder}' && exec '{BINARY}'"], run.env()) as chat:
        chat.wait_for(READY)
        for typed, group in itertools.groupby(lines, lambda line: line.startswith("› ")):
            for line in group:
                if typed:
                    chat.press(f"{line[2:]}\r")
                else:
                    chat.wait_for(line)
            if not typed:
                chat.wait_for(READY)
        assert chat.leave() == 0


@pytest.fixture
def new(tmp_path: Path) -> Run:
    return Run(tmp_path / "home")


def test_the_tour(new: Run, tmp_path: Path) -> None:
    env = new.env({"PATH": f"{BINARY.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"})
    for command, lines in steps():
        if command == "dslocal":
            converse(new, tmp_path, lines)
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            env=env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert masked(done.stdout.decode().splitlines()) == masked(lines), command


@pytest.mark.timed
def test_the_tour_takes_a_minute(new: Run, tmp_path: Path) -> None:
    with at_most(LIMIT_S):
        test_the_tour(new, tmp_path)


def test_the_tour_has_all_that_a_newcomer_wants() -> None:
    commands = " ".join(command for command, _ in steps())
    assert [
        part
        for part in ("dslocal ask ", "-f ", "--json", " dslocal ", "dslocal fit deepseek-")
        if part not in commands
    ] == []
