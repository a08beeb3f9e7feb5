"""Boxes of text, side by side, of which mathematics is drawn.

Knows nothing of TeX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dslocal.terminal.wrapping import cells

from .symbols import BRACKETS

BOXED, END_BOXED = "\x02", "\x03"  # no text that passed sanitise has these


@dataclass(frozen=True)
class MathBox:
    """Rows of equal width.

    Attributes:
        rows: The rows, from the top.
        base: The row that stands on the line of the text around it.
    """

    rows: list[str]
    base: int = 0

    @classmethod
    def of(cls, text: str) -> MathBox:
        """Return a box of one row."""
        return cls([text])

    @property
    def height(self) -> int:
        """The number of rows."""
        return len(self.rows)


def plain(text: str) -> str:
    """Return ``text`` without the marks around what is boxed."""
    return text.replace(BOXED, "").replace(END_BOXED, "")


def on_a_line(box: MathBox) -> str:
    """Return a box's rows one after the other."""
    if box.height == 1:
        return box.rows[0]
    return "; ".join(" ".join(row.split()) for row in box.rows)


def side_by_side(boxes: Sequence[MathBox]) -> MathBox:
    """Return one box of them all, with their bases on one line."""
    boxes = [box for box in boxes if box.height > 1 or box.rows[0]]
    if all(box.height == 1 for box in boxes):
        return MathBox.of("".join(box.rows[0] for box in boxes))
    above = max(box.base for box in boxes)
    below = max(box.height - box.base for box in boxes)
    rows = [""] * (above + below)
    for box in boxes:
        blank = " " * _width(box.rows[0])
        padded = [blank] * (above - box.base) + box.rows
        padded += [blank] * (len(rows) - len(padded))
        rows = [row + more for row, more in zip(rows, padded, strict=True)]
    return MathBox(rows, above)


def matrix(rows: Sequence[Sequence[MathBox]], left: str, right: str, *, stacked: bool) -> MathBox:
    """Return cells in columns between brackets, aligned to the right.

    Args:
        rows: The cells.
        left: The bracket at the left, a key of :data:`.symbols.BRACKETS`, or nothing.
        right: The bracket at the right.
        stacked: Whether rows may be drawn above each other. A matrix on one line has square
            brackets if it has none of its own.
    """
    texts = _cell_texts(rows)
    if stacked and len(texts) > 1:
        columns = _pad_columns(texts, to_right=lambda column: True)
        return _bracketed(["  ".join(row) for row in columns], left, right)
    if not left and not right:
        left, right = "[", "]"
    return MathBox.of(left + _rows_on_a_line(texts, " ") + right)


def cases(rows: Sequence[Sequence[MathBox]], left: str, right: str, *, stacked: bool) -> MathBox:
    """Return cells in columns between brackets, aligned to the left: values and conditions.

    Takes what :func:`matrix` does.
    """
    texts = _cell_texts(rows)
    if stacked and len(texts) > 1:
        columns = _pad_columns(texts, to_right=lambda column: False)
        return _bracketed(["  ".join(row) for row in columns], left, right)
    return MathBox.of(left + _rows_on_a_line(texts, ", ") + right)


def equations(rows: Sequence[Sequence[MathBox]]) -> MathBox:
    """Return equations below each other, aligned where their cells meet.

    Cells come in pairs, the left one aligned to the right. Equations that have a taller cell are
    put below each other without aligning them.
    """
    if any(cell.height > 1 for row in rows for cell in row):
        return _pile([side_by_side(row) for row in rows])
    texts = _cell_texts(rows)
    is_single = all(len(row) < 2 for row in texts)
    columns = _pad_columns(texts, to_right=lambda column: column % 2 == 0 and not is_single)
    lines = []
    for row in columns:
        pairs = [" ".join(row[i : i + 2]) for i in range(0, len(row), 2)]
        lines.append("  ".join(pairs))
    return MathBox(lines, _middle(len(lines)))


def framed(box: MathBox) -> MathBox:
    """Return a box with a frame around it, marked as boxed."""
    rule = "─" * (_width(box.rows[0]) + 2)
    rows = [f"┌{rule}┐", *(f"│ {plain(row)} │" for row in box.rows), f"└{rule}┘"]
    return MathBox([f"{BOXED}{row}{END_BOXED}" for row in rows], box.base + 1)


def _width(row: str) -> int:
    return cells(plain(row))


def _middle(count: int) -> int:
    """Return the number of the middle row of so many."""
    return (count - 1) // 2


def _cell_texts(rows: Sequence[Sequence[MathBox]]) -> list[list[str]]:
    return [[on_a_line(cell).strip() for cell in row] for row in rows]


def _rows_on_a_line(texts: Sequence[Sequence[str]], between: str) -> str:
    return "; ".join(between.join(filter(None, row)) for row in texts)


def _pad_columns(texts: list[list[str]], *, to_right: Callable[[int], bool]) -> list[list[str]]:
    """Return the cells with blanks, so that every column has one width.

    Args:
        texts: The cells, row by row; short rows get empty cells.
        to_right: Whether the column of a number is aligned to the right.
    """
    count = max(map(len, texts), default=0)
    rows = [row + [""] * (count - len(row)) for row in texts]
    for column in range(count):
        width = max(_width(row[column]) for row in rows)
        for row in rows:
            blank = " " * (width - _width(row[column]))
            row[column] = blank + row[column] if to_right(column) else row[column] + blank
    return rows


def _bracketed(lines: Sequence[str], left: str, right: str) -> MathBox:
    """Return two lines or more between tall brackets."""
    count = len(lines)
    rows = [
        _bracket_part(left, number, count) + line + _bracket_part(right, number, count)
        for number, line in enumerate(lines)
    ]
    return MathBox(rows, _middle(count))


def _bracket_part(kind: str, number: int, count: int) -> str:
    """Return what a bracket shows at a row: ``number`` of ``count``, which are two or more."""
    if not kind:
        return ""
    bracket = BRACKETS[kind]
    if number == 0:
        return bracket.first
    if number == count - 1:
        return bracket.last
    return bracket.middle if number == _middle(count) else bracket.between


def _pile(boxes: Sequence[MathBox]) -> MathBox:
    """Return boxes below each other, aligned to the left."""
    rows = [row for box in boxes for row in box.rows]
    width = max(map(_width, rows))
    return MathBox([row + " " * (width - _width(row)) for row in rows], _middle(len(rows)))
