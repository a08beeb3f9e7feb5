"""The end of what is on the screen, drawn again and again below lines that stay. Knows lines, no
Markdown.

Native scrollback: lines that stay are printed once, the tail below them is erased and drawn anew.
Only these sequences are sent: a carriage return, cursor up (CSI A), erase to the right (CSI K), no
wrapping while the tail is drawn (CSI ?7 l and h) and colours (SGR). With wrapping off a line that
the terminal finds wider than we do cannot take a second row, so that erasing never misses.

When the window has become narrower, most terminals have broken the tail's lines anew; they are
counted as the terminal did. xterm and screen cut them off instead. A terminal that cannot move its
cursor (``TERM=dumb``), or a file, gets the lines that stay and no tail.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.segment import ControlType, Segment, Segments

from dslocal.terminal.wrapping import Line, cells, fold

MOST_ROWS = 24


class LiveTail(RenderHook):
    """What is drawn below everything else on ``console``. Whatever else is printed there meanwhile
    comes above it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[int] = []  # cells of each row
        self._moves = console.is_terminal and not console.is_dumb_terminal
        self._reflows = (
            "XTERM_VERSION" not in os.environ and "STY" not in os.environ
        ) or "TMUX" in os.environ
        self._width = console.width

    @property
    def shown(self) -> bool:
        """Whether this terminal shows a tail at all."""
        return self._moves

    @property
    def rows(self) -> int:
        """How many the tail may have."""
        return max(min(MOST_ROWS, self._console.height - 2), 1)

    def __enter__(self) -> LiveTail:
        self._console.push_render_hook(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.show([], [])
        self._console.pop_render_hook()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Rich's way to say that something is about to be printed."""
        return [*self._erased(), *renderables]

    def show(self, stay: Iterable[Line], tail: Sequence[Line]) -> None:
        """Prints the lines that ``stay``, and the last rows of ``tail`` below them in place of what
        was there. One write.
        """
        console = self._console
        segments = [segment for line in stay for segment in (*_segments(line), Segment.line())]
        drawn = self._cropped(tail) if self._moves else []
        if not segments and not drawn and not self._drawn:
            return
        with console:
            console.print(Segments(segments), end="", crop=False, no_wrap=True)
            if drawn:
                last = [Segment.line()] * (len(drawn) - 1)
                rows = [[*_segments(line), *last[i : i + 1]] for i, line in enumerate(drawn)]
                body = [
                    _control("\x1b[?7l"),
                    *(segment for row in rows for segment in row),
                    _control("\x1b[?7h"),
                ]
                console.print(Segments(body), end="", crop=False, no_wrap=True)
        self._drawn, self._width = (
            [sum(cells(text) for text, _ in line) for line in drawn],
            console.width,
        )

    def _cropped(self, tail: Sequence[Line]) -> list[Line]:
        """The last rows of ``tail``, lines that are too wide folded."""
        width = self._console.width
        rows: list[Line] = []
        for line in reversed(tail[-self.rows :]):
            rows[:0] = _folded(line, width)
        return rows[-self.rows :]

    def _erased(self) -> list[ConsoleRenderable]:
        """What takes the tail away: the cursor to its first row, and everything below erased."""
        if not self._drawn:
            return []
        width = max(self._console.width, 1)
        rows = [
            max(-(-taken // width), 1) if self._reflows and width < self._width else 1
            for taken in self._drawn
        ]
        up = min(sum(rows) - 1, max(self._console.height - 1, 0))
        self._drawn = []
        return [
            Segments([_control("\r\x1b[K" + "\x1b[A\x1b[K" * up)])
        ]  # row by row: tmux keeps what a whole screen erased had


def _segments(line: Line) -> list[Segment]:
    return [Segment(text, style) for text, style in line if text]


def _control(sequence: str) -> Segment:
    return Segment(sequence, None, [(ControlType.CARRIAGE_RETURN,)])


def _folded(line: Line, width: int) -> list[Line]:
    """``line`` in rows of ``width`` cells, as a terminal would break it."""
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
            rest, taken = rest[len(part) :], taken + cells(part)
    return rows
