"""Where a block of HTML begins and ends in Markdown (CommonMark 0.31, section 4.6). Knows nothing
else of either.
"""

from __future__ import annotations

import re

_TAGS = """address article aside base basefont blockquote body caption center col colgroup dd details dialog dir div dl dt fieldset
figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe legend li link main menu menuitem nav noframes
ol optgroup option p param search section summary table tbody td tfoot th thead title tr track ul"""
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


def html_start(line: str) -> int:
    """The kind, 1 to 7, of the block that ``line`` begins; 0 for none."""
    return next((kind for kind, pattern in enumerate(_STARTS, 1) if pattern.match(line)), 0)


def html_end(kind: int, line: str) -> bool:
    """Whether ``line`` is the last of a block of ``kind``; 6 and 7 end before a blank line."""
    return kind <= len(_ENDS) and bool(_ENDS[kind - 1].search(line))
