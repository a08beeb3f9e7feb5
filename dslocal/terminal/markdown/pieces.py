"""The pieces that streamed Markdown is given out in: each is final, and names what is around it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class PieceKind(Enum):
    """What a piece is of."""

    PARAGRAPH = auto()
    HEADING = auto()
    FENCE = auto()  # the line that opens a fence
    CODE = auto()  # a line of code
    FENCE_END = auto()
    HTML = auto()  # a line of HTML
    RULE = auto()
    TABLE = auto()
    EMPTY = auto()  # a container with nothing in it


@dataclass(frozen=True, eq=False)
class Container:
    """A block quote or a list item, compared by identity.

    Attributes:
        marker: An item's bullet, or its number with what ends it; empty for a quote.
        depth: Lists around an item's own list.
    """

    marker: str
    depth: int = 0

    @property
    def is_quote(self) -> bool:
        """Whether this is a block quote."""
        return not self.marker


@dataclass(frozen=True)
class BlockPiece:
    """A piece of a block that became final.

    Attributes:
        path: The containers around it, from the outside.
        kind: What it is of.
        text: Its source, without the marks of its containers; a fence's info string.
        has_gap: Whether a blank line was before it.
        begins: Whether its paragraph or table begins here, and not in the piece before.
        continues: Whether its paragraph or table continues in the next piece.
        level: A heading's, 1 to 6.
        rows: A table's cells, row by row, the header first where the table begins.
        alignments: A table's columns: left, center or right.
    """

    path: tuple[Container, ...]
    kind: PieceKind
    text: str = ""
    has_gap: bool = False
    begins: bool = True
    continues: bool = False
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()
    alignments: tuple[str, ...] = ()
