"""Stop llama.cpp in the middle of its work.

This module does no more than that. The callers decide what the user then sees: in chat, these are
``answer_presenter`` (while an answer streams) and ``loop`` (at the input line) of
``dslocal.terminal.chat``.

Python runs signal handlers only between its own instructions, and a prefill can stay in C for
minutes. Therefore the C half of Python's handler writes the signal's number to a pipe
(``signal.set_wakeup_fd``), a thread reads it and sets a flag, and llama.cpp polls that flag
through its abort callback. The callback is libc's ``strlen`` on a one-byte string: zero while the
string is empty, nonzero once its first byte is set. llama.cpp calls it for each node of the graph,
from C, at no cost in Python.

Meanwhile Python's own handler must not raise: llama.cpp calls back to log, and an exception in
such a callback would be printed and lost.

The same applies to the signals that ask a process to end, if the process handles them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dslocal.gguf import libraries

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
SIGNAL_BYTES = 64  # read from the pipe at a time


class AbortFlag:
    """A flag that ends the ``llama_decode`` in progress, which returns 2, while it is set.

    Attributes:
        busy: Whether C is at work with this flag; its user sets and clears it.
    """

    def __init__(self) -> None:
        self.busy = False
        self._text = ctypes.create_string_buffer(2)
        self._lock = threading.RLock()  # a signal's handler may come where it is held
        self._waits = False
        self._is_late = False

    @property
    def callback(self) -> Any:
        """llama.cpp's ``abort_callback``."""
        strlen = ctypes.CDLL(None).strlen
        return ctypes.cast(strlen, libraries.require().ggml_abort_callback)

    @property
    def data(self) -> ctypes.c_void_p:
        """llama.cpp's ``abort_callback_data``; valid as long as the flag lives."""
        return ctypes.cast(self._text, ctypes.c_void_p)

    def set(self) -> None:
        """End what is at work, and whatever starts until :meth:`clear`.

        Where :meth:`finishing` lets something end, that happens afterwards.
        """
        with self._lock:
            if self._waits:
                self._is_late = True
            else:
                self.set_at_once()

    def set_at_once(self) -> None:
        """Do what :meth:`set` does, even inside :meth:`finishing`."""
        self._text[0] = b"\1"

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Let what happens inside end by itself: a flag that is set meanwhile is set afterwards."""
        with self._lock:
            self._waits, self._is_late = True, False
        try:
            yield
        finally:
            with self._lock:
                self._waits = False
                if self._is_late:
                    self.set_at_once()

    def clear(self) -> None:
        """Let llama.cpp work again."""
        self._text[0] = b"\0"

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._text[0] != b"\0"


@contextmanager
def abort_on_signal(flag: AbortFlag) -> Iterator[None]:
    """Set ``flag`` as soon as SIGINT arrives, while inside, or another signal of :data:`SIGNALS`.

    What the signal's handler raises is raised too, KeyboardInterrupt for SIGINT, unless the flag is
    busy: then the flag's user raises KeyboardInterrupt, which becomes what the handler raises. Has
    no effect outside of the main thread, or for signals that nobody handles. The flag is cleared at
    the end.
    """
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread() or not handlers:
        yield
        return
    deferred: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        flag.set()
        if flag.busy:
            deferred.append(number)
        else:
            handlers[number](number, frame)

    with _watch_signals(flag, handlers):
        for number in handlers:
            signal.signal(number, on_signal)
        try:
            yield
        except KeyboardInterrupt:
            for number in deferred:
                handlers[number](number, None)
            raise
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _watch_signals(flag: AbortFlag, numbers: Collection[int]) -> Iterator[None]:
    """Set ``flag`` from another thread when one of these signals arrives, while inside."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def watch() -> None:
        while signals := os.read(read_end, SIGNAL_BYTES):
            if not set(numbers).isdisjoint(signals):
                flag.set()

    watcher = threading.Thread(target=watch, daemon=True)
    previous_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_fd)
        os.close(write_end)
        watcher.join()
        os.close(read_end)
        flag.clear()
