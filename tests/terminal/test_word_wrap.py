"""Proves that a text that streams is broken between words, however it is cut, and code is not."""

from __future__ import annotations

import pytest

from dslocal.terminal.word_wrap import WordWrapper, wrap_words

CASES = [
    ("short", 20, "short"),
    ("a word and another", 10, "a word and\nanother"),
    ("exactly ten", 11, "exactly ten"),
    ("one\ntwo three four", 9, "one\ntwo three\nfour"),
    ("x" * 30, 10, "x" * 30),  # the terminal breaks what is wider than a line
    ("a " + "x" * 12, 10, "a " + "x" * 12),
    ("東京 大阪", 5, "東京\n大阪"),
    (
        "```\na long line of code\n```\na long line",
        10,
        "```\na long line of code\n```\na long\nline",
    ),
    ("  indented text here", 12, "  indented\ntext here"),
    ("no terminal has no width", 0, "no terminal has no width"),
    ("", 10, ""),
    ("\n\n", 10, "\n\n"),
    ("end \n", 4, "end \n"),
]


def without_spaces_at_ends(text: str) -> str:
    return "\n".join(line.rstrip(" ") for line in text.split("\n"))


@pytest.mark.parametrize(("text", "width", "shown"), CASES)
def test_words_stay_whole(text: str, width: int, shown: str) -> None:
    assert without_spaces_at_ends(wrap_words(text, width)) == without_spaces_at_ends(shown)


@pytest.mark.parametrize(("text", "width", "shown"), CASES)
def test_however_it_is_cut(text: str, width: int, shown: str) -> None:
    wrapper = WordWrapper(width)
    written = "".join(map(wrapper.feed, text)) + wrapper.finish()
    assert without_spaces_at_ends(written) == without_spaces_at_ends(shown)
