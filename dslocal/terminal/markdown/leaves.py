"""The open leaf of streamed Markdown: the block that lines of text belong to.

Says how much of a paragraph is final and what makes a table. Does not know containers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .pieces import PieceKind

# Characters of a paragraph that are given out as one piece.
MIN_PORTION = 240
MAX_PORTION = 1400
MAX_MATH_PORTION = 4000  # where mathematics is open

_DELIMITER_ROW = re.compile(r"(?!- )[|:-][|: -]*$")
_DELIMITER_CELL = re.compile(r":?-+:?$")
_PIPE = re.compile(r"(?<!\\)\|")
_MATH_OPENER = re.compile(r"(?m)^ *(\\\[|\$\$|\\begin\{[a-z]+\*?\})|(?<!\\)(\\\[) *$")
_IDEOGRAPH = "\u2e80"  # from here on a line may be broken between any two characters
_WORD_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


@dataclass
class OpenLeaf:
    """A leaf that is open.

    Attributes:
        kind: What it is.
        text: A paragraph's text that has not been given out.
        has_gap: Whether a blank line was before it; False once a piece has said so.
        begins: Whether nothing of it has been given out.
        searched: Characters of the text in which no portion ends.
        fence: The marks that opened fenced code; empty for indented code.
        indent: Columns before a fence.
        blank_lines: Blank lines of indented code that belong to it only if more code follows.
        html_type: The type of a block of HTML, 1 to 7.
        rows: A table's rows that have not been given out.
        alignments: A table's columns: left, center or right.
    """

    kind: PieceKind
    text: str = ""
    has_gap: bool = False
    begins: bool = True
    searched: int = 0
    fence: str = ""
    indent: int = 0
    blank_lines: list[str] = field(default_factory=list)
    html_type: int = 0
    rows: list[tuple[str, ...]] = field(default_factory=list)
    alignments: tuple[str, ...] = ()


def table_alignments(line: str, paragraph: OpenLeaf) -> tuple[str, ...]:
    """Return how the columns are aligned if ``line`` makes a table of ``paragraph``'s last line.

    Returns:
        An entry a column: left, center or right. Nothing where ``line`` is not the delimiter row
        of a table whose header is the paragraph's last line.
    """
    header = paragraph.text.rpartition("\n")[2]
    is_whole_line = paragraph.begins or "\n" in paragraph.text
    if not _DELIMITER_ROW.match(line) or "|" not in header or not is_whole_line:
        return ()
    cells = _without_outer_cells([cell.strip() for cell in line.strip().split("|")])
    if not all(map(_DELIMITER_CELL.match, cells)) or len(_split_row(header)) != len(cells):
        return ()
    return tuple(map(_alignment, cells))


def _alignment(delimiter_cell: str) -> str:
    if not delimiter_cell.endswith(":"):
        return "left"
    return "center" if delimiter_cell.startswith(":") else "right"


def _split_row(row: str) -> list[str]:
    return _without_outer_cells(
        [cell.strip().replace("\\|", "|") for cell in _PIPE.split(row.strip())]
    )


def _without_outer_cells(cells: list[str]) -> list[str]:
    """Return ``cells`` without the empty ones that pipes at the row's ends make."""
    end = len(cells)
    if len(cells) > 1 and not cells[-1]:
        end -= 1
    start = 0 if cells[0] else 1
    return cells[start:end]


def table_cells(row: str, columns: int) -> tuple[str, ...]:
    """Return the cells of a row: missing ones are empty, those too many are left out (GFM)."""
    return tuple((_split_row(row) + [""] * columns)[:columns])


def has_open_mathematics(text: str) -> bool:
    """Return whether mathematics that began at the edge of a line has not ended."""
    start = 0
    while opened := _MATH_OPENER.search(text, start):
        opener = opened[1] or opened[2]
        closer = {"\\[": "\\]", "$$": "$$"}.get(opener, opener.replace("\\begin", "\\end"))
        found = text.find(closer, opened.end())
        if found < 0:
            return True
        start = found + len(closer)
    return False


def portion_length(leaf: OpenLeaf) -> int:
    """Return how much of an open paragraph can be given out, up to where no markup is open.

    The first place that serves is taken, and whether one does depends on the text before it alone,
    so the portions are the same however the text was cut into feeds.

    Returns:
        Characters; 0 where no portion is complete yet.
    """
    text = leaf.text
    for end in range(max(MIN_PORTION, leaf.searched), len(text)):
        if end >= MAX_PORTION and (end >= MAX_MATH_PORTION or not has_open_mathematics(text[:end])):
            return _forced_portion_length(text, end)
        between_ideographs = text[end] >= _IDEOGRAPH and text[end - 1] >= _IDEOGRAPH
        if (between_ideographs or text[end] in " \n") and _is_settled(text[:end]):
            return end
    leaf.searched = max(leaf.searched, len(text))
    return 0


def _forced_portion_length(text: str, end: int) -> int:
    """Return where a portion that has become too long is cut: at its last space, or at ``end``."""
    if " " not in text[MIN_PORTION:end]:
        return end
    return max(text.rfind(" ", MIN_PORTION, end), text.rfind("\n", MIN_PORTION, end))


def _is_settled(text: str) -> bool:
    """Return whether no inline markup is open at the end, and the last line is not a table row."""
    if any(text.count(mark) % 2 for mark in ("`", "$", "*", "~~")):
        return False
    if len(_WORD_EDGE_UNDERSCORE.findall(text)) % 2:
        return False
    pairs = [("[", "]"), ("\\(", "\\)"), ("\\begin", "\\end")]
    if "\\" in text:
        pairs.append(("{", "}"))
    if any(text.count(opener) != text.count(closer) for opener, closer in pairs):
        return False
    link = text.rfind("](")
    if link >= 0 and ")" not in text[link:]:
        return False
    return "|" not in text[text.rfind("\n") + 1 :] and not text.endswith("\\")
