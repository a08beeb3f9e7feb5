"""A command that goes on in a child process, so that whatever ends llama.cpp ends as one line and
an exit code.

llama.cpp aborts its process over what it cannot do, a file that shrinks while it is mapped is a
SIGBUS, and a kernel without memory kills without a word: none of that can be recovered from inside.
So a process that has loaded nothing yet forks; the child does the work, in the same terminal and
process group, and the parent only waits, passes signals on, and says what became of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dslocal.gguf import libraries
from dslocal.terminal.sanitise import one_line

PASSED_ON = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
TERMINALS_OWN = (signal.SIGINT, signal.SIGQUIT)  # the terminal sends these to the child as well
OUT_OF_MEMORY = 4
# colours off, cursor shown, pasting as it was, a line of its own
SANE = "\x1b[0m\x1b[?25h\x1b[?2004l\r\n"
LESS = "a smaller --ctx, quantization or model takes less: dslocal fit"
DAMAGED = "the model's file may be damaged: fetch or convert it again"
CAUSES = {
    signal.SIGKILL: ("killed by the system, as it does when memory runs out", LESS),
    signal.SIGABRT: ("llama.cpp gave up without saying why", DAMAGED),
    signal.SIGSEGV: ("llama.cpp reached for memory that it does not have", DAMAGED),
    signal.SIGBUS: (
        "the model's file could not be read any more, or memory could not be had",
        "a file in use must stay as it is",
    ),
    signal.SIGFPE: ("llama.cpp divided by zero", DAMAGED),
    signal.SIGILL: (
        "llama.cpp was built for another processor",
        "pip install --force-reinstall --no-binary :all: llama-cpp-python",
    ),
}

_tell: list[Callable[[str, str], None]] = []  # in a child: tells the parent something of a kind
NAME, WORDS = "n", "w"


def go_on_in_a_child() -> None:
    """Returns in a child process; the parent stays in here, and exits as the child does.

    No effect where there is no fork, where another thread runs, or once llama.cpp is loaded, whose
    threads and GPUs do not survive one.
    """
    if (
        _tell
        or not hasattr(os, "fork")
        or threading.active_count() > 1
        or "llama_cpp" in sys.modules
    ):
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    terminal = _Terminal.now()
    hearing, telling = os.pipe()
    watching, living = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    child = os.fork()
    if child:
        os.close(telling)
        os._exit(_ending(_waited_for(child), _told(hearing), terminal))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(hearing)
    os.close(living)
    _no_core_dump()
    threading.Thread(target=_end_with_the_parent, args=(watching,), daemon=True).start()

    def tell(kind: str, text: str) -> None:
        os.write(telling, (kind + text.replace("\0", "")[:1024] + "\0").encode("utf-8", "replace"))

    def last_words(text: str, memory: bool) -> None:
        tell(WORDS, text)
        os._exit(OUT_OF_MEMORY if memory else 1)

    _tell.append(tell)
    libraries.before_abort(last_words)


def about(name: str) -> None:
    """What the work is about from now on, for the line that says how it ended."""
    for tell in _tell:
        tell(NAME, name)


@dataclass(frozen=True)
class _Terminal:
    """How the terminal on standard input was set, and whether standard error is one."""

    settings: list[Any] | None
    shown: bool

    @classmethod
    def now(cls) -> _Terminal:
        try:
            import termios
        except ImportError:
            return cls(None, os.isatty(2))
        try:
            return cls(termios.tcgetattr(0), os.isatty(2))
        except (OSError, termios.error):
            return cls(None, os.isatty(2))

    def restore(self) -> None:
        if self.settings:
            import termios

            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            termios.tcsetattr(0, termios.TCSANOW, self.settings)


def _waited_for(child: int) -> int:
    """The child's wait status; signals that come meanwhile are passed on."""
    signal.signal(signal.SIGCHLD, lambda *_: None)  # or some systems drop it though it is blocked
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        number, from_terminal = _next_signal()
        if number != signal.SIGCHLD and not from_terminal:
            os.kill(child, number)


def _next_signal() -> tuple[int, bool]:
    """Waits for a signal; also whether the terminal sent it to the child as well."""
    waited_for = {*PASSED_ON, signal.SIGCHLD}
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(waited_for)
        return (
            info.si_signo,
            info.si_signo in TERMINALS_OWN and info.si_code > 0,
        )  # from the kernel, not from a process
    number = signal.sigwait(waited_for)
    return number, number in TERMINALS_OWN and any(_in_foreground(fd) for fd in range(3))


def _in_foreground(fd: int) -> bool:
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False


def _told(hearing: int) -> dict[str, str]:
    """What the child told, by kind, the last of each."""
    os.set_blocking(hearing, False)  # should something of the child's have outlived it
    with os.fdopen(hearing, "rb") as file:
        told = (file.read() or b"").decode("utf-8", "replace").split("\0")
    return {line[0]: line[1:] for line in told if line}


def _ending(status: int, told: Mapping[str, str], terminal: _Terminal) -> int:
    """Says why the child ended, if it could not, and returns the exit code. A signal that is meant
    to end programs ends this one too.
    """
    code, words = os.waitstatus_to_exitcode(status), told.get(WORDS)
    if code >= 0 and words is None:
        return code
    if words is None and -code not in CAUSES:
        signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    cause, hint = (
        CAUSES[signal.Signals(-code)]
        if words is None
        else (words, LESS if code == OUT_OF_MEMORY else DAMAGED)
    )
    terminal.restore()
    line = f"dslocal: {one_line(told[NAME]) + ': ' if NAME in told else ''}{one_line(cause)} ({hint})\n"
    os.write(2, ((SANE if terminal.shown else "") + line).encode())
    return code if code >= 0 else OUT_OF_MEMORY if code == -signal.SIGKILL else 1


def _no_core_dump() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _end_with_the_parent(watching: int) -> None:
    """A parent that was killed cannot pass that on: its end of the pipe closes."""
    os.read(watching, 1)
    os.kill(os.getpid(), signal.SIGKILL)
