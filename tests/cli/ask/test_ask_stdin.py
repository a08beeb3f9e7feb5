"""Proves that standard input is read wherever a file is taken, as ``-`` or by its path, once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run

PROMPT = [str(BINARY), "ask", "--dry-run", "What is the port?"]
CONTENT = b"port = 8080\n"
SHOWN = "[file content begin]\nport = 8080\n[file content end]"


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
@pytest.mark.parametrize("is_pipe", [True, False], ids=["a pipe", "a file"])
def test_a_file_that_is_stdin(run: Run, tmp_path: Path, name: str, is_pipe: bool) -> None:
    if is_pipe:
        done = run(*PROMPT[1:], "-f", name, stdin=CONTENT)
    else:
        (tmp_path / "a.ini").write_bytes(CONTENT)
        with (tmp_path / "a.ini").open("rb") as stdin:
            done = subprocess.run(
                [*PROMPT, "-f", name], stdin=stdin, capture_output=True, env=run.env(), check=False
            )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().count(SHOWN) == 1


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("{ask} -f <(printf 'port = 8080\\n')", SHOWN),
        ("{ask} -f <(sleep 0.2; printf 'port = 8080\\n')", SHOWN),
        ("{ask} -f <(printf 'port = 8080\\n')", "[file name]: pipe.txt\n"),
        ("{ask} -f <(true)", "[file content begin]\n\n[file content end]"),
        ("{ask} -f /dev/fd/5 5< <(printf 'port = 8080\\n')", SHOWN),
        ("{ask} -f - <<'END'\nport = 8080\nEND", SHOWN),
        ("{ask} -f - <<< 'port = 8080'", SHOWN),
        ("printf 'port = 8080\\n' | {ask}", "port = 8080"),
    ],
)
def test_what_a_shell_gives(run: Run, script: str, shown: str) -> None:
    ask = f"{BINARY} ask --dry-run 'What is the port?'"
    done = subprocess.run(
        ["bash", "-c", script.format(ask=ask)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=run.env(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout.decode()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-f", "-", "-f", "/dev/stdin"], "stdin can be read only once"),
        (["-f", "-", "--schema", "-"], "stdin can be read only once"),
        (["-f", "-", "--grammar", "/dev/fd/0"], "stdin can be read only once"),
        (["-f", "-", "--search-results", "/dev/stdin"], "stdin can be read only once"),
    ],
)
def test_stdin_is_read_once(run: Run, args: list[str], said: str) -> None:
    done = run.inside(*PROMPT[1:], *args, stdin=CONTENT)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()


def test_a_file_alone_is_not_a_question(run: Run) -> None:
    done = run.inside("ask", "-f", "-", stdin=CONTENT)
    assert done.returncode == 2
    assert b"a file is not a question" in done.stderr


def test_closed_stdin(run: Run) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{BINARY} ask 'What is the port?' -f - <&-"],
        capture_output=True,
        env=run.env(),
        check=False,
    )
    assert done.returncode == 2
    assert b"stdin: cannot be read" in done.stderr


def test_stray_bytes_are_said(run: Run) -> None:
    data = "Größe\n".encode() + b"Stra\xdfe\n"
    done = run.inside("ask", "--dry-run", "What?", stdin=data)
    assert done.returncode == 0
    assert "stdin: 1 byte that is not UTF-8 is read as" in done.stderr.decode()
    assert "Stra\N{REPLACEMENT CHARACTER}e" in done.stdout.decode()


def test_a_gap_in_stdin(run: Run) -> None:
    done = run(
        "fim", "/dev/stdin:2", "--temperature", "0", stdin=b"def add(a, b):\n\n    return c\n"
    )
    assert b"cannot be read" not in done.stderr
    assert done.returncode == 0, done.stderr
