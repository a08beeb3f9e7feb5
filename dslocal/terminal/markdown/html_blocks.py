"""Where a block of HTML begins and ends in Markdown: CommonMark 0.31, section 4.6.

Knows nothing else of HTML or Markdown.
"""

from __future__ import annotations

import re

_TAGS = """
address article aside base basefont blockquote body caption center col colgroup dd details dialog
dir div dl dt fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header
hr html iframe legend li link main menu menuitem nav noframes ol optgroup option p param search
section summary table tbody td tfoot th thead title tr track ul
"""
_ATTRIBUTE = r"""\s+[A-Za-z_:][\w.:-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?"""
_STARTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"<(?:script|pre|textarea|style)(?:\s|>|$)",
        r"<!--",
        r"<\?",
        r"<![A-Z]",
        r"<!\[CDATA\[",
        rf"</?(?:{'|'.join(_TAGS.split())})(?:\s|/?>|$)",
        rf"(?:<[A-Za-z][A-Za-z0-9-]*(?:{_ATTRIBUTE})*\s*/?>|</[A-Za-z][A-Za-z0-9-]*\s*>)\s*$",
    )
)
_ENDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (r"</(?:script|pre|textarea|style)>", r"-->", r"\?>", r">", r"\]\]>")
)
FIRST_ENDED_BY_BLANK = 6  # blocks of this type and the next end before a blank line
CANNOT_INTERRUPT = 7  # a block of this type begins only where no paragraph is open


def html_block_type(line: str) -> int:
    """Return the type, 1 to 7, of the HTML block that ``line`` begins; 0 for none."""
    for number, pattern in enumerate(_STARTS, 1):
        if pattern.match(line):
            return number
    return 0


def ends_html_block(block_type: int, line: str) -> bool:
    """Return whether ``line`` is the last one of a block of type 1 to 5."""
    return block_type < FIRST_ENDED_BY_BLANK and bool(_ENDS[block_type - 1].search(line))
