"""What a line of Markdown begins: CommonMark 0.31, section 4 and 5, and GFM's tables.

Looks at one line, without the marks of the containers around it. Changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from .containers import MAX_INDENT
from .html_blocks import CANNOT_INTERRUPT, html_block_type
from .leaves import OpenLeaf, table_alignments

MAX_MARKER_SPACES = 4  # after an item's marker; with more of them its content is indented code

_FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_HEADING = re.compile(r"#{1,6}(?:[ \t]+|$)")
_HEADING_END = re.compile(r"[ \t]+#+[ \t]*$")
_SETEXT_UNDERLINE = re.compile(r"(=+|-+)[ \t]*$")
_RULE = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$")
_MARKER = re.compile(r"([*+-])(?=[ \t]|$)|(\d{1,9})([.)])(?=[ \t]|$)")


class BlockStart(Enum):
    """What a line can begin, or make of the paragraph before it."""

    QUOTE = auto()
    ITEM = auto()
    HEADING = auto()
    FENCE = auto()
    HTML = auto()
    SETEXT_HEADING = auto()
    RULE = auto()
    TABLE = auto()


def block_start(
    line: str, paragraph: OpenLeaf | None, *, can_nest: bool, is_in_paragraph: bool
) -> BlockStart | None:
    """Return what ``line`` begins.

    Args:
        line: The line inside of its containers.
        paragraph: The open paragraph that the line continues unless it begins something.
        can_nest: Whether one more container may be opened.
        is_in_paragraph: Whether a paragraph is open, perhaps outside of the line's containers: the
            line may continue it lazily.

    Returns:
        None where the line is text, indented code or blank.
    """
    text = line.lstrip(" ")
    if not text or len(line) - len(text) > MAX_INDENT:
        return None
    if text[0] == ">" and can_nest:
        return BlockStart.QUOTE
    if text[0] == "#" and _HEADING.match(text):
        return BlockStart.HEADING
    if text[0] in "`~" and _FENCE.match(text):
        return BlockStart.FENCE
    if text[0] == "<" and _begins_html(text, is_in_paragraph=is_in_paragraph):
        return BlockStart.HTML
    if paragraph and paragraph.begins and _SETEXT_UNDERLINE.match(text):
        return BlockStart.SETEXT_HEADING
    if text[0] in "*-_" and _RULE.match(text):
        return BlockStart.RULE
    if can_nest and _begins_item(text, interrupts=paragraph is not None):
        return BlockStart.ITEM
    if paragraph and table_alignments(text, paragraph):
        return BlockStart.TABLE
    return None


def _begins_html(text: str, *, is_in_paragraph: bool) -> bool:
    block_type = html_block_type(text)
    return block_type > 0 and not (is_in_paragraph and block_type == CANNOT_INTERRUPT)


def _begins_item(text: str, *, interrupts: bool) -> bool:
    """Return whether an item begins; only one with text, numbered 1, interrupts a paragraph."""
    marker = _MARKER.match(text)
    if marker is None:
        return False
    if not interrupts:
        return True
    return marker[2] in (None, "1") and bool(text[marker.end() :].strip())


@dataclass(frozen=True)
class ListMarker:
    """The marker of a list item.

    Attributes:
        style: The bullet, or what ends the number; items of one list share it.
        number: The number that is written, None for a bullet.
        content_column: Where the item's content begins, in the line.
    """

    style: str
    number: int | None
    content_column: int


def list_marker(line: str) -> ListMarker:
    """Return the marker of a line that begins an item. Raises ValueError where it has none."""
    found = _MARKER.match(line, len(line) - len(line.lstrip(" ")))
    if found is None:
        raise ValueError(f"no list marker: {line!r:.60}")
    content = line[found.end() :].lstrip(" ")
    spaces = len(line) - found.end() - len(content)
    if not content or spaces > MAX_MARKER_SPACES:
        spaces = 1
    number = int(found[2]) if found[2] else None
    return ListMarker(found[1] or found[3], number, found.end() + spaces)


def heading(line: str) -> tuple[int, str]:
    """Return the level and the text of a line that begins an ATX heading."""
    stripped = line.strip()
    marks = stripped.partition(" ")[0]
    return len(marks), _HEADING_END.sub("", stripped[len(marks) :]).strip()


def fence_marks(text: str) -> str:
    """Return the backticks or tildes that a fence begins with."""
    return text[: len(text) - len(text.lstrip(text[0]))]


def closes_fence(line: str, marks: str) -> bool:
    """Return whether ``line`` ends the fenced code that ``marks`` opened."""
    text = line.lstrip(" ")
    if len(line) - len(text) > MAX_INDENT:
        return False
    run = len(text) - len(text.lstrip(marks[0]))
    return run >= len(marks) and not text[run:].strip()
