"""One line on a terminal's stderr: how far long work is, and how long it will take.

For short work, and where stderr is not a terminal, nothing is shown.
"""

from __future__ import annotations

import os
import sys
import time

from .sanitise import one_line

QUIET_S = 0.5  # shorter work needs no line
MIN_FORECAST_S = 1.0  # before that no forecast is worth showing
INTERVAL_S = 0.1
MAX_LINE = 79  # characters
ERASE = "\r\x1b[2K"


def can_redraw() -> bool:
    """Return whether stderr is a terminal on which a line can be written again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def format_duration(seconds: float) -> str:
    """Return a duration in the unit that people would use: ``45 s``, ``12 min``, ``3.5 h``."""
    whole = round(max(seconds, 1))
    if whole < 100:
        return f"{whole} s"
    if whole < 100 * 60:
        return f"{round(whole / 60)} min"
    return f"{whole / 3600:.1f} h"


class ProgressLine:
    """Shows the progress of one piece of work.

    Args:
        eager: Whether it is shown at once, and not only when the work takes long.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self._started = time.monotonic()
        self._shown = 0.0
        self._quiet_s = 0.0 if eager else QUIET_S
        self._can_show = can_redraw()

    def show(self, text: str, share: float) -> None:
        """Show what is being done.

        Args:
            text: What is being done.
            share: How much of it is done, 0 to 1; the forecast is made from it.
        """
        now = time.monotonic()
        elapsed = now - self._started
        is_recent = self._shown and now - self._shown < INTERVAL_S
        if not self._can_show or elapsed < self._quiet_s or is_recent:
            return
        self._shown = now
        if 0 < share < 1 and elapsed >= MIN_FORECAST_S:
            text += f", {format_duration(elapsed * (1 - share) / share)} left"
        print(f"{ERASE}{one_line(text, MAX_LINE)}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Erase the line."""
        if self._shown:
            self._shown = 0.0
            print(ERASE, end="", file=sys.stderr, flush=True)
