"""The page that a browser gets at the server's address: what this is, in five lines."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>dslocal</title>
<style>body {{ font: 1rem/1.6 system-ui, sans-serif; margin: 3rem; }} dt {{ color: gray; }}</style>
<dl>
{lines}
</dl>
</html>
"""


def front_page(facts: Mapping[str, str | Sequence[str]]) -> str:
    """Return a page that lists ``facts`` by name."""
    lines = []
    for name, value in facts.items():
        shown = value if isinstance(value, str) else ", ".join(value)
        lines.append(f"<dt>{html.escape(name)}</dt><dd>{html.escape(shown)}</dd>")
    return PAGE.format(lines="\n".join(lines))
