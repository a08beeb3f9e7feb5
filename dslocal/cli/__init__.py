"""The command line: one file a command, arguments to calls, errors to exit codes."""

import gc
import os
import signal
import sys

# What starting up makes is not garbage: looking for some takes a fifth of the time.
gc.set_threshold(100_000, *gc.get_threshold()[1:])

# Without pathlib, which is not loaded yet.
PROGRAM = os.path.basename(sys.argv[0] if sys.argv else "")  # noqa: PTH119
if PROGRAM == "dslocal" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until main() can handle it, Ctrl-C ends the program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def restore_interrupts() -> None:
    """Make Ctrl-C a KeyboardInterrupt from here on, as it is in Python."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
