"""The command line: one file for each command, which turns arguments into calls of the API."""

import gc
import os
import signal
import sys
from types import FrameType

# What starting up makes is not garbage: looking for some takes a fifth of the time.
gc.set_threshold(100_000, *gc.get_threshold()[1:])

INTERRUPTED = 130  # ExitCode.INTERRUPTED, which is not imported yet


def leave_at_once(_: int, __: FrameType | None) -> None:
    """End the process as Ctrl-C does, without a traceback of whatever is being imported."""
    os._exit(INTERRUPTED)


# Without pathlib, which is not loaded yet.
PROGRAM = os.path.basename(sys.argv[0] if sys.argv else "")  # noqa: PTH119
# "-m" while "python -m dslocal" looks for its module
is_program = PROGRAM in ("dslocal", "-m") and sys.argv[1:2] != ["pytest"]
if is_program and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until main() can handle it.
    signal.signal(signal.SIGINT, leave_at_once)


def restore_interrupts() -> None:
    """Make Ctrl-C a KeyboardInterrupt from here on, as it is in Python."""
    if signal.getsignal(signal.SIGINT) is leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
