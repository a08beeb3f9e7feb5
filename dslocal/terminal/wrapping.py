"""Text in cells of a terminal: how wide it is, and where a line may be broken. Knows runs of styled
text, no Markdown.
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
_NOT_FIRST = frozenset(
    "、。，．：；！？）】」』》〉〕｝］…—～·ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ％℃”’!?,.:;)]}%"
)
_NOT_LAST = frozenset("（【「『《〈〔｛［“‘([{$￥")


def cells(text: str) -> int:
    """How many cells ``text`` takes."""
    return len(text) if text.isascii() else _wide_cells(text)


@lru_cache(4096)
def _wide_cells(text: str) -> int:
    return sum(map(_cells_of_one, wcwidth.iter_graphemes(text)))


@lru_cache(8192)
def _cells_of_one(grapheme: str) -> int:
    return max(wcwidth.wcswidth(grapheme), 0)


def fold(text: str, width: int) -> Iterator[str]:
    """``text`` in parts of at most ``width`` cells; a character wider than that is a part."""
    if text.isascii():
        yield from (text[i : i + width] for i in range(0, len(text), width))
        return
    part, taken = "", 0
    for grapheme in wcwidth.iter_graphemes(text):
        more = _cells_of_one(grapheme)
        if part and taken + more > width:
            yield part
            part, taken = "", 0
        part, taken = part + grapheme, taken + more
    if part:
        yield part


def wrap(runs: Iterable[Run], room: int) -> list[Line]:
    """Lines of at most ``room`` cells; broken at spaces, between ideographs, and inside a word only
    if it is wider than a line.

    Greedy, so that all lines but the last stay as they are when more text follows.
    """
    filler = _Filler(max(room, 1))
    for text, style in _merged(runs):
        for piece in _PIECE.findall(text):
            if piece == "\n":
                filler.line_ends()
            elif piece.isspace():
                filler.space(piece.replace("\t", " "), style)
            elif piece.isascii():
                filler.solid(piece, len(piece), style, wide=False)
            else:
                for grapheme in wcwidth.iter_graphemes(piece):
                    width = _cells_of_one(grapheme)
                    filler.solid(grapheme, width, style, wide=width == 2)
    return filler.lines()


def _merged(runs: Iterable[Run]) -> list[Run]:
    """``runs`` without a cut between two of one style."""
    merged: list[Run] = []
    for text, style in runs:
        if merged and merged[-1][1] is style:
            merged[-1] = (merged[-1][0] + text, style)
        elif text:
            merged.append((text, style))
    return merged


class _Filler:
    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: list[Line] = []
        self._line: Line = []
        self._taken = 0
        self._spaces: Line = []
        self._atom: Line = []  # what may not be broken
        self._atom_width = 0
        self._last, self._after_wide = "", False

    def solid(self, text: str, width: int, style: Style | None, *, wide: bool) -> None:
        if (
            (wide or self._after_wide)
            and text[0] not in _NOT_FIRST
            and self._last
            and self._last not in _NOT_LAST
        ):
            self._place()
        self._atom.append((text, style))
        self._atom_width += width
        self._last, self._after_wide = text[-1], wide

    def space(self, text: str, style: Style | None) -> None:
        self._place()
        self._spaces.append((text, style))
        self._last = ""

    def line_ends(self) -> None:
        self._place()
        self._break()
        self._last = ""

    def lines(self) -> list[Line]:
        self._place()
        return [*self._lines, _merged(self._line)]

    def _break(self) -> None:
        self._lines.append(_merged(self._line))
        self._line, self._taken, self._spaces = [], 0, []

    def _place(self) -> None:
        """Puts the atom on this line or the next."""
        if not self._atom:
            return
        gap = sum(len(text) for text, _ in self._spaces)
        if self._taken and self._taken + gap + self._atom_width > self._width:
            self._break()
            gap = 0
        if self._taken:
            self._line += self._spaces
            self._taken += gap
        self._spaces = []
        for text, style in self._atom:
            if self._atom_width <= self._width:
                self._line.append((text, style))
                self._taken += cells(text)
                continue
            for part in fold(text, self._width):
                if self._taken + cells(part) > self._width:
                    self._break()
                self._line.append((part, style))
                self._taken += cells(part)
        self._atom, self._atom_width = [], 0
