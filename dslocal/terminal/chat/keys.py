"""Keys pressed while an answer streams: one closes the thought, the rest is kept for the next
prompt.

The terminal shows nothing of them meanwhile and stays as it was in all else: Ctrl-C is a signal as
ever. Where there is no terminal that can be set so, nothing is read.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

ANSWER_NOW_KEY, ANSWER_NOW_KEY_NAME = "\x0e", "Ctrl-N"
ERASE, ERASE_WORD, ERASE_LINE = "\x7f\b", "\x17", "\x15"
MOST = 1 << 20  # characters that are kept
_SEQUENCES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|[^\[O])")  # arrows and their like


class KeyReader:
    """Use as a context manager around the streaming. ``answer_now`` is called from another thread,
    for each press of its key.
    """

    def __init__(self, answer_now: Callable[[], None], fd: int | None = None) -> None:
        self._answer_now, self._fd = answer_now, fd
        self._typed: list[str] = []
        self._settings: list[Any] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._thread: threading.Thread | None = None
        self._continued: Any = None  # what SIGCONT did before

    def __enter__(self) -> KeyReader:
        try:
            import termios

            self._fd = sys.stdin.fileno() if self._fd is None else self._fd
            self._settings = termios.tcgetattr(self._fd)
            changed = termios.tcgetattr(self._fd)
            changed[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
            changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._fd, termios.TCSANOW, changed)
            if (
                threading.current_thread() is threading.main_thread()
            ):  # after Ctrl-Z the shell has set the terminal its own way
                fd = self._fd
                self._continued = signal.signal(
                    signal.SIGCONT, lambda *_: termios.tcsetattr(fd, termios.TCSANOW, changed)
                )
        except (ImportError, OSError, ValueError, termios.error):
            self._settings = None
            return self
        self._reading, self._waking = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(self._fd,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is None or self._fd is None:
            return
        import termios

        if self._continued is not None:
            signal.signal(signal.SIGCONT, self._continued)
        os.close(self._waking)
        self._thread.join()
        os.close(self._reading)
        termios.tcsetattr(self._fd, termios.TCSANOW, self._settings or [])

    @property
    def read(self) -> bool:
        """Whether there is a terminal whose keys are read."""
        return self._thread is not None

    @property
    def typed(self) -> str:
        """The text that was typed, as it is after erasing; keys that write nothing are left out."""
        text: list[str] = []
        for key in _SEQUENCES.sub("", "".join(self._typed)):
            if key in ERASE:
                text = text[:-1]
            elif key == ERASE_LINE:
                text = []
            elif key == ERASE_WORD:
                text = list(re.sub(r"\S+\s*$", "", "".join(text)))
            elif key == "\r":
                text.append("\n")
            elif key in "\t\n" or key >= " ":
                text.append(key)
        return "".join(text).strip("\n")

    def _read(self, fd: int) -> None:
        while self._reading not in (ready := select.select([fd, self._reading], [], [])[0]):
            try:
                data = os.read(fd, 4096) if fd in ready else b""
            except OSError:
                return
            if not data:  # the terminal is gone
                return
            text = self._decoder.decode(data)
            for _ in range(text.count(ANSWER_NOW_KEY)):
                self._answer_now()
            if sum(map(len, self._typed)) < MOST:
                self._typed.append(text.replace(ANSWER_NOW_KEY, ""))
