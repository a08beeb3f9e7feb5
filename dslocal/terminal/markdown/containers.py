"""The open containers of streamed Markdown: block quotes, lists and their items. Knows no
leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

from .pieces import Container


@dataclass
class OpenContainer:
    """An open container. A list is none to others: it holds its items' numbering."""

    kind: str  # quote, list, item
    container: Container | None = None
    told: bool = False
    indent: int = 0  # of an item's content
    childless: bool = True
    gap: bool = False
    style: str = ""  # of a list: its bullet, or what ends its numbers
    number: int = 0

    def goes_on(self, line: str, at: int) -> int | None:
        """Where ``line``, of which ``at`` characters belong to containers around this one, goes on
        in here; None when it does not.
        """
        if self.kind == "list":
            return at
        rest = line[at:].lstrip(" ")
        indent = len(line) - at - len(rest)
        if self.kind == "quote":
            return at + after_quote(line[at:]) if indent < 4 and rest.startswith(">") else None
        if not rest:
            return None if self.childless else at
        return at + self.indent if indent >= self.indent else None


def after_quote(line: str) -> int:
    """Where the content of a line of a block quote begins."""
    at = line.index(">") + 1
    return at + (line[at : at + 1] == " ")
