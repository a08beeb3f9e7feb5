"""Proves that long work says on a terminal how far it is and what is left, and says nothing
elsewhere or when it is short.
"""

from __future__ import annotations

import io
import sys
import time

import pytest

from dslocal.terminal import progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "xterm")
    return now


def shown(
    monkeypatch: pytest.MonkeyPatch,
    clock: list[float],
    steps: list[tuple[float, float]],
    *,
    stream: io.StringIO,
    eager: bool,
) -> list[str]:
    """What is on the line after every step of seconds and share."""
    monkeypatch.setattr(sys, "stderr", stream)
    work = progress_line.ProgressLine(eager=eager)
    for seconds, share in steps:
        clock[0] = 100.0 + seconds
        work.show("reading", share)
    work.clear()
    return stream.getvalue().split(progress_line.ERASE)[1:]


CASES = {
    "short work": ([(0.1, 0.5), (0.4, 0.9)], False, []),
    "long work": (
        [(0.1, 0.1), (2, 0.25), (4, 0.5)],
        False,
        ["reading, 6 s left", "reading, 4 s left", ""],
    ),
    "not before a second is over": ([(0.6, 0.3)], False, ["reading", ""]),
    "not too often": (
        [(2, 0.5), (2.05, 0.5), (2.5, 0.5)],
        False,
        ["reading, 2 s left", "reading, 2 s left", ""],
    ),
    "at once": ([(0, 0)], True, ["reading", ""]),
    "very long work": ([(60, 0.01)], False, ["reading, 99 min left", ""]),
    "longer still": ([(600, 0.01)], False, ["reading, 16.5 h left", ""]),
    "at the end": ([(2, 1.0)], False, ["reading", ""]),
}


@pytest.mark.parametrize(("steps", "eager", "lines"), CASES.values(), ids=CASES)
def test_a_line(
    monkeypatch: pytest.MonkeyPatch,
    clock: list[float],
    steps: list[tuple[float, float]],
    eager: bool,
    lines: list[str],
) -> None:
    assert shown(monkeypatch, clock, steps, stream=Terminal(), eager=eager) == lines


def test_nothing_where_nobody_looks(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    steps = [(2.0, 0.5)]
    assert shown(monkeypatch, clock, steps, stream=io.StringIO(), eager=True) == []
    monkeypatch.setenv("TERM", "dumb")
    assert shown(monkeypatch, clock, steps, stream=Terminal(), eager=True) == []


def test_control_characters_are_not_passed_on(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    progress_line.ProgressLine(eager=True).show("loading a\x1b[31mb\nc", 0)
    assert stream.getvalue() == f"{progress_line.ERASE}loading a[31mb c"
