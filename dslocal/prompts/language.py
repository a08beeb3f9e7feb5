"""Tell Chinese from other languages, for templates and directives that exist in both."""

from __future__ import annotations

import re

IDEOGRAPHS = "\u3400-\u9fff\uf900-\ufaff"  # for a set of characters in a regular expression

# compiled when they are needed
_WORD = rf"(?:(?![{IDEOGRAPHS}])[^\W\d_]){{2,}}"
_LATEX_COMMAND = r"\\[A-Za-z]{2}"
_KANA = r"[\u3041-\u30ff]"


def is_chinese(text: str) -> bool:
    """Return whether ``text`` is Chinese: more than two ideographs for every other word.

    Foreign words and formulas in it do not matter, and kana make it Japanese.
    """
    ideographs = len(re.findall(f"[{IDEOGRAPHS}]", text))
    words = len(re.findall(_WORD, text)) - len(re.findall(_LATEX_COMMAND, text))
    return ideographs > 2 * words and not re.search(_KANA, text)
