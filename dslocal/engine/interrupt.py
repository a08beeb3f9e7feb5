"""Stopping llama.cpp in the middle of its work.

Python runs signal handlers only between its own instructions, and a prefill can stay in C for
minutes. So: the C half of the handler writes the signal's number to a pipe
(``signal.set_wakeup_fd``), a thread reads it and raises a flag, and llama.cpp polls that flag
through its abort callback. The callback is libc's ``strlen`` on a one-byte string: zero while the
string is empty, nonzero once its first byte is set. It is called for every node of the graph, from
C, and costs no Python.

Meanwhile Python's own handler must not raise: llama.cpp calls back to log, and an exception in
there would be printed and lost.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dslocal.gguf import libraries


class AbortFlag:
    """Raised, it makes the ``llama_decode`` in progress return 2. ``busy`` is for the caller to set
    while C is at work.
    """

    def __init__(self) -> None:
        self.busy = False
        self._text = ctypes.create_string_buffer(2)

    @property
    def callback(self) -> Any:
        strlen = ctypes.CDLL(None).strlen
        return ctypes.cast(strlen, libraries.require().ggml_abort_callback)

    @property
    def data(self) -> ctypes.c_void_p:
        return ctypes.cast(self._text, ctypes.c_void_p)

    def set(self) -> None:
        self._text[0] = b"\1"

    def clear(self) -> None:
        self._text[0] = b"\0"

    def is_set(self) -> bool:
        return self._text[0] != b"\0"


@contextmanager
def abort_on_ctrl_c(flag: AbortFlag) -> Iterator[None]:
    """While inside, SIGINT raises ``flag`` at once, and KeyboardInterrupt too unless the flag is
    busy: then the caller does that.

    No effect outside of the main thread, or where SIGINT is ignored.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return

    def on_sigint(number: int, frame: FrameType | None) -> None:
        flag.set()
        if not flag.busy:
            handler(number, frame)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        while signals := os.read(reading, 64):
            if signal.SIGINT in signals:
                flag.set()

    watcher = threading.Thread(target=watch, daemon=True)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, on_sigint)
    watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)
        flag.clear()
