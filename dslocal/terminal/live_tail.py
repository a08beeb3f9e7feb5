"""The live tail: lines at the end of the screen that are drawn again and again.

Lines that stay are printed once and scroll into the terminal's own history; the tail below them is
erased and drawn again. Only these sequences are sent: carriage return, cursor up (CSI A), erase to
the right (CSI K), no wrapping while the tail is drawn (CSI ?7 l and h) and colours (SGR). With
wrapping off, a line that the terminal finds wider than we do cannot take a second row, so erasing
never misses a row.

When the window becomes narrower, most terminals wrap the tail's lines again; the rows are counted
as they are then. xterm and screen cut the lines off instead. A terminal that cannot move its cursor
(``TERM=dumb``) or a file gets the lines that stay and no tail.

Knows lines, not Markdown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.segment import ControlType, Segment, Segments

from dslocal.terminal.wrapping import Line, cells, fold

MAX_ROWS = 24
WRAPPING_OFF, WRAPPING_ON = "\x1b[?7l", "\x1b[?7h"
ERASE_ROW = "\r\x1b[K"
ERASE_ROW_ABOVE = "\x1b[A\x1b[K"


class LiveTail(RenderHook):
    """Draws a tail below everything else on a console.

    Use it as a context manager. Whatever else is printed on the console meanwhile appears above
    the tail.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn_widths: list[int] = []  # cells of each row of the tail
        self._is_shown = console.is_terminal and not console.is_dumb_terminal
        cuts_lines_off = "XTERM_VERSION" in os.environ or "STY" in os.environ
        self._reflows = not cuts_lines_off or "TMUX" in os.environ
        self._width = console.width  # of the window when the tail was drawn
        self._is_lost = False

    @property
    def is_shown(self) -> bool:
        """Whether this terminal can show a tail at all."""
        return self._is_shown

    @property
    def max_rows(self) -> int:
        """How many rows the tail may have."""
        return max(min(MAX_ROWS, self._console.height - 2), 1)

    def __enter__(self) -> LiveTail:
        self._console.push_render_hook(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.show([], [])
        self._console.pop_render_hook()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Erase the tail before anything is printed: Rich calls this."""
        return [*self._erasure(), *renderables]

    def show(self, final_lines: Iterable[Line], tail: Sequence[Line]) -> None:
        """Print lines that stay, and a tail below them in place of the one before, in one write.

        Args:
            final_lines: Lines that are never erased.
            tail: Lines of which the last :attr:`max_rows` rows are drawn.
        """
        console = self._console
        final_segments: list[Segment] = []
        for line in final_lines:
            final_segments += [*_segments(line), Segment.line()]
        rows = self._last_rows(tail) if self._is_shown else []
        if not final_segments and not rows and not self._drawn_widths:
            return
        with console:
            console.print(Segments(final_segments), end="", crop=False, no_wrap=True)
            if rows:
                console.print(Segments(_tail_segments(rows)), end="", crop=False, no_wrap=True)
        self._drawn_widths = [sum(cells(text) for text, _ in row) for row in rows]
        self._width = console.width

    def forget(self) -> None:
        """Leave the tail where it is: something else, such as a shell, has written below it.

        May be called from any thread.
        """
        self._is_lost = True

    def _last_rows(self, tail: Sequence[Line]) -> list[Line]:
        """Return the last rows of ``tail``, with lines that are too wide folded."""
        width = self._console.width
        rows: list[Line] = []
        for line in reversed(tail[-self.max_rows :]):
            rows[:0] = _fold_line(line, width)
        return rows[-self.max_rows :]

    def _erasure(self) -> list[ConsoleRenderable]:
        """Return what moves the cursor to the tail's first row and erases all of its rows.

        It erases row by row: tmux keeps in its history what an erased screen held.
        """
        if self._is_lost:
            self._is_lost, self._drawn_widths = False, []
        if not self._drawn_widths:
            return []
        rows = sum(self._rows_taken(width) for width in self._drawn_widths)
        rows_above = min(rows - 1, max(self._console.height - 1, 0))
        self._drawn_widths = []
        return [Segments([_control(ERASE_ROW + ERASE_ROW_ABOVE * rows_above)])]

    def _rows_taken(self, drawn_width: int) -> int:
        """Return how many rows a row of the tail takes in the window as it is now."""
        width = max(self._console.width, 1)
        if not self._reflows or width >= self._width:
            return 1
        return max(-(-drawn_width // width), 1)


def _tail_segments(rows: Sequence[Line]) -> list[Segment]:
    segments = [_control(WRAPPING_OFF)]
    for number, row in enumerate(rows):
        if number:
            segments.append(Segment.line())
        segments += _segments(row)
    return [*segments, _control(WRAPPING_ON)]


def _segments(line: Line) -> list[Segment]:
    return [Segment(text, style) for text, style in line if text]


def _control(sequence: str) -> Segment:
    """Return an escape sequence as a segment whose width Rich does not count."""
    return Segment(sequence, None, [(ControlType.CARRIAGE_RETURN,)])


def _fold_line(line: Line, width: int) -> list[Line]:
    """Return ``line`` in rows of ``width`` cells, broken where a terminal would break it."""
    rows: list[Line] = [[]]
    taken = 0
    for run, style in line:
        rest = run
        while rest:
            part = next(fold(rest, max(width - taken, 1)))
            if taken and taken + cells(part) > width:
                rows.append([])
                taken = 0
                continue
            rows[-1].append((part, style))
            rest = rest[len(part) :]
            taken += cells(part)
    return rows
