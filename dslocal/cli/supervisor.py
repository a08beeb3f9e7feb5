"""Run a command in a child process, so that a crash of llama.cpp gives one line and an exit code.

llama.cpp aborts its process when it cannot do something. A file that shrinks while it is mapped
causes SIGBUS. A kernel that runs out of memory kills without a message. The process itself can
recover from none of these. So dslocal forks before it has loaded anything. The child does the work,
in the same terminal and process group. The parent waits, passes signals on, and says how the child
ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from dslocal.errors import ExitCode
from dslocal.gguf import libraries
from dslocal.terminal.sanitise import one_line

from .process.message_board import MessageBoard
from .process.signals import die_of

FORWARDED_SIGNALS = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# The terminal sends these to the child as well.
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
# Colours off, cursor shown, lines wrapped, pasting as it was.
RESET_TERMINAL = "\x1b[0m\x1b[?25h\x1b[?7h\x1b[?2004l"


class Crash(NamedTuple):
    """How a child ended, for people, and what to do about it."""

    cause: str
    hint: str


USE_LESS_MEMORY = "use a smaller --ctx, quantization or model; dslocal fit shows what fits"
REPLACE_FILE = "the model's file may be damaged: download or convert it again"
CRASHES = {
    signal.SIGKILL: Crash(
        "the system killed the process, probably because memory ran out", USE_LESS_MEMORY
    ),
    signal.SIGABRT: Crash("llama.cpp aborted without a message", REPLACE_FILE),
    signal.SIGSEGV: Crash(
        "llama.cpp accessed memory that it does not have (segmentation fault)", REPLACE_FILE
    ),
    signal.SIGBUS: Crash(
        "the model's file could no longer be read, or there was no more memory",
        "do not change or move a model's file while it is used",
    ),
    signal.SIGFPE: Crash("llama.cpp divided by zero", REPLACE_FILE),
    signal.SIGILL: Crash(
        "llama.cpp was built for a CPU with other instructions",
        "pip install --force-reinstall --no-binary :all: llama-cpp-python",
    ),
}

# kinds of messages from the child
SUBJECT = "subject"
LAST_WORDS = "last words"
HINT = "hint"
WORKS = "works"
_tell_parent: list[Callable[[str, str], None]] = []  # in a child: sends a message of a kind
_last_actions: list[Callable[[str], None]] = []  # before llama.cpp ends this process


def continue_in_child(on_crash: Callable[[], None] = lambda: None) -> None:
    """Return in a child process; the parent stays in here, and exits as the child does.

    Does nothing where the system cannot fork, where another thread runs, or once llama.cpp is
    loaded, whose threads and GPUs do not survive a fork.

    Args:
        on_crash: Is called in the parent where the child did not end by itself, unless it had
            called :func:`confirm_work` before.
    """
    if _tell_parent or not _can_fork():
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    terminal = _Terminal.current()
    board = MessageBoard((SUBJECT, LAST_WORDS, HINT, WORKS))
    life_reader, life_writer = os.pipe()  # closes when the parent ends
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED_SIGNALS, signal.SIGCHLD})
    child = os.fork()
    if child:
        status = _wait_for(child)
        messages = board.read()
        if _is_crash(status, messages) and WORKS not in messages:
            on_crash()
        os._exit(_report_end(status, messages, terminal))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(life_writer)
    _forbid_core_dump()
    threading.Thread(target=_end_with_parent, args=(life_reader,), daemon=True).start()
    _connect_to_parent(board)


def set_subject(name: str) -> None:
    """Set what the work is about from now on, for the line that says how it ended."""
    for tell in _tell_parent:
        tell(SUBJECT, name)


def confirm_work() -> None:
    """Tell the parent that the model works: a later crash undoes nothing."""
    for tell in _tell_parent:
        tell(WORKS, "")


@contextmanager
def before_abort(action: Callable[[str], None]) -> Iterator[None]:
    """Have ``action`` called if llama.cpp ends this process meanwhile, to print what there is.

    Of several, the innermost comes first.

    Args:
        action: Takes the reason. It is called in whichever thread llama.cpp gives up.
    """
    _last_actions.append(action)
    try:
        yield
    finally:
        _last_actions.remove(action)


def _can_fork() -> bool:
    is_loaded = "llama_cpp" in sys.modules
    return hasattr(os, "fork") and threading.active_count() == 1 and not is_loaded


def _connect_to_parent(board: MessageBoard) -> None:
    """Let the child tell the parent things, llama.cpp's last words among them."""

    def on_abort(reason: libraries.AbortReason) -> None:
        board.put(LAST_WORDS, reason.text)
        board.put(HINT, reason.hint)
        for action in reversed(_last_actions):
            with suppress(Exception):  # this process ends in any case
                action(reason.text)
                sys.stdout.flush()
        os._exit(ExitCode.DOES_NOT_FIT if reason.is_out_of_memory else ExitCode.FAILURE)

    _tell_parent.append(board.put)
    libraries.before_abort(on_abort)


@dataclass(frozen=True)
class _Terminal:
    """How the terminal on stdin was set, and whether stderr is a terminal."""

    settings: list[Any] | None
    has_stderr: bool

    @classmethod
    def current(cls) -> _Terminal:
        try:
            import termios
        except ImportError:
            return cls(None, os.isatty(2))
        try:
            return cls(termios.tcgetattr(0), os.isatty(2))
        except (OSError, termios.error):
            return cls(None, os.isatty(2))

    def reset(self) -> None:
        if self.settings:
            import termios

            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with suppress(OSError, termios.error):  # the terminal is gone
                termios.tcsetattr(0, termios.TCSANOW, self.settings)
        if self.has_stderr:
            with suppress(OSError):
                os.write(2, RESET_TERMINAL.encode())


def _wait_for(child: int) -> int:
    """Return the child's wait status; signals that come meanwhile are passed on."""
    # Some systems drop SIGCHLD, though it is blocked, where nothing handles it.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        received = _next_signal(child)
        if received.number == signal.SIGCHLD:
            continue
        if not received.is_shared:
            os.kill(child, received.number)
        if received.number == signal.SIGTSTP:
            _stop()


class _Received(NamedTuple):
    """A signal, and whether the terminal sent it to the child as well."""

    number: int
    is_shared: bool


def _next_signal(child: int) -> _Received:
    """Wait for a signal. What the child sends to its group it gets itself."""
    awaited = {*FORWARDED_SIGNALS, signal.SIGCHLD}
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(awaited)
        is_from_terminal = info.si_signo in TERMINAL_SIGNALS and info.si_code > 0
        return _Received(info.si_signo, is_from_terminal or info.si_pid == child)
    number = signal.sigwait(awaited)
    is_shared = number in TERMINAL_SIGNALS and any(_is_in_foreground(fd) for fd in range(3))
    return _Received(number, is_shared)


def _stop() -> None:
    """Stop this process as Ctrl-Z does; return when it continues."""
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})  # here it stops
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})


def _is_in_foreground(fd: int) -> bool:
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False


def _is_crash(status: int, messages: Mapping[str, str]) -> bool:
    """Return whether the work itself ended a child, and no signal that is meant to end it."""
    return LAST_WORDS in messages or -os.waitstatus_to_exitcode(status) in CRASHES


def _report_end(status: int, messages: Mapping[str, str], terminal: _Terminal) -> int:
    """Return the exit code for a child's end, and print why it ended if the child could not.

    A signal that is meant to end programs ends this process too.
    """
    code = os.waitstatus_to_exitcode(status)
    last_words = messages.get(LAST_WORDS)
    if last_words is not None:
        is_out_of_memory = code == ExitCode.DOES_NOT_FIT
        hint = USE_LESS_MEMORY if is_out_of_memory else REPLACE_FILE
        crash = Crash(last_words, messages.get(HINT) or hint)
    elif code >= 0:
        return code
    else:
        if -code not in CRASHES:
            terminal.reset()
            die_of(-code)
        crash = CRASHES[signal.Signals(-code)]
    _print_crash(crash, messages.get(SUBJECT), terminal)
    if code >= 0:
        return code
    return ExitCode.DOES_NOT_FIT if -code == signal.SIGKILL else ExitCode.FAILURE


def _print_crash(crash: Crash, subject: str | None, terminal: _Terminal) -> None:
    terminal.reset()
    prefix = f"{one_line(subject)}: " if subject is not None else ""
    line = f"dslocal: {prefix}{one_line(crash.cause)} ({crash.hint})\n"
    with suppress(OSError):
        os.write(2, (("\r\n" if terminal.has_stderr else "") + line).encode())


def _forbid_core_dump() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _end_with_parent(life_reader: int) -> None:
    """Wait until the parent is gone, and end this process: a killed parent cannot pass SIGKILL
    on."""
    os.read(life_reader, 1)
    os.kill(os.getpid(), signal.SIGKILL)
