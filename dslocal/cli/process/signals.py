"""Signals that ask the process to end: it leaves the terminal and its files in order first.

Ctrl-C is Python's KeyboardInterrupt. SIGTERM, SIGHUP and SIGQUIT become :class:`Terminated`, which
is a KeyboardInterrupt too: a command keeps the same results as after Ctrl-C. In the end the process
is ended by that same signal, as a shell or a supervisor expects.

Python cannot raise an exception out of a finalizer, of a generator that is closed by its
destruction, or of a function that C calls. It passes it to ``sys.unraisablehook`` and goes on. So
that such a place does not swallow a signal, the signal is sent again from there.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from types import FrameType

from dslocal.errors import Terminated

REPEAT_AFTER_S = 0.05  # by then Python has left the place that swallowed a signal

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class EndingSignals:
    """Raises :class:`Terminated` in the main thread for every ending signal, while inside.

    Sends a signal again, SIGINT too, whose exception Python could not raise. A signal that is
    ignored (``nohup``) or handled already stays so.

    Attributes:
        received: The last ending signal that came. Typer makes a plain exit code of what is raised.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._taken: list[signal.Signals] = []
        self._previous_hook = sys.unraisablehook

    def __enter__(self) -> EndingSignals:
        self._taken = [
            number for number in ENDING_SIGNALS if signal.getsignal(number) is signal.SIG_DFL
        ]
        for number in self._taken:
            signal.signal(number, self._terminate)
        self._previous_hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        return self

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._previous_hook
        for number in self._taken:
            signal.signal(number, signal.SIG_DFL)

    def _terminate(self, number: int, _: FrameType | None) -> None:
        self.received = number
        raise Terminated(number)

    def _on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Have the signal sent again that was swallowed; report every other exception."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._previous_hook(unraisable)
            return
        error = unraisable.exc_value
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        _thread.start_new_thread(_send_later, (number,))


def _send_later(number: int) -> None:
    time.sleep(REPEAT_AFTER_S)
    os.kill(os.getpid(), number)


def die_of(number: int) -> None:
    """End this process by a signal, without a core dump."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
