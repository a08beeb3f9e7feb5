"""Proves that nothing a terminal would act on gets through, and that all writing does."""

from __future__ import annotations

import unicodedata

import pytest

from dslocal.terminal.sanitise import encodable, one_line, sanitise

UNSAFE = [
    ("colour", "a\x1b[31mb\x1b[0m", "a[31mb[0m"),
    ("clear screen", "\x1b[2J\x1b[H", "[2J[H"),
    ("window title", "\x1b]0;owned\x07", "]0;owned"),
    ("hyperlink", "\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "]8;;http://x\\text]8;;\\"),
    ("clipboard", "\x1b]52;c;cm0gLXJmIC8=\x07", "]52;c;cm0gLXJmIC8="),
    ("device control", "\x1bP+q544e\x1b\\", "P+q544e\\"),
    ("C1 CSI", "a\x9b31mb", "a31mb"),
    ("C1 OSC", "\x9d0;owned\x9c", "0;owned"),
    ("every C1", "".join(map(chr, range(0x80, 0xA0))), ""),
    ("every C0 but tab and newline", "".join(map(chr, range(32))), "\t\n"),
    ("DEL", "a\x7fb", "ab"),
    ("NUL", "a\0b", "ab"),
    ("backspaces", "safe\b\b\b\bevil", "safeevil"),
    ("carriage return", "safe\revil\r\n", "safeevil\n"),
    ("bidi override", "a\u202ecod.exe\u202c", "acod.exe"),
    ("bidi isolates", "\u2066a\u2067b\u2068c\u2069", "abc"),
    ("bidi marks", "a\u200e\u200f\u061cb", "ab"),
    ("line separators", "a\u2028b\u2029c", "abc"),
    (
        "what nobody sees",
        "a\u00adb\u200bc\u2060d\ufeffe\u2063f\u180eg\ufff9h\U000e0101",
        "abcdefgh",
    ),
    ("tags", "a\U000e0041\U000e007fb", "ab"),
    ("lone surrogates", "a\ud83db\udc9b", "a?b?"),
    ("a sequence inside a sequence", "\x1b\x1b[[31m", "[[31m"),
]
KEPT = [
    "plain text, punctuation: {[()]} <tag> & \"quotes\" 'n' `ticks` \\ / | ~ ^ $ # @ % *",
    "[bold]not markup[/bold]",
    "\ttabs and\nnewlines\n\n",
    "你好，世界。繁體字 𠮷",
    "こんにちは ｶﾀｶﾅ",
    "안녕하세요",
    "привет, ёж",
    "مرحبا بالعالم",
    "שָׁלוֹם",
    "می\u200cخواهم",
    "नमस्ते क्\u200dष",
    "สวัสดี",
    "e\u0301 ạ̈ Z͑ͫ",
    "😀 👍🏽 ❤️ 🏳️‍🌈 👩‍👩‍👧‍👦 🇵🇪 1️⃣",
    "47 × 86 = 4042 ÷ ≤ ∑ √ ½ €",
    "no\u00a0break, thin\u2009space, ideographic\u3000space",
    "",
]


@pytest.mark.parametrize(
    ("text", "expected"), [row[1:] for row in UNSAFE], ids=[row[0] for row in UNSAFE]
)
def test_what_acts_is_taken_out(text: str, expected: str) -> None:
    assert sanitise(text) == expected
    assert sanitise(sanitise(text)) == sanitise(text)


@pytest.mark.parametrize("text", KEPT)
def test_what_is_writing_stays(text: str) -> None:
    assert sanitise(text) == text


def test_no_control_character_of_all_unicode_gets_through() -> None:
    kept = sanitise("".join(map(chr, range(0x110000))))
    assert {c for c in kept if unicodedata.category(c) == "Cc"} == {"\t", "\n"}
    assert not {unicodedata.bidirectional(c) for c in kept} & {
        "LRE",
        "RLE",
        "LRO",
        "RLO",
        "PDF",
        "LRI",
        "RLI",
        "FSI",
        "PDI",
    }
    assert not [c for c in kept if unicodedata.category(c) in ("Zl", "Zp", "Cs")]
    kept.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a\n b\t c ", 400, "a b c"),
        ("\x1b[31ma\r\nb", 400, "[31ma b"),
        ("a" * 400, 400, "a" * 400),
        ("a" * 401, 400, "a" * 399 + "…"),
        ("abcdef", 3, "ab…"),
        ("", 400, ""),
    ],
)
def test_one_line(text: str, limit: int, expected: str) -> None:
    assert one_line(text, limit) == expected


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("→ é ≤ “x” … x² √(π)", "utf-8", "→ é ≤ “x” … x² √(π)"),
        ("→ é ≤ “x” … x² √(π)", "ascii", '-> e <= "x" ... x^2 sqrt(pi)'),
        ("→ é ≤ “x” … x² 5×3", "latin-1", '-> é <= "x" ... x² 5×3'),
        ("aₙ₊₁ ⅔ ﬁ Ｆ", "ascii", "a_n_+_1 2/3 fi F"),
        ("┌─┐│•☑⎛⟦", "ascii", "+-+|*[x]/[["),
        ("中文 😀", "ascii", "???? ??"),
        ("x̂ می\u200cخ", "ascii", "x ???"),
        ("ЖЩ €", "koi8-r", "ЖЩ EUR"),
        ("plain", "no such encoding", "plain"),
    ],
)
def test_what_an_encoding_lacks_is_spelled(text: str, encoding: str, expected: str) -> None:
    spelled = encodable(text, encoding)
    assert spelled == expected
    assert encoding[:2] == "no" or spelled.encode(encoding)
    assert "".join(encodable(c, encoding) for c in text) == spelled
