"""Text in the cells of a terminal: how wide it is, and where a line may be broken.

Knows runs of styled text, no Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import wcwidth
from rich.style import Style

Run = tuple[str, Style | None]
Line = list[Run]

_PIECE = re.compile(r"\n|[ \t]+|[!-~]+|[^\s!-~]+|\s")
# Characters that no line begins with, or ends with, in East Asian typesetting.
_NOT_FIRST = frozenset(
    "、。，．：；！？）】」』》〉〕｝］…—～·ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ％℃”’!?,.:;)]}%"
)
_NOT_LAST = frozenset("（【「『《〈〔｛［“‘([{$￥")


def cells(text: str) -> int:
    """Return how many cells ``text`` takes."""
    return len(text) if text.isascii() else _wide_cells(text)


@lru_cache(4096)
def _wide_cells(text: str) -> int:
    return sum(map(_cells_of_one, wcwidth.iter_graphemes(text)))


@lru_cache(8192)
def _cells_of_one(grapheme: str) -> int:
    return max(wcwidth.wcswidth(grapheme), 0)


def fold(text: str, width: int) -> Iterator[str]:
    """Yield ``text`` in parts of at most ``width`` cells; a wider character is a part by itself."""
    if text.isascii():
        yield from (text[i : i + width] for i in range(0, len(text), width))
        return
    part, taken = "", 0
    for grapheme in wcwidth.iter_graphemes(text):
        more = _cells_of_one(grapheme)
        if part and taken + more > width:
            yield part
            part, taken = "", 0
        part += grapheme
        taken += more
    if part:
        yield part


def wrap(runs: Iterable[Run], room: int) -> list[Line]:
    """Return runs as lines of at most ``room`` cells.

    Lines are broken at spaces, between ideographs, and inside of a word only if it is wider than a
    line. Lines are filled greedily, so all but the last stay as they are when more text follows.

    Args:
        runs: Text with its styles; a newline ends a line.
        room: Cells of a line.
    """
    filler = _LineFiller(max(room, 1))
    for text, style in _merge(runs):
        for piece in _PIECE.findall(text):
            if piece == "\n":
                filler.end_line()
            elif piece.isspace():
                filler.add_space(piece.replace("\t", " "), style)
            elif piece.isascii():
                filler.add_solid(piece, len(piece), style, is_wide=False)
            else:
                for grapheme in wcwidth.iter_graphemes(piece):
                    width = _cells_of_one(grapheme)
                    filler.add_solid(grapheme, width, style, is_wide=width == 2)
    return filler.finish()


def _merge(runs: Iterable[Run]) -> list[Run]:
    """Return ``runs`` with neighbours of one style made one."""
    merged: list[Run] = []
    for text, style in runs:
        if merged and merged[-1][1] is style:
            merged[-1] = (merged[-1][0] + text, style)
        elif text:
            merged.append((text, style))
    return merged


class _LineFiller:
    """Fills lines of ``width`` cells.

    What may not be broken is gathered in ``_atom``, and put on a line when its end is known.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: list[Line] = []
        self._line: Line = []
        self._line_width = 0
        self._spaces: Line = []  # before the atom
        self._atom: Line = []
        self._atom_width = 0
        self._last_character = ""
        self._is_after_wide = False

    def add_solid(self, text: str, width: int, style: Style | None, *, is_wide: bool) -> None:
        """Add text without spaces; a line may be broken beside a wide character."""
        if (is_wide or self._is_after_wide) and self._can_break_before(text[0]):
            self._place_atom()
        self._atom.append((text, style))
        self._atom_width += width
        self._last_character = text[-1]
        self._is_after_wide = is_wide

    def add_space(self, text: str, style: Style | None) -> None:
        """Add spaces, which are left out where a line is broken."""
        self._place_atom()
        self._spaces.append((text, style))
        self._last_character = ""

    def end_line(self) -> None:
        """Begin a new line."""
        self._place_atom()
        self._break_line()
        self._last_character = ""

    def finish(self) -> list[Line]:
        """Return all lines."""
        self._place_atom()
        return [*self._lines, _merge(self._line)]

    def _can_break_before(self, character: str) -> bool:
        last = self._last_character
        return bool(last) and last not in _NOT_LAST and character not in _NOT_FIRST

    def _break_line(self) -> None:
        self._lines.append(_merge(self._line))
        self._line = []
        self._line_width = 0
        self._spaces = []

    def _place_atom(self) -> None:
        """Put the atom on this line or the next."""
        if not self._atom:
            return
        gap = sum(len(text) for text, _ in self._spaces)
        if self._line_width and self._line_width + gap + self._atom_width > self._width:
            self._break_line()
        elif self._line_width:
            self._line += self._spaces
            self._line_width += gap
        self._spaces = []
        for text, style in self._atom:
            if self._atom_width <= self._width:
                self._line.append((text, style))
                self._line_width += cells(text)
            else:
                self._fold_onto_lines(text, style)
        self._atom = []
        self._atom_width = 0

    def _fold_onto_lines(self, text: str, style: Style | None) -> None:
        """Break text that is wider than a line."""
        for part in fold(text, self._width):
            width = cells(part)
            if self._line_width + width > self._width:
                self._break_line()
            self._line.append((part, style))
            self._line_width += width
