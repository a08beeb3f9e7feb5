"""Pieces of Markdown as lines of a terminal: markers, bars, tables, code, drawn formulas. Knows the
width, no cursor and no stream.

A blank line is shown where one was written. Code lines are not folded: the terminal does that, so
that what is copied is what was written. In a window too narrow for a table's columns each row is
shown as names and values.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence

from dslocal.terminal.tex import to_unicode
from dslocal.terminal.tex.boxes import plain
from dslocal.terminal.wrapping import Line, Run, cells, wrap

from .code_colours import CodeColourer
from .inline import DisplayMath, boxed_apart, flow, runs_of, style_of
from .pieces import BlockPiece, Container, PieceKind
from .tables import TableLayout

NARROWEST = 8  # cells that text has at least, whatever is around it
_BULLETS = "•◦▪"
_TASK = re.compile(r"\[([ xX])\](?:[ \n]|$)")


class MarkdownLayout:
    """Lays out pieces one after the other. ``spell`` makes text fit the terminal's encoding."""

    def __init__(self, width: int, spell: Callable[[str], str] = str) -> None:
        self.width = width
        self._spell = spell
        self._path: tuple[Container, ...] = ()  # of the line before
        self._printed = False
        self._carry: Line = []  # of an open paragraph: its last line, which may grow
        self._gap, self._task = False, ""  # of a paragraph of which no line is full yet
        self._table: TableLayout | None = None
        self._colours: CodeColourer | None = None

    def twin(self) -> MarkdownLayout:
        """One that goes on from here by itself."""
        twin = copy.copy(self)
        twin._table, twin._colours = copy.copy(self._table), copy.copy(self._colours)
        return twin

    def lay(self, pieces: Sequence[BlockPiece], last: int | None = None) -> list[Line]:
        """The lines of ``pieces``; of tables only the ``last`` rows, if given."""
        return [self._spelled(line) for piece in pieces for line in self._piece(piece, last)]

    def _spelled(self, line: Line) -> Line:
        return [(self._spell(text), style) for text, style in line]

    def _piece(self, piece: BlockPiece, last: int | None) -> list[Line]:
        text = piece.text
        if piece.kind is PieceKind.PARAGRAPH:
            return self._paragraph(piece)
        if piece.kind is PieceKind.TABLE:
            if piece.begins or self._table is None:
                self._table = TableLayout(piece.rows[0], piece.aligns)
                return self._placed(
                    piece, self._table.lines(piece.rows[1:], self._room(piece), self._spell, last)
                )
            return self._placed(
                piece,
                self._table.lines(piece.rows, self._room(piece), self._spell, last, head=False),
            )
        if piece.kind is PieceKind.HEADING:
            style = style_of("title" if piece.level == 1 else "heading")
            runs = [(part, style + own if own else style) for part, own in runs_of(text)]
            return self._placed(piece, self._wrapped(runs, self._room(piece)))
        if piece.kind is PieceKind.FENCE:
            language = text.split()[0].strip("{}.").partition("{")[0] if text.split() else ""
            self._colours = CodeColourer(language)
            return self._placed(
                piece, [[(f"─── {language}" if language else "───", style_of("dim"))]]
            )
        if piece.kind is PieceKind.FENCE_END:
            self._colours = None
            return self._placed(piece, [[("───", style_of("dim"))]])
        if piece.kind is PieceKind.CODE:
            line: Line = (
                self._colours.line(text)
                if self._colours
                else [("    " + text if text.strip() else "", style_of("code"))]
            )
            return self._placed(piece, [line])
        if piece.kind is PieceKind.HTML:
            return self._placed(piece, [[(text, style_of("dim"))]])
        if piece.kind is PieceKind.RULE:
            return self._placed(piece, [[("─" * min(self._room(piece), 40), style_of("dim"))]])
        return self._placed(piece, [[]])

    def _paragraph(self, piece: BlockPiece) -> list[Line]:
        path, text = piece.path, piece.text
        marker, self._task = self._task, ""
        if (
            path
            and path[-1].marker
            and piece.begins
            and path[-1] not in self._path
            and (task := _TASK.match(text))
        ):
            marker, text = "☐ " if task[1] == " " else "☑ ", text[task.end() :]
        room = self._room(piece, marker)
        lines: list[Line] = []
        runs, self._carry = list(self._carry), []
        if not piece.begins and text[:1].isspace():
            runs.append(("\n" if "\n" in text[: len(text) - len(text.lstrip())] else " ", None))
            text = text.lstrip()
        parts = flow(text)
        for part in parts:
            if isinstance(part, DisplayMath):
                lines += self._wrapped(runs, room) if runs else []
                lines += self._formula(part.source, room)
                runs = []
            else:
                runs += part
        if piece.more and not (parts and isinstance(parts[-1], DisplayMath)):
            *lines_more, self._carry = self._wrapped(runs, room)
            lines += lines_more
        elif runs or not (lines or not piece.begins):
            lines += self._wrapped(runs, room)
        if not lines:
            self._gap, self._task = self._gap or piece.gap, marker
        return self._placed(piece, lines, marker)

    def _wrapped(self, runs: Sequence[Run], room: int) -> list[Line]:
        return wrap([(self._spell(text), style) for text, style in runs], room)

    def _formula(self, source: str, room: int) -> list[Line]:
        """A formula on lines of its own; where it is too wide to be drawn, on one line that is
        broken.
        """
        rows = [self._spell(row) for row in to_unicode.display(source)]
        indent = "  "
        if max((cells(plain(row)) for row in rows), default=0) + len(indent) <= room:
            return [[(indent, None), *boxed_apart(row.rstrip())] for row in rows]
        return self._wrapped(boxed_apart(to_unicode.inline(source)), room)

    def _room(self, piece: BlockPiece, marker: str = "") -> int:
        return max(
            self.width - sum(cells(text) for text in self._markers(piece.path, marker)), NARROWEST
        )

    def _markers(self, path: Sequence[Container], marker: str = "") -> list[str]:
        """What stands at the left of a first line; the outer ones make room when the window is
        narrow.
        """
        markers = [_marker(container) for container in path]
        if marker and markers:
            markers[-1] = marker
        while sum(map(cells, markers)) > max(self.width - NARROWEST, 0) and any(markers):
            markers[next(i for i, text in enumerate(markers) if text)] = ""
        return markers

    def _placed(self, piece: BlockPiece, lines: list[Line], marker: str = "") -> list[Line]:
        """``lines`` inside the piece's containers, a blank line before them where one was
        written.
        """
        if not lines:
            return []
        markers = [self._spell(text) for text in self._markers(piece.path, marker)]
        placed: list[Line] = []
        gap, self._gap = piece.gap or self._gap, False
        if gap and self._printed:
            shared = [text for text, c in zip(markers, piece.path, strict=True) if c in self._path]
            same = [c for c in piece.path if c in self._path]
            placed.append(_bars(shared, same, [False] * len(same)))
        new = [container not in self._path for container in piece.path]
        for number, line in enumerate(lines):
            left = _bars(
                markers, piece.path, new if number == 0 else [False] * len(new), keep=bool(line)
            )
            placed.append([*left, *line])
        self._path, self._printed = piece.path, True
        return placed


def _marker(container: Container) -> str:
    if not container.marker:
        return "▌ "
    return f"{_BULLETS[container.depth % 3] if container.marker in '*+-' else container.marker} "


def _bars(
    markers: Sequence[str], path: Sequence[Container], new: Sequence[bool], *, keep: bool = False
) -> Line:
    """The left edge of a line: the marker of what is new, blanks below one of an item, a bar for
    every quote.
    """
    texts = [
        text if fresh or not container.marker else " " * cells(text)
        for text, container, fresh in zip(markers, path, new, strict=True)
    ]
    edge = "".join(texts)
    edge = edge if keep else edge.rstrip()
    return (
        [(edge, style_of("dim") if any(not container.marker for container in path) else None)]
        if edge
        else []
    )
