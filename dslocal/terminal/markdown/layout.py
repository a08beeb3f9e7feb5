"""Pieces of Markdown as lines of a terminal: markers, bars, tables, code and drawn formulas.

A blank line is shown where one was written. Lines of code are not folded: the terminal does that,
so that what is copied is what was written. Knows the width, no cursor and no stream.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Sequence

from dslocal.terminal.tex import to_unicode
from dslocal.terminal.tex.boxes import plain
from dslocal.terminal.wrapping import Line, Run, cells, wrap

from .code_colours import CodeColourer
from .inline import DisplayMath, boxed_runs, flow, runs_of, style_of
from .pieces import BlockPiece, Container, PieceKind
from .tables import TableLayout

MIN_TEXT_ROOM = 8  # cells that text has at least, whatever is around it
MAX_RULE = 40  # cells
FORMULA_INDENT = "  "
CODE_INDENT = "    "  # of code without a fence
QUOTE_BAR = "▌ "
FENCE_RULE = "───"
BULLETS = "•◦▪"  # by depth
TASK_OPEN, TASK_DONE = "☐ ", "☑ "
_TASK = re.compile(r"\[([ xX])\](?:[ \n]|$)")


class MarkdownLayout:
    """Lays out pieces one after the other.

    Args:
        width: Cells of a line; it may be set again between two calls.
        encode: Puts text into characters that the terminal has.
    """

    def __init__(self, width: int, encode: Callable[[str], str] = str) -> None:
        self.width = width
        self._encode = encode
        self._path: tuple[Container, ...] = ()  # of the line before
        self._has_printed = False
        self._carry: Line = []  # the last line of an open paragraph, which may become longer
        # of an open paragraph of which no line is full yet
        self._pending_gap = False
        self._pending_task = ""
        self._table: TableLayout | None = None
        self._colourer: CodeColourer | None = None

    def fork(self) -> MarkdownLayout:
        """Return a layout in the same state that continues by itself."""
        fork = copy.copy(self)
        fork._table = copy.copy(self._table)
        fork._colourer = copy.copy(self._colourer)
        return fork

    def lay_out(self, pieces: Sequence[BlockPiece], *, max_rows: int | None = None) -> list[Line]:
        """Return the lines of ``pieces``, which follow those laid out before.

        Args:
            pieces: Pieces of blocks in their order.
            max_rows: Only so many rows of each table, the last ones; None for all.
        """
        lines: list[Line] = []
        for piece in pieces:
            for line in self._piece_lines(piece, max_rows):
                lines.append([(self._encode(text), style) for text, style in line])
        return lines

    def _piece_lines(self, piece: BlockPiece, max_rows: int | None) -> list[Line]:
        match piece.kind:
            case PieceKind.PARAGRAPH:
                return self._paragraph(piece)
            case PieceKind.TABLE:
                lines = self._table_rows(piece, max_rows)
            case PieceKind.HEADING:
                lines = self._heading(piece)
            case PieceKind.FENCE:
                lines = self._fence(piece)
            case PieceKind.CODE:
                lines = self._code(piece)
            case PieceKind.FENCE_END:
                self._colourer = None
                lines = [[(FENCE_RULE, style_of("dim"))]]
            case PieceKind.HTML:
                lines = [[(piece.text, style_of("dim"))]]
            case PieceKind.RULE:
                lines = [[("─" * min(self._room(piece), MAX_RULE), style_of("dim"))]]
            case PieceKind.EMPTY:
                lines = [[]]
        return self._place(piece, lines)

    # One kind of piece each: lines without what stands at their left

    def _table_rows(self, piece: BlockPiece, max_rows: int | None) -> list[Line]:
        rows, with_header = piece.rows, False
        if piece.begins or self._table is None:
            self._table = TableLayout(rows[0], piece.alignments, self._encode)
            rows, with_header = rows[1:], True
        return self._table.lines(
            rows, self._room(piece), with_header=with_header, max_rows=max_rows
        )

    def _heading(self, piece: BlockPiece) -> list[Line]:
        style = style_of("title" if piece.level == 1 else "heading")
        runs = [(text, style + own if own else style) for text, own in runs_of(piece.text)]
        return self._wrap(runs, self._room(piece))

    def _fence(self, piece: BlockPiece) -> list[Line]:
        language = _fence_language(piece.text)
        self._colourer = CodeColourer(language)
        rule = f"{FENCE_RULE} {language}" if language else FENCE_RULE
        return [[(rule, style_of("dim"))]]

    def _code(self, piece: BlockPiece) -> list[Line]:
        if self._colourer:
            return [self._colourer.line(piece.text)]
        code = CODE_INDENT + piece.text if piece.text.strip() else ""
        return [[(code, style_of("code"))]]

    # Paragraphs

    def _paragraph(self, piece: BlockPiece) -> list[Line]:
        """Return the lines of a paragraph's portion that are full; the last one is carried over."""
        marker, text = self._take_task(piece)
        room = self._room(piece, marker)
        runs, self._carry = list(self._carry), []
        if not piece.begins and text[:1].isspace():
            spaces = text[: len(text) - len(text.lstrip())]
            runs.append(("\n" if "\n" in spaces else " ", None))
            text = text.lstrip()
        lines: list[Line] = []
        is_after_formula = False
        for part in flow(text):
            is_after_formula = isinstance(part, DisplayMath)
            if isinstance(part, DisplayMath):
                if runs:
                    lines += self._wrap(runs, room)
                lines += self._formula(part.source, room)
                runs = []
            else:
                runs += part
        if piece.continues and not is_after_formula:
            *full_lines, self._carry = self._wrap(runs, room)
            lines += full_lines
        elif runs or (piece.begins and not lines):
            lines += self._wrap(runs, room)
        if not lines:
            self._pending_gap = self._pending_gap or piece.has_gap
            self._pending_task = marker
        return self._place(piece, lines, marker)

    def _take_task(self, piece: BlockPiece) -> tuple[str, str]:
        """Return the sign of a task list's item, and the paragraph's text without its box.

        The sign is empty where the paragraph is not the first one of such an item.
        """
        sign, self._pending_task = self._pending_task, ""
        item = piece.path[-1] if piece.path else None
        if item is None or item.is_quote or item in self._path or not piece.begins:
            return sign, piece.text
        box = _TASK.match(piece.text)
        if box is None:
            return sign, piece.text
        return TASK_OPEN if box[1] == " " else TASK_DONE, piece.text[box.end() :]

    def _formula(self, source: str, room: int) -> list[Line]:
        """Return a formula drawn on lines of its own, or on one that is wrapped if too wide."""
        rows = [self._encode(row) for row in to_unicode.display(source)]
        width = max((cells(plain(row)) for row in rows), default=0)
        if width + len(FORMULA_INDENT) <= room:
            return [[(FORMULA_INDENT, None), *boxed_runs(row.rstrip())] for row in rows]
        return self._wrap(boxed_runs(to_unicode.inline(source)), room)

    def _wrap(self, runs: Sequence[Run], room: int) -> list[Line]:
        return wrap([(self._encode(text), style) for text, style in runs], room)

    # What stands at the left

    def _room(self, piece: BlockPiece, task: str = "") -> int:
        """Return the cells that a line inside of the piece's containers has."""
        taken = sum(map(cells, self._markers(piece.path, task)))
        return max(self.width - taken, MIN_TEXT_ROOM)

    def _markers(self, path: Sequence[Container], task: str = "") -> list[str]:
        """Return what stands at the left of a first line, a string a container.

        Where the window is too narrow for all, the outer ones are empty.
        """
        markers = [_marker(container) for container in path]
        if task and markers:
            markers[-1] = task
        room = max(self.width - MIN_TEXT_ROOM, 0)
        for number in range(len(markers)):
            if sum(map(cells, markers)) <= room:
                break
            markers[number] = ""
        return markers

    def _place(self, piece: BlockPiece, lines: Sequence[Line], task: str = "") -> list[Line]:
        """Return ``lines`` inside of the piece's containers, after a blank line if one was written.

        Args:
            piece: What the lines are of.
            lines: Lines without what stands at their left.
            task: The sign of a task list's item, in place of its bullet.
        """
        if not lines:
            return []
        markers = [self._encode(text) for text in self._markers(piece.path, task)]
        placed: list[Line] = []
        has_gap = piece.has_gap or self._pending_gap
        self._pending_gap = False
        if has_gap and self._has_printed:
            placed.append(self._gap_line(piece.path, markers))
        opened: Collection[Container] = [c for c in piece.path if c not in self._path]
        for line in lines:
            edge = _left_edge(piece.path, markers, opened, keep_blanks=bool(line))
            placed.append([*edge, *line])
            opened = ()
        self._path = piece.path
        self._has_printed = True
        return placed

    def _gap_line(self, path: Sequence[Container], markers: Sequence[str]) -> Line:
        """Return a blank line: only the bars of the quotes that continue across it."""
        continued = [c for c in path if c in self._path]
        their_markers = [marker for c, marker in zip(path, markers, strict=True) if c in self._path]
        return _left_edge(continued, their_markers, ())


def _fence_language(info: str) -> str:
    """Return the language of a fence's info string, also of ``{.python …}`` as Pandoc has it."""
    words = info.split()
    return words[0].strip("{}.").partition("{")[0] if words else ""


def _marker(container: Container) -> str:
    if container.is_quote:
        return QUOTE_BAR
    if container.marker in "*+-":
        return f"{BULLETS[container.depth % len(BULLETS)]} "
    return f"{container.marker} "


def _left_edge(
    path: Sequence[Container],
    markers: Sequence[str],
    opened: Collection[Container],
    *,
    keep_blanks: bool = False,
) -> Line:
    """Return what stands at the left of a line.

    Args:
        path: The containers around the line, from the outside.
        markers: The marker of each.
        opened: Those whose first line it is. An item that is not among them has blanks instead of
            its marker; a quote has its bar on every line.
        keep_blanks: Whether text follows, so that blanks at the end count.
    """
    edge = "".join(
        marker if container in opened or container.is_quote else " " * cells(marker)
        for container, marker in zip(path, markers, strict=True)
    )
    if not keep_blanks:
        edge = edge.rstrip()
    if not edge:
        return []
    return [(edge, style_of("dim") if any(c.is_quote for c in path) else None)]
