"""A table's rows as lines of a terminal.

Columns are as wide as the rows that are given first need, and narrower where the window is; later
rows are folded into those widths. Where the window is too narrow for the columns, each row is shown
as names and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from dslocal.terminal.wrapping import Line, cells, wrap

from .inline import runs_of, style_of

MIN_COLUMN = 4  # cells of a column, where its content has as many
SEPARATOR, CROSSING = " │ ", "─┼─"
MAX_RECORD_RULE = 10  # cells of the line between two rows that are shown as records

Encode = Callable[[str], str]


class TableLayout:
    """Lays out one table, whose rows may come in parts.

    Args:
        header: The source of the cells over the columns.
        alignments: The columns: left, center or right.
        encode: Puts text into characters that the terminal has.
    """

    def __init__(self, header: Sequence[str], alignments: Sequence[str], encode: Encode) -> None:
        self._header = tuple(header)
        self._alignments = tuple(alignments)
        self._encode = encode
        self._widths: list[int] = []

    def header_lines(self) -> list[Line]:
        """Return the header, and the rule below it."""
        rule = CROSSING.join("─" * width for width in self._widths)
        bold = [_bold(_cell(text, self._encode)) for text in self._header]
        return [*self._row_lines(bold), [(rule, style_of("dim"))]]

    def lines(
        self,
        rows: Sequence[Sequence[str]],
        room: int,
        *,
        with_header: bool,
        max_rows: int | None = None,
    ) -> list[Line]:
        """Return the lines of some rows.

        Args:
            rows: The source of the cells, row by row.
            room: Cells that a line may take.
            with_header: Whether the header comes before them.
            max_rows: Only so many rows, the last ones; None for all.
        """
        if not self._widths:
            self._set_widths(rows, room)
        if max_rows is not None:
            rows = rows[max(len(rows) - max_rows, 0) :]
        shown = [[_cell(text, self._encode) for text in row] for row in rows]
        if sum(self._widths) + self._separators_width > room:
            return _records([_cell(text, self._encode) for text in self._header], shown, room)
        lines = self.header_lines() if with_header else []
        for row in shown:
            lines += self._row_lines(row)
        return lines

    @property
    def _separators_width(self) -> int:
        return len(SEPARATOR) * (len(self._header) - 1)

    def _set_widths(self, rows: Sequence[Sequence[str]], room: int) -> None:
        columns = zip(self._header, *rows, strict=True)
        needed = [max(_cell_width(text, self._encode) for text in column) for column in columns]
        self._widths = share_room(needed, room - self._separators_width)

    def _row_lines(self, row: Sequence[Line]) -> list[Line]:
        columns = [wrap(cell, width) for cell, width in zip(row, self._widths, strict=True)]
        return [self._row_line(columns, number) for number in range(max(map(len, columns)))]

    def _row_line(self, columns: Sequence[Sequence[Line]], number: int) -> Line:
        """Return line ``number`` of a row whose cells are wrapped."""
        line: Line = []
        for i, (column, width) in enumerate(zip(columns, self._widths, strict=True)):
            text = column[number] if number < len(column) else []
            blanks = max(width - sum(cells(part) for part, _ in text), 0)
            before = {"right": blanks, "center": blanks // 2}.get(self._alignments[i], 0)
            is_last = i == len(columns) - 1
            if i:
                line.append((SEPARATOR, style_of("dim")))
            line += [(" " * before, None), *text]
            if not is_last:
                line.append((" " * (blanks - before), None))
        return [run for run in line if run[0]]


@lru_cache(4096)
def _cell(text: str, encode: Encode) -> Line:
    return [(encode(part), style) for part, style in runs_of(text)]


@lru_cache(4096)
def _cell_width(text: str, encode: Encode) -> int:
    """Return the cells that the widest line of a table's cell takes."""
    shown = "".join(part for part, _ in _cell(text, encode))
    return max(cells(line) for line in shown.split("\n"))


def _bold(cell: Line) -> Line:
    bold = style_of("strong")
    return [(text, bold + style if style else bold) for text, style in cell]


def share_room(needed: Sequence[int], room: int) -> list[int]:
    """Return the columns' widths in ``room`` cells.

    Narrow columns keep what they need, wide ones share what is left. No column gets fewer than
    :data:`MIN_COLUMN` cells that it needs, so the sum may exceed ``room``.
    """
    widths = list(needed)
    if sum(widths) <= room:
        return widths
    room_left = room
    by_need = sorted(range(len(widths)), key=lambda i: needed[i])
    for number, i in enumerate(by_need):
        share = room_left // (len(widths) - number)
        widths[i] = min(needed[i], max(share, min(MIN_COLUMN, needed[i])))
        room_left -= widths[i]
    return widths


def _records(header: Sequence[Line], rows: Sequence[Sequence[Line]], room: int) -> list[Line]:
    """Return each row as names and values, one below the other."""
    if not rows:
        return [line for name in header for line in wrap(name, room)]
    lines: list[Line] = []
    for number, row in enumerate(rows):
        if number:
            lines.append([("─" * min(room, MAX_RECORD_RULE), style_of("dim"))])
        for name, cell in zip(header, row, strict=True):
            title = [(text, style_of("strong")) for text, _ in name]
            lines += wrap([*title, (": ", None), *cell], room)
    return lines
