"""Markdown's block structure as it comes: CommonMark's line by line algorithm with GFM's tables,
told as pieces that are final.

It knows containers and leaves, not inline markup, widths or terminals. A piece, once told, is never
taken back, and the pieces of a text do not depend on how it was cut into feeds. What is held, and
so what a frame costs, is bounded however long a block gets: a code block is told line by line, a
list item by item, a paragraph in portions (``leaves.portion``), a table once it is closed.

Where CommonMark lets a later line change an earlier one, this decides at once:

* a reference link and its definition both stay as they are written: the definition may come last;
* a list is not loose or tight: a blank line is shown where one was written;
* a paragraph of which a portion has been told no longer becomes a setext heading; inline markup
that is open for 1,400 characters is
  none (4,000 in mathematics);
* a line of more than 400 characters is a paragraph if its first 400 say so; a line of code is
broken after 2,000;
* the columns of a table are as wide as its first 200 rows need.

One thing is no CommonMark: mathematics that opens on a line of its own (``\\[``, ``$$``,
``\\begin{…}``) runs on to its end or to a blank line, whatever its lines begin with, ``- b`` and
``= c`` included.
"""

from __future__ import annotations

from .block_parser import BlockParser
from .pieces import BlockPiece, PieceKind

HEAD = 400  # characters that decide what a long line is
LONG, HELD = 2000, 8000  # characters of a line of code, of a row of a table


class MarkdownStream:
    """Takes Markdown in any pieces, gives what became final."""

    def __init__(self) -> None:
        self._structure = BlockParser()
        self._partial = ""
        self._within = ""  # of a long line: what its begin turned out to be

    def feed(self, text: str) -> list[BlockPiece]:
        """What ``text`` made final."""
        *lines, last = text.split("\n")
        for line in lines:
            self._take(line, ended=True)
        if last:
            self._take(last, ended=False)
        return self._told()

    def rest(self) -> list[BlockPiece]:
        """What remains when nothing more comes; afterwards a new text may begin."""
        if self._partial or self._within:
            self._take("", ended=True)
        self._structure.end()
        return self._told()

    def preview(self) -> list[BlockPiece]:
        """What :meth:`rest` would tell now. Changes nothing."""
        twin = MarkdownStream()
        twin._structure, twin._partial, twin._within = (
            self._structure.twin(),
            self._partial,
            self._within,
        )
        return twin.rest()

    def _told(self) -> list[BlockPiece]:
        told, self._structure.told = self._structure.told, []
        return told

    def _take(self, text: str, *, ended: bool) -> None:
        """More of a line. A long one is not held until it ends: its begin says what it is."""
        self._partial += text
        while not self._within and len(self._partial) > HEAD:
            self._within = self._kind_of(self._partial[:HEAD])
            if self._within == "paragraph":
                self._structure.line(self._partial[:HEAD])
                self._partial = self._partial[HEAD:]
        while len(self._partial) > (
            limit := {"code": LONG, "held": HELD}.get(self._within, len(self._partial))
        ):
            self._structure.line(self._partial[:limit])
            self._partial = self._partial[limit:]
        if self._within == "paragraph":
            self._structure.more(self._partial)
            self._partial = ""
        if ended:
            if self._within != "paragraph":
                self._structure.line(self._partial)
            self._partial = self._within = ""

    def _kind_of(self, head: str) -> str:
        twin = self._structure.twin()
        twin.line(head)
        return {
            PieceKind.PARAGRAPH: "paragraph",
            PieceKind.CODE: "code",
            PieceKind.HTML: "code",
        }.get(twin.kind or PieceKind.RULE, "held")
