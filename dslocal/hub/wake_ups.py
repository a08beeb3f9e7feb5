"""Let Ctrl-C end a wait for a silent server, at whatever moment it comes.

Python runs a signal's handler between two of its own instructions. A signal that arrives after the
last of them, and just before the system call that waits for the server, neither ends that call nor
is handled before it returns: that is when the server sends something, or at the time-out.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WAKE_EVERY_S = 0.5


@contextmanager
def wake_for_signals() -> Iterator[None]:
    """Interrupt the main thread's system calls twice a second, while inside.

    Python makes an interrupted call again, after it has handled the signals that came. SIGALRM is
    used, unless this process uses it for something else. In other threads nothing is done: Python
    handles signals in the main thread.
    """
    if not _is_alarm_free():
        yield
        return
    before = signal.signal(signal.SIGALRM, _ignore)
    try:
        signal.setitimer(signal.ITIMER_REAL, WAKE_EVERY_S, WAKE_EVERY_S)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_alarm_free() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if not hasattr(signal, "setitimer"):
        return False
    # an interrupted ``finally`` may have left the handler
    is_unhandled = signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, _ignore)
    return is_unhandled and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def _ignore(_: int, __: FrameType | None) -> None:
    """Handle SIGALRM: that it came is enough."""
