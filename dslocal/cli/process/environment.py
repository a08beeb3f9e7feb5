"""Check the variables of the environment before a library reads them."""

from __future__ import annotations

import os
import sys
import warnings

from dslocal.errors import UsageError

DEBUG = "DSLOCAL_DEBUG"
ON_WORDS = ("1", "true", "yes", "on", "t", "y")
OFF_WORDS = ("", "0", "false", "no", "off", "f", "n")
SIZE_VARIABLES = ("COLUMNS", "LINES")
MAX_CELLS = 10_000  # of a line, or lines of a screen: no terminal is larger


def prepare() -> None:
    """Make the environment one that every library understands.

    A size that no terminal has (``COLUMNS=0`` in some editors and CI systems) is forgotten, so that
    the terminal is asked or the usual size taken. Without ``TERM`` a terminal is taken for one that
    cannot move its cursor. Warnings of libraries are for developers: they are shown if Python's own
    settings (``-W``, ``PYTHONWARNINGS``) ask for them, or for debugging.

    Raises:
        UsageError: ``DSLOCAL_DEBUG`` is neither on nor off.
    """
    value = os.environ.get(DEBUG, "")
    if value.strip().lower() not in (*ON_WORDS, *OFF_WORDS):
        os.environ.pop(DEBUG)  # the error itself needs no traceback
        raise UsageError(f"{DEBUG}: {value!r:.40} is neither on nor off", hint="1 or 0")
    for name in SIZE_VARIABLES:
        size = os.environ.get(name)
        if size is not None and not _is_size(size):
            del os.environ[name]
    if not os.environ.get("TERM"):
        os.environ["TERM"] = "dumb"
    if not sys.warnoptions and not debugs():
        warnings.simplefilter("ignore")


def debugs() -> bool:
    """Return whether tracebacks are shown."""
    return os.environ.get(DEBUG, "").strip().lower() in ON_WORDS


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) <= MAX_CELLS
