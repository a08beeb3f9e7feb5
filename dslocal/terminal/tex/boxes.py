"""Blocks of text that stand beside each other: what mathematics is drawn with. Knows nothing of
TeX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dslocal.terminal.wrapping import cells

from .symbols import BRACKETS

BOXED, END_BOXED = "\x02", "\x03"  # no text that passed sanitise has these


@dataclass(frozen=True)
class MathBox:
    """Rows of equal width; ``base`` is the one that stands on the line."""

    rows: list[str]
    base: int = 0

    @classmethod
    def of(cls, text: str) -> MathBox:
        return cls([text])

    @property
    def height(self) -> int:
        return len(self.rows)


def plain(text: str) -> str:
    """``text`` without the marks of what is boxed."""
    return text.replace(BOXED, "").replace(END_BOXED, "")


def on_a_line(box: MathBox) -> str:
    """A box's rows one after the other."""
    return box.rows[0] if box.height == 1 else "; ".join(" ".join(row.split()) for row in box.rows)


def side_by_side(boxes: Sequence[MathBox]) -> MathBox:
    """One box of them all, their bases on one line."""
    boxes = [box for box in boxes if box.height > 1 or box.rows[0]]
    if all(box.height == 1 for box in boxes):
        return MathBox.of("".join(box.rows[0] for box in boxes))
    above = max(box.base for box in boxes)
    below = max(box.height - box.base for box in boxes)
    rows = [""] * (above + below)
    for box in boxes:
        blank = " " * cells(plain(box.rows[0]))
        lifted = [blank] * (above - box.base) + box.rows
        lifted += [blank] * (len(rows) - len(lifted))
        rows = [row + more for row, more in zip(rows, lifted, strict=True)]
    return MathBox(rows, above)


def grid(
    rows: Sequence[Sequence[MathBox]],
    left: str,
    right: str,
    *,
    align: str,
    stacked: bool,
    between: str = " ",
) -> MathBox:
    """Cells in columns between brackets: ``align`` is left, right, or equations (right and left in
    turns, nothing between them).
    """
    texts = [[on_a_line(cell).strip() for cell in row] for row in rows]
    if not stacked or (len(texts) < 2 and align != "equations"):
        lines = "; ".join(between.join(filter(None, row)) for row in texts)
        opener, closer = ("[", "]") if align == "right" and not left + right else (left, right)
        return MathBox.of(f"{opener}{lines}{closer}")
    if align == "equations" and any(cell.height > 1 for row in rows for cell in row):
        return _pile([side_by_side(row) for row in rows])
    columns = max(map(len, texts), default=0)
    texts = [row + [""] * (columns - len(row)) for row in texts]
    widths = [max(cells(plain(row[i])) for row in texts) for i in range(columns)]
    drawn: list[str] = []
    for number, row in enumerate(texts):
        padded: list[str] = []
        for i, text in enumerate(row):
            blank = " " * (widths[i] - cells(plain(text)))
            to_right = align == "right" or (align == "equations" and i % 2 == 0 and columns > 1)
            padded.append(blank + text if to_right else text + blank)
        if align == "equations":
            padded = [" ".join(padded[i : i + 2]) for i in range(0, columns, 2)]
        line = "  ".join(padded)
        drawn.append(
            _bracket(left, number, len(texts)) + line + _bracket(right, number, len(texts))
        )
    return MathBox(drawn, (len(drawn) - 1) // 2)


def _pile(boxes: Sequence[MathBox]) -> MathBox:
    rows = [row for box in boxes for row in box.rows]
    width = max(cells(plain(row)) for row in rows)
    rows = [row + " " * (width - cells(plain(row))) for row in rows]
    return MathBox(rows, (len(rows) - 1) // 2)


def _bracket(kind: str, number: int, count: int) -> str:
    if not kind:
        return ""
    alone, first, between, last = list(BRACKETS[kind])
    drawn = (
        alone if count == 1 else first if number == 0 else last if number == count - 1 else between
    )
    if kind in "{}" and count > 2 and number == (count - 1) // 2:
        drawn = "⎨" if kind == "{" else "⎬"
    return f"{drawn} " if kind == "{" and count > 1 else drawn


def drawn_box(box: MathBox) -> MathBox:
    """A frame around ``box``."""
    width = cells(plain(box.rows[0]))
    rows = [
        f"┌{'─' * (width + 2)}┐",
        *(f"│ {plain(row)} │" for row in box.rows),
        f"└{'─' * (width + 2)}┘",
    ]
    return MathBox([f"{BOXED}{row}{END_BOXED}" for row in rows], box.base + 1)
