"""What streamed Markdown is told as: pieces that are final, each with the containers around it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class PieceKind(Enum):
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
    """A block quote (no marker) or a list item: its bullet, or its number with what ends it.
    Compared by identity.
    """

    marker: str
    depth: int = 0  # lists around this item's own


@dataclass(frozen=True)
class BlockPiece:
    """What became final: ``path`` are the containers around it, ``gap`` says that a blank line was
    before it.

    ``more`` says that the same paragraph or table goes on in the next piece, ``begins`` that it
    does not go on from the one before.
    """

    path: tuple[Container, ...]
    kind: PieceKind
    text: str = ""
    gap: bool = False
    begins: bool = True
    more: bool = False
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()
    aligns: tuple[str, ...] = ()
