"""Proves the rules of streamed Markdown and of TeX's brackets one by one."""

from __future__ import annotations

import pytest

from dslocal.terminal.markdown.block_starts import (
    BlockStart,
    block_start,
    closes_fence,
    list_marker,
)
from dslocal.terminal.markdown.leaves import OpenLeaf, table_alignments, table_cells
from dslocal.terminal.markdown.pieces import PieceKind
from dslocal.terminal.markdown.tables import share_room
from dslocal.terminal.tex import to_unicode

STARTS = {
    "> quote": BlockStart.QUOTE,
    "- item": BlockStart.ITEM,
    "1) item": BlockStart.ITEM,
    "## heading": BlockStart.HEADING,
    "#hashtag": None,
    "```python": BlockStart.FENCE,
    "```a`b": None,
    "<div>": BlockStart.HTML,
    "* * *": BlockStart.RULE,
    "    indented": None,
    "text": None,
    "": None,
}


@pytest.mark.parametrize(("line", "start"), STARTS.items())
def test_what_a_line_begins(line: str, start: BlockStart | None) -> None:
    assert block_start(line, None, can_nest=True, is_in_paragraph=False) is start


IN_A_PARAGRAPH = {
    "- item": BlockStart.ITEM,
    "1. item": BlockStart.ITEM,
    "2. item": None,
    "-": BlockStart.SETEXT_HEADING,
    "*": None,
    "===": BlockStart.SETEXT_HEADING,
    "<span>": None,
    "--|--": BlockStart.TABLE,
    "--|--|--": None,
}


@pytest.mark.parametrize(("line", "start"), IN_A_PARAGRAPH.items())
def test_what_interrupts_a_paragraph(line: str, start: BlockStart | None) -> None:
    paragraph = OpenLeaf(PieceKind.PARAGRAPH, "words\na | b")
    assert block_start(line, paragraph, can_nest=True, is_in_paragraph=True) is start


def test_nesting_has_a_limit() -> None:
    for line in ("> quote", "- item"):
        assert block_start(line, None, can_nest=False, is_in_paragraph=False) is None


MARKERS = {
    "- a": ("-", None, 2),
    "-": ("-", None, 2),
    "  * a": ("*", None, 4),
    "12.   a": (".", 12, 6),
    "1)     code": (")", 1, 3),
}


@pytest.mark.parametrize(("line", "expected"), MARKERS.items())
def test_list_markers(line: str, expected: tuple[str, int | None, int]) -> None:
    marker = list_marker(line)
    assert (marker.style, marker.number, marker.content_column) == expected


FENCE_ENDS = {"```": True, "   ````  ": True, "    ```": False, "``": False, "``` x": False}


@pytest.mark.parametrize(("line", "is_end"), FENCE_ENDS.items())
def test_ends_of_fences(line: str, is_end: bool) -> None:
    assert closes_fence(line, "```") is is_end


ALIGNMENTS = [
    ("a | b", "--|--", ("left", "left")),
    ("| a | b |", "| :-: | -: |", ("center", "right")),
    ("| a |", "|:--|", ("left",)),
    ("a | b", "--|x-", ()),
    ("a | b", "--", ()),
    ("a b", "--|--", ()),
    (r"a \| b | c", "--|--", ("left", "left")),
]


@pytest.mark.parametrize(("header", "delimiters", "alignments"), ALIGNMENTS)
def test_alignments(header: str, delimiters: str, alignments: tuple[str, ...]) -> None:
    paragraph = OpenLeaf(PieceKind.PARAGRAPH, header)
    assert table_alignments(delimiters, paragraph) == alignments


CELLS = {
    "| a | b |": ("a", "b"),
    "a | b": ("a", "b"),
    "a": ("a", ""),
    "a | b | c": ("a", "b"),
    r"a \| b | c": ("a | b", "c"),
    "| | b |": ("", "b"),
    "|": ("", ""),
}


@pytest.mark.parametrize(("row", "cells"), CELLS.items())
def test_cells(row: str, cells: tuple[str, ...]) -> None:
    assert table_cells(row, 2) == cells


WIDTHS = [
    ([3, 5], 20, [3, 5]),
    ([3, 30], 20, [3, 17]),
    ([30, 30], 20, [10, 10]),
    ([30, 30, 2], 4, [4, 4, 2]),
]


@pytest.mark.parametrize(("needed", "room", "widths"), WIDTHS)
def test_shared_room(needed: list[int], room: int, widths: list[int]) -> None:
    assert share_room(needed, room) == widths


MATRICES = [
    ("pmatrix", 2, ["⎛1⎞", "⎝2⎠"]),
    ("bmatrix", 3, ["⎡1⎤", "⎢2⎥", "⎣3⎦"]),
    ("Bmatrix", 2, ["⎧ 1⎫", "⎩ 2⎭"]),
    ("Bmatrix", 3, ["⎧ 1⎫", "⎨ 2⎬", "⎩ 3⎭"]),
    ("Bmatrix", 4, ["⎧ 1⎫", "⎨ 2⎬", "⎪ 3⎪", "⎩ 4⎭"]),
    ("cases", 3, ["⎧ 1", "⎨ 2", "⎩ 3"]),
    ("rcases", 2, ["1⎫", "2⎭"]),
    ("pmatrix", 1, ["(1)"]),
    ("matrix", 1, ["[1]"]),
]


@pytest.mark.parametrize(("name", "count", "rows"), MATRICES)
def test_brackets_by_position(name: str, count: int, rows: list[str]) -> None:
    cells = r" \\ ".join(str(number) for number in range(1, count + 1))
    assert to_unicode.display(rf"\begin{{{name}}}{cells}\end{{{name}}}") == rows
