"""Tell what is for readers of a clone from what is for readers of the built site.

A page may include a text, as ``--8<-- "FILE"``, that only the site shows. It then has a paragraph
for readers of a clone, which begins with ``In a clone, `` and links what they lack. What exists in
the site alone, such as a link to a generated page, is written as ``<!-- site: TEXT -->``.
"""

from __future__ import annotations

import re

FOR_CLONES = re.compile(r"^In a clone, .*\n(?:.+\n)*\n?", re.MULTILINE)
FOR_THE_SITE = re.compile(r"<!-- site: (.*?) -->", re.DOTALL)


def for_site(markdown: str) -> str:
    """Return a page as the site shows it."""
    return FOR_THE_SITE.sub(r"\1", FOR_CLONES.sub("", markdown))
