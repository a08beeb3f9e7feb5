"""The open leaf of streamed Markdown: when the beginning of a paragraph can be told, and what makes
a table. Knows no containers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .pieces import PieceKind

PORTION, MOST, MOST_MATH = 240, 1400, 4000  # characters of a paragraph that are told as one

_DELIMITERS = re.compile(r"(?!- )[|:-][|: -]*$")
_ALIGN = re.compile(r":?-+:?$")
_PIPE = re.compile(r"(?<!\\)\|")
_MATH_OPEN = re.compile(r"(?m)^ *(\\\[|\$\$|\\begin\{[a-z]+\*?\})|(?<!\\)(\\\[) *$")
_IDEOGRAPH = "\u2e80"  # from here on a line may be broken between any two characters
_EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # an underscore that is not inside a word


@dataclass
class OpenLeaf:
    """The open leaf."""

    kind: PieceKind
    text: str = ""
    gap: bool = False
    begins: bool = True
    tried: int = 0  # of the text has been looked through for the end of a portion
    fence: str = ""
    indent: int = 0
    blanks: list[str] = field(default_factory=list)
    html: int = 0
    rows: list[tuple[str, ...]] = field(default_factory=list)
    aligns: tuple[str, ...] = ()


def aligns_of(line: str, paragraph: OpenLeaf) -> tuple[str, ...]:
    """How the columns are aligned if ``line`` makes the last line of ``paragraph`` the header of a
    table, else nothing.
    """
    _, newline, header = paragraph.text.rpartition("\n")
    if not _DELIMITERS.match(line) or "|" not in header or not (paragraph.begins or newline):
        return ()
    cells = [cell.strip() for cell in line.strip().split("|")]
    cells = cells[not cells[0] : len(cells) - (len(cells) > 1 and not cells[-1])]
    if not all(map(_ALIGN.match, cells)) or len(_split(header)) != len(cells):
        return ()
    return tuple(
        {(True, True): "center", (False, True): "right"}.get(
            (cell[0] == ":", cell[-1] == ":"), "left"
        )
        for cell in cells
    )


def _split(row: str) -> list[str]:
    cells = [cell.strip().replace("\\|", "|") for cell in _PIPE.split(row.strip())]
    return cells[not cells[0] : len(cells) - (len(cells) > 1 and not cells[-1])]


def cells_of(row: str, columns: int) -> tuple[str, ...]:
    """The cells of a row: missing ones are empty, those too many are left out, as GFM says."""
    return tuple((_split(row) + [""] * columns)[:columns])


def open_mathematics(text: str) -> bool:
    """Whether mathematics that began at the edge of a line has not ended."""
    at = 0
    while opened := _MATH_OPEN.search(text, at):
        opener = opened[1] or opened[2]
        closer = {"\\[": "\\]", "$$": "$$"}.get(opener, opener.replace("\\begin", "\\end"))
        at = text.find(closer, opened.end()) + len(closer)
        if at < len(closer):
            return True
    return False


def portion(leaf: OpenLeaf) -> int:
    """How much of an open paragraph can be told by itself: up to a place where no inline markup is
    open; 0 for nothing yet.

    The first place that serves is taken, and whether one does depends on what is before it alone:
    so feeds may be cut anywhere.
    """
    text = leaf.text
    for at in range(max(PORTION, leaf.tried), len(text)):
        if at >= MOST and (at >= MOST_MATH or not open_mathematics(text[:at])):
            return (
                max(text.rfind(" ", PORTION, at), text.rfind("\n", PORTION, at))
                if " " in text[PORTION:at]
                else at
            )
        between = text[at] >= _IDEOGRAPH and text[at - 1] >= _IDEOGRAPH
        if (between or text[at] in " \n") and _settled(text[:at]):
            return at
    leaf.tried = max(leaf.tried, len(text))
    return 0


def _settled(text: str) -> bool:
    """Whether nothing inline is open at the end of ``text``, and its last line is no row of a
    table.
    """
    if any(text.count(mark) % 2 for mark in ("`", "$", "*", "~~")) or len(_EDGE.findall(text)) % 2:
        return False
    pairs = (
        ("[", "]"),
        ("\\(", "\\)"),
        ("\\begin", "\\end"),
        *((("{", "}"),) if "\\" in text else ()),
    )
    if any(text.count(opener) != text.count(closer) for opener, closer in pairs):
        return False
    link = text.rfind("](")
    return (
        (link < 0 or ")" in text[link:])
        and "|" not in text[text.rfind("\n") + 1 :]
        and not text.endswith("\\")
    )
