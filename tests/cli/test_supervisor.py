"""Proves that whatever ends llama.cpp ends dslocal as one line and an exit code, and that signals
and keys pass through.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli.running import BINARY, Run, python
from support.terminal.screen import READY, Screen
from support.waiting import exit_code_of

START = """
import ctypes, mmap, os, signal, sys, tempfile, time
from dslocal.gguf import libraries
from dslocal.cli import supervisor

supervisor.continue_in_child()
supervisor.set_subject("some.gguf")
low = libraries.require()
library = low._lib
"""
THREAD = "import threading; thread = threading.Thread(target={}); thread.start(); thread.join()"
ABORT = "library.ggml_abort(b'/where/it/was/built.cpp', 12, b'GGML_ASSERT(%s) failed', b'n > 0')"
SHRUNK = """
with tempfile.TemporaryFile() as file:
    file.truncate(1 << 20)
    mapped = mmap.mmap(file.fileno(), 1 << 20)
    file.truncate(0)
    mapped[1 << 19]
"""
DAMAGED = " (the model's file may be damaged: download or convert it again)"
LESS = " (use a smaller --ctx, quantization or model; dslocal fit shows what fits)"
ENDINGS = [
    (
        "an assertion",
        ABORT,
        1,
        "llama.cpp aborted: built.cpp:12: GGML_ASSERT(n > 0) failed" + DAMAGED,
    ),
    (
        "an assertion in a thread",
        THREAD.format(f"lambda: {ABORT}"),
        1,
        "llama.cpp aborted: built.cpp:12: GGML_ASSERT(n > 0) failed" + DAMAGED,
    ),
    (
        "an exception",
        "library._ZSt20__throw_out_of_rangePKc(b'map::at')",
        1,
        "llama.cpp failed with std::out_of_range" + DAMAGED,
    ),
    ("no memory", "library._ZSt17__throw_bad_allocv()", 4, "llama.cpp ran out of memory" + LESS),
    (
        "a null pointer",
        "ctypes.string_at(0)",
        1,
        "llama.cpp accessed memory that it does not have (segmentation fault)" + DAMAGED,
    ),
    (
        "a file that shrinks",
        SHRUNK,
        1,
        "could no longer be read, or there was no more memory (do not change or move a model's "
        "file while it is used)",
    ),
    (
        "the kernel's killer",
        "os.kill(os.getpid(), signal.SIGKILL)",
        4,
        "the system killed the process, probably because memory ran out" + LESS,
    ),
]


@pytest.mark.parametrize(
    ("program", "code", "line"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS]
)
def test_one_line_and_an_exit_code(program: str, code: int, line: str, tmp_path: Path) -> None:
    done = python(f"import os; os.chdir({str(tmp_path)!r})\n{START}\n{program}")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("dslocal: some.gguf: ")
    assert done.stderr.endswith(line + "\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # no core dump


def test_any_number_of_subjects() -> None:
    """The child does not wait for the parent, which looks only at the end."""
    many = "for n in range(5000): supervisor.set_subject('é' * 2000 + str(n))"
    last = "supervisor.set_subject('last.gguf'); supervisor.confirm_work()"
    done = python(f"{START}\n{many}\n{last}\nos.kill(os.getpid(), signal.SIGKILL)")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("dslocal: last.gguf: the system killed the process")


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(5)", 5),
        ("raise SystemExit", 0),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_exits_as_the_child_does(program: str, code: int) -> None:
    done = python(
        f"{START}\nprint('started', end=' ')\nprint('ended')\nsys.stdout.flush()\n{program}"
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "started ended\n", "")


@pytest.mark.parametrize(
    ("program", "is_undone"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", True),
        ("os.abort()", True),
        ("supervisor.confirm_work(); os.kill(os.getpid(), signal.SIGKILL)", False),
        ("os.kill(os.getpid(), signal.SIGTERM)", False),
        ("sys.exit(1)", False),
    ],
)
def test_a_crash_is_undone_unless_the_work_was_confirmed(program: str, is_undone: bool) -> None:
    start = "import os, signal, sys\nfrom dslocal.cli import supervisor\n"
    undo = "supervisor.continue_in_child(on_crash=lambda: os.write(1, b'undone'))\n"
    assert python(start + undo + program).stdout == ("undone" if is_undone else "")


def test_runs_where_it_is_when_llama_cpp_is_loaded() -> None:
    program = (
        "import os; from dslocal.gguf import libraries; libraries.require(); from"
        " dslocal.cli import supervisor; before = os.getpid()\n"
    )
    done = python(program + "supervisor.continue_in_child(); print(os.getpid() == before)")
    assert (done.stdout, done.stderr) == ("True\n", "")


COUNTING = (
    START
    + """
count = 0
def counted(*_):
    global count
    count += 1
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, counted)
print(os.getpid(), flush=True)
while not count:
    time.sleep(0.01)
time.sleep(0.3)
print(count, flush=True)
"""
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on_once(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", COUNTING], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        process.send_signal(number)
        assert process.stdout.readline() == "1\n"
        assert exit_code_of(process) == 0


def test_ctrl_c_on_a_terminal_comes_once(run: Run) -> None:
    with Screen([sys.executable, "-P", "-c", COUNTING], run.env()) as screen:
        screen.wait_for("\n")
        screen.press("\x03")
        screen.wait_for("1\r\n")
        assert screen.leave() == 0


@pytest.mark.timeout(120)
def test_the_child_ends_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", COUNTING], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        assert process.stdout.read() == ""  # which ends when nobody can write any more


def test_the_terminal_is_left_sane(run: Run) -> None:
    program = (
        f"{START}\nimport tty\ntty.setraw(0)\nprint('\\x1b[?25l\\x1b[?2004hsome text',"
        f" end='', flush=True)\n{ABORT}"
    )
    with Screen(
        [
            "/bin/sh",
            "-c",
            'stty -g; "$@"; echo "code $?"; stty -g',
            "sh",
            sys.executable,
            "-P",
            "-c",
            program,
        ],
        run.env(),
    ) as screen:
        before = screen.wait_for("\n").strip()
        assert screen.wait_for("code 1\r\n").count("dslocal: ") == 1
        assert screen.wait_for("\n").strip() == before
        screen.leave()
        assert screen.raw.rfind("\x1b[?25h") > screen.raw.rfind("\x1b[?25l")
        assert screen.raw.rfind("\x1b[?2004l") > screen.raw.rfind("\x1b[?2004h")
        assert READY in screen.text


def test_a_file_that_is_cut_while_it_is_used(run: Run, nano: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(nano.read_bytes())
    command = [
        str(BINARY),
        "ask",
        "-m",
        str(path),
        "Count.",
        "--temperature",
        "0.6",
        "--no-think",
        "--show-thinking",
        "--logit-bias",
        "1=-100",
    ]
    (tmp_path / "cache").symlink_to(
        run.home / "cache"
    )  # in a home of its own: it is the model used last from now on
    with subprocess.Popen(
        command, env=Run(tmp_path).env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)  # it answers
        path.write_bytes(b"")
        process.stdout.read()
        assert exit_code_of(process) == 1
        last = process.stderr.read().decode().splitlines()[-1]
    assert last.startswith("dslocal: cut.gguf: the model's file could no longer be read")
