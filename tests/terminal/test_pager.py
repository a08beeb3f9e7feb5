"""Proves which pager is used, and that none is needed."""

from __future__ import annotations

import sys

import pytest

from dslocal.terminal import pager


class Terminal:
    closed = False

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("command", ["", "cat", "'open", "/no/such/pager"])
def test_without_a_pager_nothing_is_taken(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", command)
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert pager.page("a page") is False
