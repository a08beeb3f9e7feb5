"""Standard output and standard error, which take any text and may be closed, full or gone.

An answer that cannot be written is an error. A message that cannot be written is not: there is
nobody to tell.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from dslocal.terminal.sanitise import ENCODABLE

MIN_WIDTH = 20  # characters: a shorter line does not have to be broken
CONTROLS = frozenset("\x1b\r")  # a line that is drawn again, or in colours


class _Messages(io.TextIOWrapper):
    """Standard error; what cannot be written to it is dropped.

    A message that is wider than the terminal is broken between its words.
    """

    def write(self, text: str, /) -> int:
        """Write ``text``, if that is possible."""
        shown = text
        if len(text) > MIN_WIDTH and not CONTROLS.intersection(text) and self.isatty():
            from dslocal.terminal.word_wrap import terminal_width, wrap_words

            shown = wrap_words(text, terminal_width(self))
        with suppress(OSError):
            super().write(shown)
        return len(text)

    def flush(self) -> None:
        """Write out what is left, if that is possible."""
        with suppress(OSError):
            super().flush()


def prepare_stderr() -> None:
    """Make stderr take any text; one that was closed (``2>&-``) is replaced.

    A terminal says what it can show; a pipe gets the text whole.
    """
    if sys.stderr is None:  # nothing else may get its file number
        sys.stderr = open(os.open(os.devnull, os.O_WRONLY), "w")  # noqa: PTH123, SIM115
    stream = sys.stderr
    if type(stream) is not io.TextIOWrapper:
        return
    encoding = stream.encoding if stream.isatty() else "utf-8"
    sys.stderr = _Messages(
        stream.detach(), encoding=encoding, errors=ENCODABLE, line_buffering=True
    )


def prepare_stdout() -> bool:
    """Make stdout take any text; return whether there is one."""
    stream = sys.stdout
    if stream is None:
        return False
    encoding = stream.encoding if stream.isatty() else "utf-8"
    stream.reconfigure(encoding=encoding, errors=ENCODABLE)  # type: ignore[union-attr]
    return True
