"""Proves that dslocal behaves where its streams, environment or terminal are not as usual."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run, clean_environment
from support.terminal.screen import Screen

PERU = ["ask", "What is the capital of Peru?", "--temperature", "0.6", "--seed", "1"]
ANSWER = b"The capital of Peru is Lima.\n"

SIZES = ["0", "-1", "-80", "99999999999999999999", "eighty", "80x24", "", " ", "1e3", "٨٠"]


@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("value", SIZES)
def test_sizes_that_no_terminal_has(run: Run, name: str, value: str) -> None:
    done = run.inside("models", env={name: value})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"nano" in done.stdout


@pytest.mark.parametrize("term", [None, "", "dumb", "unknown", "xterm", "no-such-terminal"])
def test_any_kind_of_terminal(run: Run, term: str | None) -> None:
    environment = run.env()
    program = ["/usr/bin/env", "-u", "TERM"] if term is None else ["/usr/bin/env", f"TERM={term}"]
    with Screen([*program, str(BINARY), "models"], environment) as screen:
        screen.wait_for("nano")
        assert screen.leave() == 0
        assert "Traceback" not in screen.text
        if term in (None, "", "dumb"):
            assert "\x1b" not in screen.raw


DEBUG_VALUES = [
    *((value, 0) for value in ("", "0", "1", "true", "False", "on", "OFF", "yes", "no")),
    *((value, 2) for value in ("maybe", "2", "debug", "on2", "\x1b[31m", "1 1", "verbose")),
]


@pytest.mark.parametrize(("value", "code"), DEBUG_VALUES)
def test_the_debugging_variable(run: Run, value: str, code: int) -> None:
    done = run.inside("models", env={"DSLOCAL_DEBUG": value})
    said = done.stderr.decode()
    assert done.returncode == code
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert said.count("\n") == (1 if code else 0)


@pytest.mark.parametrize("value", ["0", "false", "off"])
def test_debugging_that_is_off_shows_no_traceback(run: Run, value: str) -> None:
    done = run.inside("show", "nothing-here", env={"DSLOCAL_DEBUG": value})
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
    debugged = run.inside("show", "nothing-here", env={"DSLOCAL_DEBUG": "1"})
    assert b"Traceback" in debugged.stderr


REDIRECTIONS = [
    (">/dev/full", 1, b"dslocal: stdout: No space left on device (free some space on that disk)\n"),
    (">&-", 1, b"dslocal: stdout is closed (use >/dev/null to discard the answer)\n"),
    ("2>/dev/full", 0, b""),
    ("2>&-", 0, b""),
    ("<&-", 0, b""),
    (">/dev/full 2>/dev/full", 1, b""),
    (">&- 2>&- <&-", 1, b""),
    ("| true", 0, b""),
]


@pytest.mark.parametrize(("redirection", "code", "said"), REDIRECTIONS)
def test_streams_that_are_full_or_closed(
    run: Run, redirection: str, code: int, said: bytes
) -> None:
    script = f'"$@" {redirection}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(BINARY), *PERU],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=run.env(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, said)
    expected = ANSWER if code == 0 and "|" not in redirection else b""
    assert done.stdout == expected


UNANSWERED = [
    (["chat"], 2, b"chat needs a terminal"),
    (["rm", "nano"], 2, b"because stdin is not a terminal (--yes"),
    (["sessions", "rm", "nothing-here"], 3, b"no conversation called"),
    (["help", "models"], 0, b""),
    (["doctor"], 0, b""),
]


@pytest.mark.parametrize(("args", "code", "said"), UNANSWERED, ids=[a[0] for a, _, _ in UNANSWERED])
def test_commands_that_ask_where_stdin_is_closed(
    run: Run, args: list[str], code: int, said: bytes
) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" <&-', "bash", str(BINARY), *args],
        capture_output=True,
        env=run.env(),
        check=False,
    )
    assert (done.returncode, b"unexpected" in done.stderr) == (code, False)
    assert said in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "args", [PERU, ["models"], ["fit"], ["doctor"], ["show", "nano"], ["sessions"], ["help"]]
)
def test_no_library_warns(run: Run, args: list[str]) -> None:
    """With warnings as errors the commands do the same, and nothing of a library is shown."""
    usual = run(*args)
    strict = run(*args, env={"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "0"})
    assert (strict.returncode, strict.stderr) == (usual.returncode, usual.stderr)
    for word in (b"Warning", b"warn(", b"ggml_", b"llama_", b"Traceback"):
        assert word not in strict.stderr


def test_warnings_are_for_developers() -> None:
    program = (
        "import sys, warnings; sys.argv = ['dslocal', '--version']\n"
        "from dslocal.cli.process import environment\n"
        "environment.prepare()\nwarnings.warn('a library says')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        env=clean_environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_interrupted_while_python_imports(run: Run) -> None:
    """From the first import of dslocal on; before that only Python itself could handle it."""
    program = "import sys; sys.argv = ['dslocal', 'fit']; import dslocal.cli; print(flush=True); "
    program += "from dslocal.cli.main import main; main()"
    for delay_s in (0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3):
        with subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=run.env(),
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay_s)
            process.send_signal(signal.SIGINT)
            err = process.communicate()[1]
            assert process.returncode in (130, 0)
            assert b"Traceback" not in err


def test_messages_are_broken_between_words(run: Run) -> None:
    with Screen([str(BINARY), "chat", "nothing-here-at-all"], run.env()) as screen:
        screen.resize(24, 40)
        assert screen.leave() == 3
    lines = screen.text.splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 40 for line in lines if " " in line)
    assert " ".join(" ".join(lines).split()).startswith(
        "dslocal: no model or file called 'nothing-here-at-all' ("
    )


def test_a_vote_without_a_majority(run: Run) -> None:
    """Only what more than half of the answers say is one."""
    done = run(
        *("ask", "How many letters r are in strawberrry?", "-n", "5", "--vote"),
        *("--temperature", "3", "--max-tokens", "300", "--seed", "1"),
    )
    assert (done.returncode, done.stdout) == (6, b"")
    assert b"no majority among 5 answers: none was given by more" in done.stderr


def test_home_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = Run(file)("ask", "--dry-run", "hi", cwd=tmp_path)
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") <= 2
    assert file.is_file()
