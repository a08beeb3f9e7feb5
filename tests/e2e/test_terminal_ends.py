"""Proves that a chat which is ended from outside, or suspended, leaves the terminal as it was and
loses nothing that was said.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run
from support.terminal.screen import READY, Screen
from support.waiting import TimeLimit, exit_code_of

WAIT_S = 60
CTRL_Z = "\x1a"
HUP_IGNORED = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]  # as nohup has it
FINAL_MODES = ("?25h", "?7h", "?2004l")  # the cursor shown, lines wrapped, pasting as it was


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A home of its own, with nano converted."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    return Run(tmp_path)


@contextmanager
def chat(own: Run, *before: str, answering: bool = False) -> Iterator[Screen]:
    """Run a chat that waits at its prompt, or is in the middle of a long answer."""
    with Screen([*before, str(BINARY), "chat", "nano"], own.env()) as screen:
        screen.wait_for(READY)
        if answering:
            for line in ("/set temperature 5", "/set max_tokens 3000"):  # babble
                screen.press(f"{line}\r")
                screen.wait_for(READY)
            screen.press("What is 987654 × 321?\r")
            screen.wait_for("Ctrl-C stops")
        yield screen


def has_line_mode(screen: Screen) -> bool:
    """Return whether the terminal echoes, and gives whole lines."""
    flags = termios.tcgetattr(screen.terminal)[3]
    return bool(flags & termios.ECHO) and bool(flags & termios.ICANON)


def saved_turns(own: Run) -> list[tuple[str, str]]:
    """Return the role of each saved message, and how it was cut."""
    turns: list[tuple[str, str]] = []
    for file in (own.home / "state" / "sessions").glob("*.jsonl"):
        for line in map(json.loads, file.read_text("utf-8").splitlines()):
            turns[line["from"] :] = [(m["role"], m.get("cut", "")) for m in line["messages"]]
    return turns


def kill(number: signal.Signals) -> Callable[[Screen], int]:
    def end(screen: Screen) -> int:
        os.kill(screen.process.pid, number)
        code = screen.leave()
        assert has_line_mode(screen)
        for mode in FINAL_MODES:
            other = mode[:-1] + ("l" if mode.endswith("h") else "h")
            assert screen.raw.rfind(f"\x1b[{mode}") > screen.raw.rfind(f"\x1b[{other}")
        return code

    return end


def close(screen: Screen) -> int:
    screen.close_terminal()
    return exit_code_of(screen.process)


ENDINGS = [
    ("SIGTERM", kill(signal.SIGTERM), [], -signal.SIGTERM),
    ("SIGHUP", kill(signal.SIGHUP), [], -signal.SIGHUP),
    ("SIGQUIT", kill(signal.SIGQUIT), [], -signal.SIGQUIT),
    ("the window closed", close, [], -signal.SIGHUP),
    ("the window closed under nohup", close, HUP_IGNORED, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize("answering", [False, True], ids=["at the prompt", "in an answer"])
@pytest.mark.parametrize(
    ("end", "before", "code"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS]
)
def test_ended_from_outside(
    own: Run, end: Callable[[Screen], int], before: list[str], code: int, answering: bool
) -> None:
    with chat(own, *before, answering=answering) as screen:
        assert end(screen) == code
        assert "Traceback" not in screen.text
    expected = [("user", ""), ("assistant", "interrupted")] if answering else []
    assert saved_turns(own) == expected


def test_a_killed_chat_leaves_the_terminal_as_it_was(own: Run) -> None:
    with chat(own) as screen:
        assert kill(signal.SIGTERM)(screen) == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize("answering", [False, True], ids=["at the prompt", "in an answer"])
def test_ctrl_z_and_fg(own: Run, answering: bool) -> None:
    shell = ["/bin/dash", "-i"]  # it leaves the terminal as a stopped program left it
    environment = own.env({"PS1": "$ ", "BIN": str(BINARY)})
    with Screen(shell, environment) as screen:
        screen.wait_for("$ ")
        screen.press('"$BIN" chat nano\r')
        screen.wait_for("/help lists commands.")
        screen.wait_for(READY)
        if answering:
            for line in ("/set temperature 5", "/set max_tokens 3000"):
                screen.press(f"{line}\r")
                screen.wait_for(READY)
            screen.press("What is 987654 × 321?\r")
            screen.wait_for("Ctrl-C stops")
        screen.press(CTRL_Z)
        screen.wait_for("Stopped")
        screen.wait_for("$ ")
        assert has_line_mode(screen)
        screen.press("fg\r")
        screen.wait_for("fg")
        if answering:
            # for how long it reasoned, that it stopped in the midst of it, or after 3,000 tokens
            screen.wait_for("reason", "was cut off after")
            screen.press("\x03")
        screen.wait_for("›")
        screen.press("/exit\r")
        screen.wait_for("$ ")
        screen.press("exit\r")
        screen.leave()


@pytest.mark.slow
def test_ctrl_z_while_the_model_loads(tmp_path: Path) -> None:
    own = Run(tmp_path)  # nano is still to be converted
    with Screen(["/bin/dash", "-i"], own.env({"PS1": "$ ", "BIN": str(BINARY)})) as screen:
        screen.wait_for("$ ")
        screen.press('"$BIN" chat nano\r')
        screen.wait_for("converting")
        screen.press(CTRL_Z)
        screen.wait_for("Stopped")
        screen.wait_for("$ ")
        assert has_line_mode(screen)
        assert "^Z" not in screen.text
        screen.press("fg\r")
        screen.wait_for(READY)
        screen.press("/exit\r")
        screen.wait_for("$ ")
        screen.press("exit\r")
        screen.leave()


@pytest.mark.slow
def test_what_is_typed_while_the_model_loads_is_in_the_first_line(tmp_path: Path) -> None:
    with Screen([str(BINARY), "chat", "nano"], Run(tmp_path).env()) as screen:
        screen.wait_for("converting")
        assert not has_line_mode(screen)  # nothing is echoed into the progress
        screen.press("What is the capital of Pez\x7fru?\r/exit\r")
        screen.wait_for("Lima")
        assert screen.leave() == 0


@pytest.mark.slow
def test_stopped_and_continued_by_another_process(own: Run) -> None:
    """SIGTSTP and SIGCONT to the process that was started reach the one that works."""
    counting = (
        "import os, time; from dslocal.cli import supervisor; supervisor.continue_in_child();"
        " print(os.getpid(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-c", counting],
        stdout=subprocess.PIPE,
        text=True,
        env=own.env(),
        process_group=0,
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        for number, states in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "SR")):
            process.send_signal(number)
            for pid in (process.pid, child):
                wait_for_state(pid, states)
        process.terminate()
        assert exit_code_of(process) == -signal.SIGTERM


def wait_for_state(pid: int, states: str) -> None:
    limit = TimeLimit(WAIT_S)
    while (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) not in states:
        assert not limit.is_over(), f"{pid} is not {states}"
        time.sleep(0.02)
