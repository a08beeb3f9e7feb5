"""The command line: one file a command, arguments to calls, errors to exit codes."""

import gc
import os
import signal
import sys

gc.set_threshold(
    100_000, *gc.get_threshold()[1:]
)  # what starting up makes is not garbage: looking for some takes a fifth of the time
if (
    os.path.basename(sys.argv[0] if sys.argv else "") == "dslocal"  # noqa: PTH119
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # until main() is there to be told, Ctrl-C ends the program without a traceback


def restore_interrupts() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt, as Python has it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
