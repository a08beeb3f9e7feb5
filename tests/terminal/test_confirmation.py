"""Questions of the command line: yes, no, and an end of the input."""

from __future__ import annotations

import io

import pytest

from dslocal.terminal.confirmation import is_confirmed

ANSWERS = [
    ("y\n", True, ""),
    ("YES\n", True, ""),
    (" y \n", True, ""),
    ("y", True, "\n"),
    ("n\n", False, ""),
    ("\n", False, ""),
    ("yesterday\n", False, ""),
    ("", False, "\n"),
]


@pytest.mark.parametrize(("typed", "expected", "after"), ANSWERS)
def test_answers(monkeypatch: pytest.MonkeyPatch, typed: str, expected: bool, after: str) -> None:
    """Proves that an end of the input is a no, after which the next message has its own line."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    out = io.StringIO()
    assert is_confirmed("Delete?", out=out) is expected
    assert out.getvalue() == f"Delete? [y/N] {after}"
