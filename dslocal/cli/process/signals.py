"""Signals that ask the process to end: it leaves the terminal and its files in order first.

Ctrl-C is Python's KeyboardInterrupt. SIGTERM, SIGHUP and SIGQUIT become :class:`Terminated`, which
is a KeyboardInterrupt too: a command keeps the same results as after Ctrl-C. In the end the process
is ended by that same signal, as a shell or a supervisor expects.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from dslocal.errors import Terminated

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class EndingSignals:
    """Raises :class:`Terminated` in the main thread for every ending signal, while inside.

    A signal that is ignored (``nohup``) or handled already stays so.

    Attributes:
        received: The last ending signal that came. Typer makes a plain exit code of what is raised.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._taken: list[signal.Signals] = []

    def __enter__(self) -> EndingSignals:
        self._taken = [
            number for number in ENDING_SIGNALS if signal.getsignal(number) is signal.SIG_DFL
        ]
        for number in self._taken:
            signal.signal(number, self._terminate)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._taken:
            signal.signal(number, signal.SIG_DFL)

    def _terminate(self, number: int, _: FrameType | None) -> None:
        self.received = number
        raise Terminated(number)


def die_of(number: int) -> None:
    """End this process by a signal, without a core dump."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
