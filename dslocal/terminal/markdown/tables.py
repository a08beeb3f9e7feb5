"""A table's rows as lines: columns as wide as they need, narrower where the window is, names and
values where it is too narrow.

The widths are those that the rows given first need; rows that come later are folded into them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from dslocal.terminal.wrapping import Line, Run, cells, wrap

from .inline import runs_of, style_of

LEAST = 4  # cells of a column


class TableLayout:
    """A table with ``header`` over its columns, each left, center or right."""

    def __init__(self, header: Sequence[str], aligns: Sequence[str]) -> None:
        self._header, self._aligns = tuple(header), tuple(aligns)
        self._widths: list[int] = []

    def lines(
        self,
        rows: Sequence[Sequence[str]],
        room: int,
        spell: Callable[[str], str],
        last: int | None = None,
        *,
        head: bool = True,
    ) -> list[Line]:
        """The lines of ``rows`` in ``room`` cells, those of the header before them if ``head``; of
        only the ``last`` rows, if given.
        """
        header = [_cell(text, spell) for text in self._header]
        if not self._widths:
            naturals = [
                max(_natural(text, spell) for text in column)
                for column in zip(self._header, *rows, strict=True)
            ]
            self._widths = _shared_out(naturals, room - 3 * (len(header) - 1))
        shown = [
            [_cell(text, spell) for text in row]
            for row in (rows if last is None else rows[-last:] if last else [])
        ]
        if sum(self._widths) + 3 * (len(header) - 1) > room:
            return _records(header, shown, room)
        bold: list[Line] = [
            [
                (text, style_of("strong") + style if style else style_of("strong"))
                for text, style in cell
            ]
            for cell in header
        ]
        lines: list[Line] = (
            [
                *self._row(bold),
                [("─┼─".join("─" * width for width in self._widths), style_of("dim"))],
            ]
            if head
            else []
        )
        return lines + [line for row in shown for line in self._row(row)]

    def _row(self, row: Sequence[Line]) -> list[Line]:
        columns = [wrap(cell, width) for cell, width in zip(row, self._widths, strict=True)]
        lines: list[Line] = []
        for number in range(max(map(len, columns))):
            line: Line = []
            for i, (column, width) in enumerate(zip(columns, self._widths, strict=True)):
                text = column[number] if number < len(column) else []
                blank = max(width - sum(cells(part) for part, _ in text), 0)
                before = {"right": blank, "center": blank // 2}.get(self._aligns[i], 0)
                after = 0 if i == len(columns) - 1 else blank - before
                line += [(" │ ", style_of("dim"))] * (i > 0) + [
                    (" " * before, None),
                    *text,
                    (" " * after, None),
                ]
            lines.append([run for run in line if run[0]])
        return lines


@lru_cache(4096)
def _cell(text: str, spell: Callable[[str], str]) -> Line:
    return [(spell(part), style) for part, style in runs_of(text)]


@lru_cache(4096)
def _natural(text: str, spell: Callable[[str], str]) -> int:
    """The cells that the widest line of a cell takes."""
    return max(cells(line) for line in "".join(part for part, _ in _cell(text, spell)).split("\n"))


def _shared_out(naturals: Sequence[int], room: int) -> list[int]:
    """Widths that fit into ``room``: the narrow columns keep what they need, the wide ones share
    what is left.
    """
    widths, left = list(naturals), room
    if sum(widths) <= room:
        return widths
    for number, i in enumerate(sorted(range(len(widths)), key=lambda i: naturals[i])):
        widths[i] = min(naturals[i], max(left // (len(widths) - number), min(LEAST, naturals[i])))
        left -= widths[i]
    return widths


def _records(header: Sequence[Line], rows: Sequence[Sequence[Line]], room: int) -> list[Line]:
    lines: list[Line] = []
    for number, row in enumerate(rows):
        lines += [[("─" * min(room, 10), style_of("dim"))]] if number else []
        for name, cell in zip(header, row, strict=True):
            title: list[Run] = [(text, style_of("strong")) for text, _ in name]
            lines += wrap([*title, (": ", None), *cell], room)
    return lines or [line for name in header for line in wrap(name, room)]
