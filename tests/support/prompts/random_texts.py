"""Random texts of mixed scripts for tests of tokenizers: repeatable by seed, and broken in the ways
that real text is.

Each text is a handful of runs, each from one kind of character; ``KINDS`` is the table. No lone
surrogates: Python can hold them, UTF-8 and the tokenizers library cannot.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


def _span(*pairs: tuple[int, int]) -> str:
    return "".join(chr(i) for first, last in pairs for i in range(first, last + 1))


_WORDS = (
    "the",
    "The answer is",
    "don't",
    "WE'LL",
    "it's",
    "I'Ve",
    "'re",
    "e.g.",
    "https://a.b/c?d=e&f=%20#g",
    "snake_case",
    "CamelCase",
    "naïve",
    "Straße",
    "привет",
    "Ελλάδα",
    "你好",
    "世界",
    "ひらがな",
    "カタカナ",
    "한국어",
    "مرحبا",
    "שלום",
    "नमस्ते",
    "สวัสดี",
    "tiếng Việt",
    "İstanbul",
    "ﬁne",
    "Ⅷ",
    "½",
    "x²",
    "①",
    "٣٤٥",
    "१२३",
    "１２３",
    "一二三",
    "〇",
    "𝐱𝟗",
    "𠮷野家",
    "<think>",
    "</think>",
    "<｜User｜>",
    "<|EOT|>",
    "\\boxed{42}",
    "$$\\frac{1}{2}$$",
    "**bold**",
    "# ",
    "```py\n",
    "-->",
    "!=",
    "===",
    "def f(x: int) -> str:\n    return f'{x}'\n",
    "for(i=0;i<10;++i){\n\ta[i]+=1;\n}\r\n",
    '{"a": [1, 2.5e-3, null]}',
    "SELECT * FROM t;",
)
_EMOJI = ("😀", "👩‍🚀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇵🇪", "1️⃣", "❤️", "☺", "👩‍", "‍", "️", "🏽", "🇵")
KINDS: dict[str, str | tuple[str, ...]] = {
    "letters": _span((97, 122), (65, 90)),
    "punctuation": _span((33, 47), (58, 64), (91, 96), (123, 126)),
    "digits": "0123456789",
    "spaces": " ",
    "blanks": " \t\n\r",
    "newlines": "\n\r",
    "unicode spaces": "\u00a0\u0085\u1680\u2002\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000\u200b\ufeff\x0b\x0c\x1c",
    "controls": _span((0, 31), (127, 159)) + "\u200b\u200c\u200d\u200e\u2060\u2066\ufeff\u00ad",
    "diacritics": _span((0xC0, 0x24F), (0x1E00, 0x1EFF)),
    "decomposed": (
        "e\u0301",
        "n\u0303",
        "a\u0302\u0323",
        "o\u0308",
        "c\u0327",
        "A\u030a",
        "\u1100\u1161",
        "か\u3099",
        "q\u0307\u0323",
    ),
    "combining": _span((0x300, 0x36F), (0x20D0, 0x20F0), (0xFE20, 0xFE2F)),
    "greek": _span((0x391, 0x3C9), (0x1F00, 0x1F15)),
    "cyrillic": _span((0x410, 0x45F), (0x460, 0x48F)),
    "cjk": _span(
        (0x4E00, 0x4F00), (0x9F00, 0x9FFF), (0x3400, 0x3420), (0x20000, 0x20010), (0xF900, 0xF920)
    ),
    "cjk signs": _span((0x3000, 0x303F), (0xFF00, 0xFF65), (0x2018, 0x201F), (0x3200, 0x3210)),
    "kana": _span((0x3041, 0x3096), (0x3099, 0x30FF), (0xFF66, 0xFF9F)),
    "hangul": _span((0xAC00, 0xAC80), (0xD780, 0xD7A3), (0x1100, 0x1130), (0x3131, 0x3140)),
    "arabic": _span((0x610, 0x66F), (0x6D6, 0x6F9)),
    "hebrew": _span((0x591, 0x5C7), (0x5D0, 0x5EA), (0x5F0, 0x5F4)),
    "devanagari": _span((0x900, 0x97F)),
    "thai": _span((0xE01, 0xE3A), (0xE3F, 0xE5B)),
    "other scripts": _span(
        (0x531, 0x556),
        (0x10A0, 0x10F0),
        (0x1200, 0x1220),
        (0x13A0, 0x13F5),
        (0x10400, 0x10420),
        (0x1E900, 0x1E943),
    ),
    "numbers": _span(
        (0xB2, 0xB3),
        (0xBC, 0xBE),
        (0x2150, 0x2189),
        (0x2460, 0x24FF),
        (0x1D7CE, 0x1D7FF),
        (0x3021, 0x3029),
    ),
    "symbols": _span(
        (0x20A0, 0x20BF), (0x2190, 0x22FF), (0x2500, 0x25FF), (0x1F600, 0x1F64F), (0x2070, 0x209C)
    ),
    "broken": "\ufffd\uffff\ufffe\ue000\uf8ff\U000f0000\U0010ffff"
    "\u0378\u0530\u05ff\U0001f8ff\U000e0001\u2065",
    "emoji": _EMOJI,
    "words": _WORDS,
}
_OFTEN = ("letters", "words", "digits", "spaces", "punctuation")
KIND_NAMES = (*KINDS, *_OFTEN)  # so that runs meet what they meet in real text


def random_texts(count: int, seed: int) -> Iterator[str]:
    dice = random.Random(seed)
    for _ in range(count):
        runs = [_run(dice) for _ in range(dice.randint(1, 10))]
        yield dice.choice(("", "", " ")).join(runs)


def _run(dice: random.Random) -> str:
    pieces = KINDS[dice.choice(KIND_NAMES)]
    run = "".join(dice.choices(pieces, k=dice.randint(1, 3 if isinstance(pieces, tuple) else 8)))
    return f" {run}" if dice.random() < 0.2 else run


def shortest(text: str, bad: Callable[[str], bool]) -> str:
    """Return the smallest part of ``text`` that is still ``bad``, by leaving out characters one by
    one and in runs.
    """
    step = max(1, len(text) // 2)
    while True:
        smaller = next(
            (
                text[:i] + text[i + step :]
                for i in range(0, len(text), step)
                if bad(text[:i] + text[i + step :])
            ),
            None,
        )
        if smaller is not None:
            text = smaller
        elif step == 1:
            return text
        else:
            step //= 2
