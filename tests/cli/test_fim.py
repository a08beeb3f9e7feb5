"""Proves that ``dslocal fim`` prints what belongs into a gap and nothing else, and says why it
cannot fill a gap if that is so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli.running import Run

from dslocal.output import Turn

AREA = '''def area(width, height):
    """Return the product of width and height."""

    return result
'''
FILLED = b"    result = width * height\n"


@pytest.fixture
def area(tmp_path: Path) -> Path:
    file = tmp_path / "area.py"
    file.write_text(AREA)
    return file


def test_a_blank_line_of_a_file(run: Run, area: Path) -> None:
    done = run("fim", f"{area}:3")
    assert (done.returncode, done.stdout, done.stderr) == (0, FILLED, b"")
    assert area.read_text() == AREA


def test_before_a_line_that_is_there(run: Run, area: Path) -> None:
    area.write_text(AREA.replace("\n\n", "\n"))
    assert run("fim", f"{area}:3").stdout == FILLED


def test_windows_line_ends_and_a_name_with_colons(run: Run, area: Path) -> None:
    file = area.with_name("a:1.py")
    file.write_bytes(AREA.replace("\n", "\r\n").encode())
    assert run("fim", f"{file}:3").stdout == FILLED


def test_stdin_as_the_file(run: Run) -> None:
    assert run("fim", ":3", stdin=AREA.encode()).stdout == FILLED


def test_blank_lines_at_the_top_of_stdin_count(run: Run) -> None:
    assert run("fim", ":5", stdin=b"\n\n" + AREA.encode()).stdout == FILLED


def test_prefix_and_suffix(run: Run) -> None:
    prefix, suffix = AREA.split("\n\n")
    done = run("fim", "--prefix", prefix + "\n", "--suffix", "\n" + suffix, "--json")
    result = json.loads(done.stdout)
    assert (result["answer"], result["reasoning"], result["family"], result["finish_reason"]) == (
        FILLED.decode()[:-1],
        "",
        "nano",
        "stop",
    )


ERRORS = {
    "no place": ([], 2, "no gap is named (give FILE:LINE, or --prefix and --suffix)"),
    "both": (["x.py:1", "--prefix", "a"], 2, "cannot be combined"),
    "no line": (["x.py"], 2, "'x.py' is not FILE:LINE (for example area.py:3)"),
    "no such file": (["/no/file:1"], 3, "/no/file: no such file"),
    "a line beyond the end": ([":9"], 2, "stdin:9: there is 1 line (stdin:1 to stdin:2)"),
    "line 0": ([":0"], 2, "stdin:0: there is 1 line"),
    "a family without": (
        [":1", "--family", "v2"],
        2,
        "family v2 (DeepSeek-V2-Chat and V2-Lite-Chat) was not trained to fill in the middle",
    ),
    "r1 itself": (
        [":1", "--family", "r1"],
        2,
        "was not trained to fill in the middle (use a DeepSeek Coder, Coder-V2 or V2-Lite model)",
    ),
    "cut": ([":2", "--max-tokens", "1"], 5, "cut off after 1 token"),
    "too long": ([":2000"], 5, "the context holds 4,096"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(run: Run, name: str) -> None:
    args, code, said = ERRORS[name]
    stdin = "x = 1\n" * (1999 if name == "too long" else 1)
    done = run.inside("fim", *args, stdin=stdin.encode())
    assert done.returncode == code, done.stderr
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_reasoning_is_not_code(run: Run, area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that answers in place of filling the gap writes nothing into the code."""

    def reason(turn: Turn, *_: object, **__: object) -> Iterator[str]:
        turn.text = "    if so I should say so.\n</think>\n\nThat is beyond me."
        yield turn.text

    monkeypatch.setattr("dslocal.output.fill_gap", reason)
    done = run.inside("fim", f"{area}:3")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"reasoned instead of filling the gap" in done.stderr
