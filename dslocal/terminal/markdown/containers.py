"""The open containers of streamed Markdown: block quotes, lists and their items.

Does not know leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from .pieces import Container

MAX_INDENT = 3  # spaces before a mark; with one more the line is indented code


class ContainerKind(Enum):
    """What an open container is."""

    QUOTE = auto()
    LIST = auto()
    ITEM = auto()


@dataclass
class OpenContainer:
    """A container that is open.

    Attributes:
        kind: What it is.
        container: What the pieces inside of it name; None for a list, which only its items know.
        is_emitted: Whether a piece inside of it has been given out.
        indent: Columns before an item's content.
        is_empty: Whether nothing has started inside of it.
        has_gap: Whether a blank line was before it.
        style: A list's bullet, or what ends its numbers.
        number: A list's next number.
    """

    kind: ContainerKind
    container: Container | None = None
    is_emitted: bool = False
    indent: int = 0
    is_empty: bool = True
    has_gap: bool = False
    style: str = ""
    number: int = 0

    def content_column(self, line: str, column: int) -> int | None:
        """Return where the content of ``line`` begins inside of this container.

        Args:
            line: The whole line.
            column: Where the content of the container around this one begins.

        Returns:
            A column of ``line``; None where the line does not continue this container.
        """
        if self.kind is ContainerKind.LIST:
            return column
        rest = line[column:].lstrip(" ")
        indent = len(line) - column - len(rest)
        if self.kind is ContainerKind.QUOTE:
            if indent > MAX_INDENT or not rest.startswith(">"):
                return None
            return column + quote_content_column(line[column:])
        if not rest:
            return None if self.is_empty else column
        return column + self.indent if indent >= self.indent else None


def quote_content_column(line: str) -> int:
    """Return where the content of a line of a block quote begins."""
    column = line.index(">") + 1
    return column + 1 if line.startswith(" ", column) else column
