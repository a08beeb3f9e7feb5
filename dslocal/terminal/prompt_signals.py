"""Let a signal that ends the program leave the input line first.

Its handler raises an exception wherever the program is. Inside prompt-toolkit that may be a task in
the background, for example the one that loads the history. prompt-toolkit would print a traceback
of it and wait for Enter. So while the line is read, the exception waits until the line is left.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from prompt_toolkit.application import Application

ENDING_SIGNALS = ("SIGTERM", "SIGHUP", "SIGQUIT")  # not all of them exist everywhere


@contextmanager
def leave_on_signals(app: Application[Any]) -> Iterator[None]:
    """Leave ``app`` before an exception is raised that a signal's handler raises.

    A signal without a handler in Python acts as before.

    Raises:
        BaseException: What the handler raised, after ``app`` was left.
    """
    raised: list[BaseException] = []

    def leave() -> None:
        if app.future is not None and not app.future.done():
            app.exit(exception=raised[0])

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handlers[number](number, frame)
        except BaseException as e:
            if not app.is_running or app.loop is None:
                raise
            raised.append(e)
            app.loop.call_soon_threadsafe(leave)

    handlers = _python_handlers()
    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if raised:
            raise raised[0]


def _python_handlers() -> dict[int, Any]:
    """Return the ending signals that have a handler in Python, where one may be replaced."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in ENDING_SIGNALS if hasattr(signal, name)]
    found = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in found.items() if callable(handler)}
