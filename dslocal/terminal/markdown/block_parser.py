"""CommonMark's line-by-line algorithm: what a line continues, ends and begins.

Follows the appendix "A parsing strategy" of CommonMark 0.31: a line first continues the containers
that are open, then begins blocks, and what remains is text. Knows whole lines only; :mod:`.stream`
cuts text into lines, and says where this decides otherwise than CommonMark.
"""

from __future__ import annotations

import copy

from .block_starts import (
    BlockStart,
    block_start,
    closes_fence,
    fence_marks,
    heading,
    list_marker,
)
from .containers import MAX_INDENT, ContainerKind, OpenContainer, quote_content_column
from .html_blocks import FIRST_ENDED_BY_BLANK, ends_html_block, html_block_type
from .leaves import (
    OpenLeaf,
    has_open_mathematics,
    portion_length,
    table_alignments,
    table_cells,
)
from .pieces import BlockPiece, Container, PieceKind

MAX_DEPTH = 20  # quotes and lists in each other; a list and its item are two open containers
MAX_TABLE_ROWS = 200  # rows of a table that are held: they decide its columns
CODE_INDENT = MAX_INDENT + 1


class BlockParser:
    """Takes lines, and gathers the pieces that became final in ``emitted``."""

    def __init__(self) -> None:
        self.emitted: list[BlockPiece] = []
        self._containers: list[OpenContainer] = []
        self._leaf: OpenLeaf | None = None
        self._after_blank = False

    def fork(self) -> BlockParser:
        """Return a parser in the same state that continues by itself, with nothing emitted."""
        fork = copy.copy(self)
        fork.emitted = []
        fork._containers = [copy.copy(container) for container in self._containers]
        if self._leaf:
            leaf = copy.copy(self._leaf)
            leaf.rows = list(leaf.rows)
            leaf.blank_lines = list(leaf.blank_lines)
            fork._leaf = leaf
        return fork

    @property
    def open_kind(self) -> PieceKind | None:
        """The kind of the open leaf."""
        return self._leaf.kind if self._leaf else None

    def extend_paragraph(self, text: str) -> None:
        """Add text to the line that was added last, which is of a paragraph."""
        if self._leaf:
            self._leaf.text += text.replace("\t", " ")
            self._emit_portions()

    def finish(self) -> None:
        """Close everything."""
        self._close_containers(0)
        self._after_blank = False

    def add_line(self, line: str) -> None:
        """Parse one line, given without its end."""
        line = line.expandtabs(4)
        column, matched = self._match_containers(line)
        leaf = self._leaf if matched == len(self._containers) else None
        if leaf and leaf.kind is not PieceKind.PARAGRAPH:
            if self._leaf_takes(leaf, line[column:]):
                return
            self._close_leaf()
            leaf = None
        if leaf and line[column:].strip() and has_open_mathematics(leaf.text):
            self._add_to_paragraph(leaf, line[column:])
            return
        has_started = False
        while start := self._block_start(line[column:], leaf):
            content_column = self._begin_block(start, line[column:], matched)
            if content_column is None:  # a leaf, which took the whole line
                return
            column += content_column
            matched = len(self._containers)
            has_started = True
            leaf = None
        self._add_text(line, column, matched, has_started=has_started)

    def _match_containers(self, line: str) -> tuple[int, int]:
        """Return where the line's content begins, and how many open containers it continues."""
        column = 0
        for matched, container in enumerate(self._containers):
            content_column = container.content_column(line, column)
            if content_column is None:
                return column, matched
            column = content_column
        return column, len(self._containers)

    def _add_text(self, line: str, column: int, matched: int, *, has_started: bool) -> None:
        """Take the rest of a line that begins nothing more: blank, text or indented code."""
        text = line[column:].lstrip(" ")
        if not text:
            # A blank line ends paragraphs, quotes without a mark on it, and items with no content.
            self._close_containers(matched)
            self._after_blank = not has_started
        elif self._leaf and self._leaf.kind is PieceKind.PARAGRAPH:  # perhaps lazily
            self._add_to_paragraph(self._leaf, text)
        else:
            self._close_unmatched(matched)
            if len(line) - column - len(text) >= CODE_INDENT:
                self._begin_leaf(PieceKind.CODE)
                self._emit(PieceKind.CODE, line[column + CODE_INDENT :])
            else:
                self._add_to_paragraph(self._begin_leaf(PieceKind.PARAGRAPH), text)

    # Lines of a leaf that is open

    def _leaf_takes(self, leaf: OpenLeaf, line: str) -> bool:
        """Give the line to an open leaf other than a paragraph; False where that ends before it."""
        if leaf.fence:
            self._add_to_fence(leaf, line)
            return True
        if leaf.kind is PieceKind.CODE:
            return self._indented_code_takes(leaf, line)
        if leaf.kind is PieceKind.HTML:
            return self._html_takes(leaf, line)
        return self._table_takes(leaf, line)

    def _add_to_fence(self, leaf: OpenLeaf, line: str) -> None:
        if closes_fence(line, leaf.fence):
            self._close_leaf()
            return
        indent = len(line) - len(line.lstrip(" "))
        self._emit(PieceKind.CODE, line[min(indent, leaf.indent) :])

    def _indented_code_takes(self, leaf: OpenLeaf, line: str) -> bool:
        if not line.strip(" "):
            leaf.blank_lines.append(line[CODE_INDENT:])
            return True
        if not line.startswith(" " * CODE_INDENT):
            return False
        for code in [*leaf.blank_lines, line[CODE_INDENT:]]:
            self._emit(PieceKind.CODE, code)
        leaf.blank_lines = []
        return True

    def _html_takes(self, leaf: OpenLeaf, line: str) -> bool:
        if not line.strip(" ") and leaf.html_type >= FIRST_ENDED_BY_BLANK:
            return False
        self._emit(PieceKind.HTML, line)
        if ends_html_block(leaf.html_type, line):
            self._close_leaf()
        return True

    def _table_takes(self, leaf: OpenLeaf, line: str) -> bool:
        text = line.lstrip(" ")
        is_indented = len(line) - len(text) >= CODE_INDENT
        if not text or is_indented or self._block_start(line, None):
            return False
        leaf.rows.append(table_cells(text, len(leaf.alignments)))
        if len(leaf.rows) > MAX_TABLE_ROWS or not leaf.begins:
            self._emit_table(leaf, continues=True)
        return True

    # Blocks that a line begins

    def _block_start(self, line: str, paragraph: OpenLeaf | None) -> BlockStart | None:
        return block_start(
            line,
            paragraph,
            can_nest=len(self._containers) < 2 * MAX_DEPTH,
            is_in_paragraph=self.open_kind is PieceKind.PARAGRAPH,
        )

    def _begin_block(self, start: BlockStart, line: str, matched: int) -> int | None:
        """Begin what ``line`` begins, inside of the containers that it continues.

        Returns:
            For a container, where its content begins in ``line``; None for a leaf.
        """
        match start:
            case BlockStart.QUOTE:
                return self._begin_quote(line, matched)
            case BlockStart.ITEM:
                return self._begin_item(line, matched)
            case BlockStart.SETEXT_HEADING:
                self._make_setext_heading(line)
                return None
            case BlockStart.TABLE:
                self._begin_table(line)
                return None
        self._close_unmatched(matched)
        match start:
            case BlockStart.HEADING:
                level, text = heading(line)
                self._emit(PieceKind.HEADING, text, level=level)
            case BlockStart.FENCE:
                self._begin_fence(line)
            case BlockStart.HTML:
                leaf = self._begin_leaf(PieceKind.HTML)
                leaf.html_type = html_block_type(line.lstrip(" "))
                self._html_takes(leaf, line)
            case BlockStart.RULE:
                self._emit(PieceKind.RULE)
        return None

    def _begin_quote(self, line: str, matched: int) -> int:
        self._close_unmatched(matched)
        self._open(OpenContainer(ContainerKind.QUOTE, Container("")))
        return quote_content_column(line)

    def _begin_item(self, line: str, matched: int) -> int:
        marker = list_marker(line)
        around = self._containers[matched - 1] if matched else None
        if around and around.kind is ContainerKind.LIST and around.style == marker.style:
            self._close_containers(matched)
        else:
            self._close_unmatched(matched)
            self._open(
                OpenContainer(ContainerKind.LIST, style=marker.style, number=marker.number or 0)
            )
        numbering = self._containers[-1]
        shown = marker.style
        if marker.number is not None:
            shown = f"{numbering.number}{marker.style}"
        lists = sum(container.kind is ContainerKind.LIST for container in self._containers)
        item = Container(shown, lists - 1)
        self._open(OpenContainer(ContainerKind.ITEM, item, indent=marker.content_column))
        numbering.number += 1
        return min(marker.content_column, len(line))

    def _begin_fence(self, line: str) -> None:
        text = line.lstrip(" ")
        leaf = self._begin_leaf(PieceKind.CODE)
        leaf.fence = fence_marks(text)
        leaf.indent = len(line) - len(text)
        self._emit(PieceKind.FENCE, text[len(leaf.fence) :].strip())

    def _make_setext_heading(self, underline: str) -> None:
        """Make the open paragraph a heading."""
        leaf, self._leaf = self._leaf, None
        if leaf:
            level = 1 if underline.lstrip(" ").startswith("=") else 2
            self._emit(PieceKind.HEADING, leaf.text.strip(), level=level, has_gap=leaf.has_gap)

    def _begin_table(self, delimiter_row: str) -> None:
        """Make the last line of the open paragraph the header of a table."""
        leaf = self._leaf
        if leaf is None:
            return
        alignments = table_alignments(delimiter_row.strip(), leaf)
        header = leaf.text.rpartition("\n")[2]
        leaf.text = leaf.text[: len(leaf.text) - len(header)].removesuffix("\n")
        has_gap = leaf.has_gap and not leaf.text
        if leaf.text or not leaf.begins:
            self._close_leaf()
        self._leaf = OpenLeaf(
            PieceKind.TABLE,
            has_gap=has_gap,
            rows=[table_cells(header, len(alignments))],
            alignments=alignments,
        )

    def _open(self, container: OpenContainer) -> None:
        container.has_gap, self._after_blank = self._after_blank, False
        if self._containers:
            self._containers[-1].is_empty = False
        self._containers.append(container)

    def _begin_leaf(self, kind: PieceKind) -> OpenLeaf:
        if self._containers:
            self._containers[-1].is_empty = False
        self._leaf = OpenLeaf(kind, has_gap=self._take_gap())
        return self._leaf

    def _take_gap(self) -> bool:
        """Return whether a blank line was before what begins now.

        It may have been before the containers that begin with it.
        """
        after_blank, self._after_blank = self._after_blank, False
        return after_blank or self._has_pending_gap()

    def _has_pending_gap(self) -> bool:
        """Return whether a blank line was before a container of which nothing is emitted yet."""
        return any(c.has_gap for c in self._containers if not c.is_emitted)

    def _add_to_paragraph(self, leaf: OpenLeaf, line: str) -> None:
        if leaf.text or not leaf.begins:
            leaf.text += "\n"
        leaf.text += line.lstrip(" ")
        self._emit_portions()

    # What ends

    def _close_unmatched(self, matched: int) -> None:
        """Close what the line did not continue, and a list whose item it did not continue.

        Only a further item continues a list.
        """
        if matched and self._containers[matched - 1].kind is ContainerKind.LIST:
            matched -= 1
        self._close_containers(matched)

    def _close_containers(self, keep: int) -> None:
        """Close the open leaf and all but the first ``keep`` containers."""
        self._close_leaf()
        while len(self._containers) > keep:
            last = self._containers[-1]
            if last.container and not last.is_emitted:
                self._emit(PieceKind.EMPTY, has_gap=self._has_pending_gap())
            self._containers.pop()

    def _close_leaf(self) -> None:
        leaf = self._leaf
        if leaf and leaf.kind is PieceKind.PARAGRAPH:
            self._emit(PieceKind.PARAGRAPH, leaf.text.rstrip())
        elif leaf and leaf.kind is PieceKind.TABLE:
            self._emit_table(leaf, continues=False)
        elif leaf and leaf.fence:
            self._emit(PieceKind.FENCE_END)
        elif leaf and leaf.blank_lines:
            self._after_blank = True
        self._leaf = None

    # What is given out

    def _emit_portions(self) -> None:
        """Give out the open paragraph's beginning once it is long enough."""
        leaf = self._leaf
        if leaf is None:
            return
        while length := portion_length(leaf):
            self._emit(PieceKind.PARAGRAPH, leaf.text[:length], continues=True)
            leaf.text = leaf.text[length:]
            leaf.begins = False
            leaf.searched = 0

    def _emit_table(self, leaf: OpenLeaf, *, continues: bool) -> None:
        self._emit(
            PieceKind.TABLE,
            continues=continues,
            rows=tuple(leaf.rows),
            alignments=leaf.alignments,
        )
        leaf.rows = []
        leaf.begins = False

    def _emit(
        self,
        kind: PieceKind,
        text: str = "",
        *,
        level: int = 0,
        has_gap: bool | None = None,
        continues: bool = False,
        rows: tuple[tuple[str, ...], ...] = (),
        alignments: tuple[str, ...] = (),
    ) -> None:
        """Give out a piece of the open leaf, or one that is a leaf of its own."""
        leaf = self._leaf
        if has_gap is None:
            has_gap = leaf.has_gap if leaf else self._take_gap()
        if leaf:
            leaf.has_gap = False
        piece = BlockPiece(
            path=tuple(c.container for c in self._containers if c.container),
            kind=kind,
            text=text,
            has_gap=has_gap,
            begins=leaf.begins if leaf else True,
            continues=continues,
            level=level,
            rows=rows,
            alignments=alignments,
        )
        self.emitted.append(piece)
        for container in self._containers:
            container.is_emitted = True
            container.is_empty = False
