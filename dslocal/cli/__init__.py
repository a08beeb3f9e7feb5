"""The command line: one file a command, arguments to calls, errors to exit codes."""

import os
import signal
import sys

if os.path.basename(sys.argv[0] if sys.argv else "") == "dslocal" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # noqa: PTH119
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until main() is there to be told, Ctrl-C ends the program without a traceback


def restore_interrupts() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt, as Python has it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
