"""Proves what ``dslocal ask`` shows on a terminal, and what it sends to pipes beside one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli.ask_contract import LIMA, PERU, SUM
from support.cli.running import BINARY, Run
from support.terminal.screen import Screen

# what is piped, arguments, exit code, what the screen shows in this order, what it does not
SCREENS: dict[str, tuple[tuple[str, ...], list[str], dict[str, str], int, list[str], list[str]]] = {
    "all of it": (
        (),
        [PERU, "--seed", "1"],
        {},
        0,
        ["capital", LIMA.decode().strip(), "seed 1"],
        [],
    ),
    "nothing to ask": ((), [], {}, 2, ["nothing to ask"], []),
    "stdout alone is piped": (
        ("stdout",),
        [PERU, "--seed", "1"],
        {},
        0,
        ["\x1b[2m", "seed 1"],
        [LIMA.decode().strip()],
    ),
    "no colour": (("stdout",), [PERU, "--seed", "1"], {"NO_COLOR": "1"}, 0, ["seed 1"], ["\x1b["]),
    "a dumb terminal": (
        ("stdout",),
        [SUM, "-n", "2", "--vote", "--seed", "1"],
        {"TERM": "dumb"},
        0,
        ["2 of 2 agree"],
        ["\x1b", "answer 1"],
    ),
    "stderr alone is piped": (
        ("stderr",),
        [PERU, "--seed", "1"],
        {},
        0,
        [LIMA.decode().strip()],
        ["\x1b", "seed 1"],
    ),
    "a vote counts on": (
        (),
        [SUM, "-n", "3", "--vote", "--seed", "1"],
        {},
        0,
        ["answer 1 of 3", "4042", "3 of 3 agree"],
        [],
    ),
}


@pytest.mark.parametrize("name", SCREENS)
def test_ask_on_a_terminal(run: Run, name: str) -> None:
    """The answer is on stdout, all else on stderr, and escape sequences only where somebody
    looks.
    """
    piped, args, env, code, shown, hidden = SCREENS[name]
    with Screen([str(BINARY), "ask", *args], run.env(env), piped=piped) as screen:
        assert screen.leave() == code
        at = 0
        for text in shown:
            at = screen.raw.index(text, at) + len(text)
        assert not [text for text in hidden if text in screen.raw]


def test_first_use_explains_itself_on_a_terminal_once(run: Run, tmp_path: Path) -> None:
    """In three lines at the most; a script sees nothing of it."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    new = Run(tmp_path)
    for first in (True, False):
        with Screen(
            [str(BINARY), "ask", PERU, "--hide-thinking"], new.env(), piped=("stdout",)
        ) as screen:
            assert screen.leave() == 0
            lines = screen.text.splitlines()
            assert len(lines) <= 3
            assert any("first use" in line for line in lines) == first
            assert any("dslocal help" in line for line in lines) == first
