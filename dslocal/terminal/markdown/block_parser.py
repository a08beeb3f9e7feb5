"""CommonMark's line by line algorithm with GFM's tables: which containers and leaves a line goes on
with, ends and begins.

Knows whole lines only; ``blocks`` says what is decided otherwise than in CommonMark, and cuts text
into lines.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

from .containers import OpenContainer, after_quote
from .html_blocks import html_end, html_start
from .leaves import (
    OpenLeaf,
    aligns_of,
    cells_of,
    open_mathematics,
    portion,
)
from .pieces import BlockPiece, Container, PieceKind

DEPTH = 20  # containers in each other
ROWS = 200  # rows of a table that decide its columns

_FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_HEADING = re.compile(r"#{1,6}(?:[ \t]+|$)")
_HEADING_END = re.compile(r"[ \t]+#+[ \t]*$")
_SETEXT = re.compile(r"(=+|-+)[ \t]*$")
_RULE = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$")
_MARKER = re.compile(r"([*+-])(?=[ \t]|$)|(\d{1,9})([.)])(?=[ \t]|$)")


class BlockParser:
    """Takes lines, gathers what became final in ``told``."""

    def __init__(self) -> None:
        self.told: list[BlockPiece] = []
        self._stack: list[OpenContainer] = []
        self._leaf: OpenLeaf | None = None
        self._blank = False

    def twin(self) -> BlockParser:
        """One that goes on from here by itself, with nothing told."""
        twin = copy.copy(self)
        twin._stack = [copy.copy(box) for box in self._stack]
        twin._leaf = leaf = copy.copy(self._leaf)
        if leaf:
            leaf.rows, leaf.blanks = list(leaf.rows), list(leaf.blanks)
        twin.told = []
        return twin

    @property
    def kind(self) -> PieceKind | None:
        """Of the open leaf."""
        return self._leaf.kind if self._leaf else None

    def more(self, text: str) -> None:
        """More of the line given last, which is of a paragraph."""
        if self._leaf:
            self._leaf.text += text.replace("\t", " ")
            self._portions()

    def end(self) -> None:
        """Closes everything."""
        self._close(0)
        self._blank = False

    def line(self, line: str) -> None:
        """One line, as CommonMark's appendix on parsing says."""
        line = line.expandtabs(4)
        at = matched = 0
        for box in self._stack:
            goes_on = box.goes_on(line, at)
            if goes_on is None:
                break
            at = goes_on
            matched += 1
        leaf = self._leaf if matched == len(self._stack) else None
        if leaf and leaf.kind is not PieceKind.PARAGRAPH:
            if self._leaf_takes(leaf, line[at:]):
                return
            self._close_leaf()
            leaf = None
        if leaf and line[at:].strip() and open_mathematics(leaf.text):
            self._add(leaf, line[at:])
            return
        began = False
        while start := self._start(line[at:], leaf):
            moved = start(line[at:], matched)
            leaf, began = None, True
            if moved is None:
                return
            at, matched = at + moved, len(self._stack)
        rest = line[at:].lstrip(" ")
        if not rest:
            self._close(
                matched
            )  # a paragraph, quotes that do not say that they go on, an item with nothing in it
            self._blank = not began
        elif self._leaf and self._leaf.kind is PieceKind.PARAGRAPH:  # its own line, or a lazy one
            self._add(self._leaf, rest)
        else:
            self._close_to(matched)
            if len(line) - at - len(rest) >= 4:
                self._begin(PieceKind.CODE)
                self._tell(PieceKind.CODE, line[at + 4 :])
            else:
                self._add(self._begin(PieceKind.PARAGRAPH), rest)

    def _leaf_takes(self, leaf: OpenLeaf, line: str) -> bool:
        """Gives the line to an open leaf that is no paragraph; False when that ends before it."""
        rest = line.lstrip(" ")
        indent = len(line) - len(rest)
        if leaf.fence:
            run = len(rest) - len(rest.lstrip(leaf.fence[0]))
            if indent < 4 and run >= len(leaf.fence) and not rest[run:].strip():
                self._close_leaf()
            else:
                self._tell(PieceKind.CODE, line[min(indent, leaf.indent) :])
        elif leaf.kind is PieceKind.CODE:
            return self._indented_takes(leaf, line)
        elif leaf.kind is PieceKind.HTML:
            if not rest and leaf.html >= 6:
                return False
            self._tell(PieceKind.HTML, line)
            if html_end(leaf.html, line):
                self._close_leaf()
        else:  # a table
            if not rest or indent >= 4 or self._start(line, None):
                return False
            leaf.rows.append(cells_of(rest, len(leaf.aligns)))
            if len(leaf.rows) > ROWS or not leaf.begins:
                self._tell_table(leaf, more=True)
        return True

    def _indented_takes(self, leaf: OpenLeaf, line: str) -> bool:
        if not line.strip(" "):
            leaf.blanks.append(line[4:])
            return True
        if not line.startswith("    "):
            return False
        for inner in [*leaf.blanks, line[4:]]:
            self._tell(PieceKind.CODE, inner)
        leaf.blanks = []
        return True

    def _start(
        self, line: str, paragraph: OpenLeaf | None
    ) -> Callable[[str, int], int | None] | None:
        """What begins with ``line`` (in ``paragraph``, if in one): a function that begins it, and
        returns where the line goes on.
        """
        rest = line.lstrip(" ")
        if not rest or len(line) - len(rest) >= 4:
            return None
        shallow = len(self._stack) < 2 * DEPTH
        if rest[0] == ">" and shallow:
            return self._quote
        if rest[0] == "#" and _HEADING.match(rest):
            return self._heading
        if rest[0] in "`~" and _FENCE.match(rest):
            return self._fence
        if (
            rest[0] == "<"
            and (kind := html_start(rest))
            and (kind < 7 or not (self._leaf and self._leaf.kind is PieceKind.PARAGRAPH))
        ):
            return self._html
        if paragraph and paragraph.begins and _SETEXT.match(rest):
            return self._setext
        if rest[0] in "*-_" and _RULE.match(rest):
            return self._rule
        if shallow and (marker := _MARKER.match(rest)):
            interrupts = marker[2] in (None, "1") and bool(rest[marker.end() :].strip())
            if interrupts or not paragraph:
                return self._item
        if paragraph and aligns_of(rest, paragraph):
            return self._table
        return None

    def _quote(self, line: str, matched: int) -> int:
        self._close_to(matched)
        self._push(OpenContainer("quote", Container("")))
        return after_quote(line)

    def _heading(self, line: str, matched: int) -> None:
        self._close_to(matched)
        marks, _, text = line.strip().partition(" ")
        self._tell(PieceKind.HEADING, _HEADING_END.sub("", f" {text}").strip(), level=len(marks))

    def _fence(self, line: str, matched: int) -> None:
        self._close_to(matched)
        rest = line.lstrip(" ")
        info = rest.lstrip(rest[0])
        leaf = self._begin(PieceKind.CODE)
        leaf.fence, leaf.indent = rest[: len(rest) - len(info)], len(line) - len(rest)
        self._tell(PieceKind.FENCE, info.strip())

    def _html(self, line: str, matched: int) -> None:
        self._close_to(matched)
        leaf = self._begin(PieceKind.HTML)
        leaf.html = html_start(line.lstrip(" "))
        self._leaf_takes(leaf, line)

    def _setext(self, line: str, matched: int) -> None:
        leaf, self._leaf = self._leaf, None
        if leaf:
            self._tell(
                PieceKind.HEADING,
                leaf.text.strip(),
                level=1 if line.lstrip(" ")[0] == "=" else 2,
                gap=leaf.gap,
            )

    def _rule(self, line: str, matched: int) -> None:
        self._close_to(matched)
        self._tell(PieceKind.RULE)

    def _item(self, line: str, matched: int) -> int:
        marker = _MARKER.match(line, len(line) - len(line.lstrip(" ")))
        if marker is None:
            return len(line)
        style, rest = marker[1] or marker[3], line[marker.end() :].lstrip(" ")
        spaces = len(line) - marker.end() - len(rest)
        indent = marker.end() + (spaces if rest and spaces <= 4 else 1)
        if not (
            matched
            and self._stack[matched - 1].kind == "list"
            and self._stack[matched - 1].style == style
        ):
            self._close_to(matched)
            self._push(OpenContainer("list", style=style, number=int(marker[2] or 0)))
        else:
            self._close(matched)
        numbering = self._stack[-1]
        depth = sum(box.kind == "list" for box in self._stack) - 1
        self._push(
            OpenContainer(
                "item",
                Container(f"{numbering.number}{style}" if marker[2] else style, depth),
                indent=indent,
            )
        )
        numbering.number += 1
        return min(indent, len(line))

    def _table(self, line: str, matched: int) -> None:
        leaf = self._leaf
        if leaf is None:
            return
        aligns = aligns_of(line.strip(), leaf)
        leaf.text, _, header = leaf.text.rpartition("\n")
        gap = leaf.gap and not leaf.text
        if leaf.text or not leaf.begins:
            self._close_leaf()
        self._leaf = OpenLeaf(
            PieceKind.TABLE, gap=gap, rows=[cells_of(header, len(aligns))], aligns=aligns
        )

    def _push(self, box: OpenContainer) -> None:
        box.gap, self._blank = self._blank, False
        if self._stack:
            self._stack[-1].childless = False
        self._stack.append(box)

    def _begin(self, kind: PieceKind) -> OpenLeaf:
        if self._stack:
            self._stack[-1].childless = False
        self._leaf = OpenLeaf(kind, gap=self._gap())
        return self._leaf

    def _gap(self) -> bool:
        """Whether a blank line was before what begins now, outside of the containers that begin
        with it.
        """
        gap, self._blank = self._blank, False
        return gap or any(box.gap for box in self._stack if not box.told)

    def _add(self, leaf: OpenLeaf, line: str) -> None:
        """A line more of a paragraph."""
        leaf.text += ("\n" if leaf.text or not leaf.begins else "") + line.lstrip(" ")
        self._portions()

    def _portions(self) -> None:
        """Tells the open paragraph's beginning once it is long enough."""
        while (leaf := self._leaf) and (cut := portion(leaf)):
            self._tell(PieceKind.PARAGRAPH, leaf.text[:cut], more=True)
            leaf.text, leaf.begins, leaf.tried = leaf.text[cut:], False, 0

    def _close_to(self, matched: int) -> None:
        """Closes what did not go on, and a list whose item did not: only an item can go on with
        it.
        """
        self._close(matched - 1 if matched and self._stack[matched - 1].kind == "list" else matched)

    def _close(self, keep: int) -> None:
        """Closes the open leaf and all but ``keep`` containers."""
        self._close_leaf()
        while len(self._stack) > keep:
            box = self._stack[-1]
            if box.container and not box.told:
                self._tell(PieceKind.EMPTY, gap=any(box.gap for box in self._stack if not box.told))
            self._stack.pop()

    def _close_leaf(self) -> None:
        leaf = self._leaf
        if leaf and leaf.kind is PieceKind.PARAGRAPH:
            self._tell(PieceKind.PARAGRAPH, leaf.text.rstrip())
        elif leaf and leaf.kind is PieceKind.TABLE:
            self._tell_table(leaf, more=False)
        elif leaf and leaf.fence:
            self._tell(PieceKind.FENCE_END)
        elif leaf and leaf.blanks:
            self._blank = True
        self._leaf = None

    def _tell_table(self, leaf: OpenLeaf, *, more: bool) -> None:
        self._tell(PieceKind.TABLE, more=more, rows=tuple(leaf.rows), aligns=leaf.aligns)
        leaf.rows, leaf.begins = [], False

    def _tell(
        self,
        kind: PieceKind,
        text: str = "",
        *,
        level: int = 0,
        gap: bool | None = None,
        more: bool = False,
        rows: tuple[tuple[str, ...], ...] = (),
        aligns: tuple[str, ...] = (),
    ) -> None:
        """Tells a piece of the open leaf, or one that is a leaf of its own."""
        leaf = self._leaf
        if gap is None:
            gap = leaf.gap if leaf else self._gap()
        begins = leaf.begins if leaf else True
        if leaf:
            leaf.gap = False
        path = tuple(box.container for box in self._stack if box.container)
        self.told.append(BlockPiece(path, kind, text, gap, begins, more, level, rows, aligns))
        for box in self._stack:
            box.told, box.childless = True, False
