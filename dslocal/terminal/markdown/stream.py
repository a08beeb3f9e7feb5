"""A stream of Markdown: text in any portions goes in, pieces of blocks that are final come out.

It is CommonMark's line-by-line algorithm with GFM's tables (:mod:`.block_parser`). A piece that was
given out is never taken back, and the pieces of a text do not depend on how it was cut into feeds.
What is held, and so what a frame costs, is bounded however long a block becomes: code is given out
line by line, a list item by item, a paragraph in portions (:func:`.leaves.portion_length`), a table
once it is closed or has :data:`.block_parser.MAX_TABLE_ROWS` rows.

Where CommonMark lets a later line change an earlier one, this decides at once:

* a reference link and its definition both stay as they are written: the definition may come last;
* a list is neither loose nor tight: a blank line is shown where one was written;
* a paragraph of which a portion has been given out does not become a setext heading; inline markup
  that is open for 1,400 characters is plain text (4,000 in mathematics);
* a line of more than 400 characters is a paragraph if its first 400 say so; a line of code is
  broken after 2,000;
* the columns of a table are as wide as its first 200 rows need.

One rule is not CommonMark's: mathematics that opens on a line of its own (``\\[``, ``$$``,
``\\begin{…}``) continues to its end or to a blank line, whatever its lines begin with, ``- b`` and
``= c`` included.

Why markdown-it-py does not do this: it parses whole texts, so the block that is open would be
parsed again for each frame. At the end of a list of 2,000 lines that takes 29 ms (a table 27, a
nested list 34, a quote 9, code 1), before anything is laid out; here it is 0.03 ms whatever the
length, of a frame's 0.3 ms (``tests/benchmarks/render.py``).

Does not know inline markup, widths or terminals.
"""

from __future__ import annotations

from enum import Enum, auto

from .block_parser import BlockParser
from .pieces import BlockPiece, PieceKind

DECISIVE_CHARACTERS = 400  # of a long line: they decide what it is
MAX_CODE_LINE, MAX_HELD_LINE = 2000, 8000  # characters of a line of code, of any other


class _LongLine(Enum):
    """What a line that is too long to be held until it ends turned out to be."""

    PARAGRAPH = auto()
    CODE = auto()
    OTHER = auto()


_MAX_LINE = {_LongLine.CODE: MAX_CODE_LINE, _LongLine.OTHER: MAX_HELD_LINE}


class MarkdownStream:
    """Takes Markdown in any portions, and gives out what became final."""

    def __init__(self) -> None:
        self._parser = BlockParser()
        self._line = ""  # the last line, as far as the parser does not have it
        self._long_line: _LongLine | None = None

    def feed(self, text: str) -> list[BlockPiece]:
        """Return what ``text`` made final."""
        *lines, last = text.split("\n")
        for line in lines:
            self._extend_line(line, is_complete=True)
        if last:
            self._extend_line(last, is_complete=False)
        return self._take_emitted()

    def finish(self) -> list[BlockPiece]:
        """Return what remains when nothing more comes; afterwards a new text may begin."""
        if self._line or self._long_line:
            self._extend_line("", is_complete=True)
        self._parser.finish()
        return self._take_emitted()

    def preview(self) -> list[BlockPiece]:
        """Return what :meth:`finish` would return now, and change nothing."""
        fork = MarkdownStream()
        fork._parser = self._parser.fork()
        fork._line = self._line
        fork._long_line = self._long_line
        return fork.finish()

    def _take_emitted(self) -> list[BlockPiece]:
        emitted = self._parser.emitted
        self._parser.emitted = []
        return emitted

    def _extend_line(self, text: str, *, is_complete: bool) -> None:
        """Add text to the last line, and give the parser what of it is decided."""
        self._line += text
        if self._long_line is None and len(self._line) > DECISIVE_CHARACTERS:
            self._begin_long_line()
        if self._long_line is _LongLine.PARAGRAPH:
            self._parser.extend_paragraph(self._line)
            self._line = ""
        elif self._long_line is not None:
            limit = _MAX_LINE[self._long_line]
            while len(self._line) > limit:
                self._parser.add_line(self._line[:limit])
                self._line = self._line[limit:]
        if is_complete:
            if self._long_line is not _LongLine.PARAGRAPH:
                self._parser.add_line(self._line)
            self._line = ""
            self._long_line = None

    def _begin_long_line(self) -> None:
        """Decide by its beginning what a long line is."""
        head = self._line[:DECISIVE_CHARACTERS]
        fork = self._parser.fork()
        fork.add_line(head)
        if fork.open_kind is PieceKind.PARAGRAPH:
            self._long_line = _LongLine.PARAGRAPH
            self._parser.add_line(head)
            self._line = self._line[DECISIVE_CHARACTERS:]
        elif fork.open_kind in (PieceKind.CODE, PieceKind.HTML):
            self._long_line = _LongLine.CODE
        else:
            self._long_line = _LongLine.OTHER
