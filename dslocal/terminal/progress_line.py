"""One line on a terminal's stderr that says how far long work is and how long it will take.
Elsewhere, and for short work, nothing.
"""

from __future__ import annotations

import os
import sys
import time

from .sanitise import one_line

QUIET_S = 0.5  # what takes less needs no line
SURE_S = 1.0  # before that no forecast is worth saying
OFTEN_S = 0.1
ERASE = "\r\x1b[2K"


def can_redraw() -> bool:
    """Whether stderr is a terminal on which a line can be written again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def duration(seconds: float) -> str:
    """As people say it."""
    whole = round(max(seconds, 1))
    if whole < 100:
        return f"{whole} s"
    return f"{round(whole / 60)} min" if whole < 100 * 60 else f"{whole / 3600:.1f} h"


class ProgressLine:
    """Shows one piece of work. ``eager`` begins at once."""

    def __init__(self, *, eager: bool = False) -> None:
        self._began = time.monotonic()
        self._shown = 0.0
        self._quiet = 0.0 if eager else QUIET_S
        self._on = can_redraw()

    def show(self, words: str, share: float) -> None:
        """``share`` of the work is done, 0 to 1."""
        now = time.monotonic()
        elapsed = now - self._began
        if not self._on or elapsed < self._quiet or (self._shown and now - self._shown < OFTEN_S):
            return
        self._shown = now
        left = (
            f", {duration(elapsed * (1 - share) / share)} left"
            if 0 < share < 1 and elapsed >= SURE_S
            else ""
        )
        print(f"{ERASE}{one_line(words + left, 79)}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leaves nothing of the line."""
        if self._shown:
            self._shown = 0.0
            print(ERASE, end="", file=sys.stderr, flush=True)
