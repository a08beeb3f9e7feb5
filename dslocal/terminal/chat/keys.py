"""Keys that are pressed while a model loads or an answer streams.

One key ends the reasoning; the others are kept for the next line. Meanwhile, the terminal echoes
none of them. Nothing else of it is changed: Ctrl-C still is a signal. If the terminal cannot be set
like that, no keys are read. Ctrl-C is handled in :mod:`.answer_presenter`. Ctrl-Z is a key here:
the terminal must be as it was before the process stops, also while llama.cpp is at work.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

ANSWER_NOW_KEY = "\x0e"
ANSWER_NOW_KEY_NAME = "Ctrl-N"
SUSPEND_KEY = "\x1a"
ERASE_CHARACTER_KEYS = "\x7f\b"
ERASE_WORD_KEY = "\x17"
ERASE_LINE_KEY = "\x15"
MAX_TYPED = 1 << 20  # characters that are kept
STOP_S = 0.1  # until a signal has stopped every thread of the process
_LAST_WORD = re.compile(r"\S+\s*$")
_KEY_SEQUENCES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|[^\[O])")  # arrows and the like


class KeyReader:
    """Reads keys in a thread of its own. Use it as a context manager around what takes long.

    Args:
        end_reasoning: Called from the other thread, each time its key is pressed. Without one, as
            while a model loads, that key means nothing.
        fd: The terminal; stdin unless given.

    Attributes:
        on_resume: Called from the other thread when the process continues after Ctrl-Z.
    """

    def __init__(
        self, end_reasoning: Callable[[], None] = lambda: None, fd: int | None = None
    ) -> None:
        self._end_reasoning = end_reasoning
        self.on_resume: Callable[[], None] = lambda: None
        self._fd = fd
        self._typed: list[str] = []
        self._settings: list[Any] | None = None  # of the terminal, as they were
        self._own_settings: list[Any] = []  # of the terminal while keys are read
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._thread: threading.Thread | None = None
        self._sigcont_handler: Any = None  # as it was

    def __enter__(self) -> KeyReader:
        try:
            import termios

            self._fd = sys.stdin.fileno() if self._fd is None else self._fd
            self._set_terminal(self._fd)
        except (ImportError, OSError, ValueError, termios.error):
            self._settings = None
            return self
        self._wake_reader, self._wake_writer = os.pipe()
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

        if self._sigcont_handler is not None:
            signal.signal(signal.SIGCONT, self._sigcont_handler)
        os.close(self._wake_writer)
        self._thread.join()
        os.close(self._wake_reader)
        with suppress(OSError, termios.error):  # the terminal is gone
            termios.tcsetattr(self._fd, termios.TCSANOW, self._settings or [])

    @property
    def is_reading(self) -> bool:
        """Whether there is a terminal whose keys are read."""
        return self._thread is not None

    @property
    def typed_keys(self) -> str:
        """The keys that were pressed, for a line that is read later; Ctrl-Z has had its effect."""
        return "".join(self._typed).replace(SUSPEND_KEY, "").replace("\n", "\r")

    @property
    def typed_text(self) -> str:
        """The text that was typed, after erasing; keys that write nothing are left out."""
        text = ""
        for key in _KEY_SEQUENCES.sub("", "".join(self._typed)):
            if key in ERASE_CHARACTER_KEYS:
                text = text[:-1]
            elif key == ERASE_LINE_KEY:
                text = ""
            elif key == ERASE_WORD_KEY:
                text = _LAST_WORD.sub("", text)
            elif key == "\r":
                text += "\n"
            elif key in "\t\n" or key >= " ":
                text += key
        return text.strip("\n")

    def _set_terminal(self, fd: int) -> None:
        """Make the terminal give keys one by one and echo nothing, also after Ctrl-Z and fg."""
        import termios

        self._settings = termios.tcgetattr(fd)
        settings = termios.tcgetattr(fd)
        settings[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)  # the local modes
        control_characters = settings[6]
        control_characters[termios.VMIN] = 1
        control_characters[termios.VTIME] = 0
        control_characters[termios.VSUSP] = os.fpathconf(fd, "PC_VDISABLE").to_bytes(1, "little")
        self._own_settings = settings
        termios.tcsetattr(fd, termios.TCSANOW, settings)
        if threading.current_thread() is threading.main_thread():
            # Stopped by another process, and continued: the shell has set the terminal its own way.
            self._sigcont_handler = signal.signal(
                signal.SIGCONT, lambda *_: self._take_terminal_back(fd)
            )

    def _take_terminal_back(self, fd: int) -> None:
        import termios

        with suppress(OSError, termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, self._own_settings)
        self.on_resume()

    def _suspend(self, fd: int) -> None:
        """Stop the process group with the terminal as it was; return when it continues."""
        import termios

        with suppress(OSError, termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, self._settings or [])
        os.kill(0, signal.SIGTSTP)
        time.sleep(STOP_S)
        self._take_terminal_back(fd)

    def _read(self, fd: int) -> None:
        """Read keys until :meth:`__exit__` closes the pipe that wakes this up."""
        while True:
            ready = select.select([fd, self._wake_reader], [], [])[0]
            if self._wake_reader in ready:
                return
            try:
                data = os.read(fd, 4096)
            except OSError:
                return
            if not data:  # the terminal is gone
                return
            text = self._decoder.decode(data)
            for _ in range(text.count(ANSWER_NOW_KEY)):
                self._end_reasoning()
            if SUSPEND_KEY in text:
                self._suspend(fd)
            if sum(map(len, self._typed)) < MAX_TYPED:
                self._typed.append(text.replace(ANSWER_NOW_KEY, ""))
