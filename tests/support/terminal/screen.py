"""A program on a pseudo-terminal: what it shows, and keys to press. Knows nothing of dslocal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from support.waiting import TimeLimit

LIMIT_S = 90
ROWS, COLUMNS = 30, 100
IDLE_LOOKS = 5
ESCAPES = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\^_=>]|[()][A-Z0-9])"
)
# In a screen's text: here the program began to read keys (it turned bracketed paste on).
READY = "⌨"
# Makes the terminal the controlling one, so that Ctrl-C is a signal, and becomes the
# program.
SHIM = (
    "import fcntl, os, sys, termios; terminal = next(fd for fd in range(3) if os.isatty(fd)); "
    "fcntl.ioctl(terminal, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def _is_busy(process: int) -> bool:
    """Return whether a thread of ``process``, or of one of its children, runs or could run."""
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if (thread / "stat").read_text().rpartition(")")[2].split()[0] == "R":
                return True
            if any(_is_busy(int(child)) for child in (thread / "children").read_text().split()):
                return True
    return False


class Screen:
    """Runs a command on a terminal. Use it as a context manager.

    Args:
        command: The program and its arguments.
        env: Its environment, beside ``TERM``.
        piped: The streams that are pipes instead of the terminal.
    """

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], *, piped: Collection[str] = ()
    ) -> None:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        streams: dict[str, Any] = {
            name: subprocess.PIPE if name in piped else theirs
            for name in ("stdin", "stdout", "stderr")
        }
        environment = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"} | dict(env)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", SHIM, *command],
            env=environment,
            start_new_session=True,
            **streams,
        )
        os.close(theirs)
        self._data = b""
        self._seen = 0
        self._is_closed = False

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.close_terminal()

    @property
    def terminal(self) -> int:
        """The terminal's own side, whose settings are those of the program's."""
        return self._ours

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal, as when a window is dragged."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def close_terminal(self) -> None:
        """Close the terminal, as a window is closed."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._ours)

    @property
    def raw(self) -> str:
        """All that was written, escape sequences included."""
        return self._data.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """All that was written, without escape sequences; :data:`READY` stands where it reads."""
        return ESCAPES.sub("", self.raw.replace("\x1b[?2004h", READY))

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._ours, keys.encode())

    def wait_for(self, *texts: str) -> str:
        """Return what was shown since the last call, up to the end of the first of ``texts``.

        Fails when none of them comes.
        """
        limit = TimeLimit(LIMIT_S)
        while True:
            shown = self.text[self._seen :]
            stops = [at + len(text) for text in texts if (at := shown.find(text)) >= 0]
            if stops:
                self._seen += min(stops)
                return shown[: min(stops)]
            assert not limit.is_over(), f"{texts} did not come; shown: {shown[-2000:]!r}"
            assert self._read() or self.process.poll() is None, (
                f"it ended without {texts}; shown: {shown[-2000:]!r}"
            )

    def comes(self, text: str, seconds: float) -> bool:
        """Return whether ``text`` is shown within so many seconds; the next look is after it."""
        end = time.monotonic() + seconds
        while (at := self.text.find(text, self._seen)) < 0:
            if time.monotonic() >= end or self.process.poll() is not None:
                return False
            self._read(min(0.1, max(0.0, end - time.monotonic())))
        self._seen = at + len(text)
        return True

    def wait_for_idleness(self) -> None:
        """Wait until every thread of the program and of its children sleeps, as far as can be seen:
        on Linux.
        """
        limit = TimeLimit(LIMIT_S)
        seen = 0
        while seen < IDLE_LOOKS:
            assert not limit.is_over(), "it is never idle"
            self._read(0.02)
            seen = 0 if _is_busy(self.process.pid) else seen + 1

    def leave(self) -> int:
        """Return the exit code, once the program has ended and all that it wrote was read."""
        limit = TimeLimit(LIMIT_S)
        while self.process.poll() is None and not limit.is_over():
            self._read()
        while self._read():
            pass
        return self.process.wait(1)

    def _read(self, patience: float = 0.1) -> bool:
        select.select([self._ours], [], [], patience)
        with contextlib.suppress(OSError):
            data = os.read(self._ours, 65536)
            self._data += data
            return bool(data)
        return False
