"""Which encoding some bytes are text in, told only when nothing else comes close: a wrong guess
puts wrong letters before a model.

UTF-8 goes first, and what is valid UTF-8 is UTF-8. A byte order mark is believed. Without one,
UTF-16 and UTF-32 show in where their NUL bytes are. All else is read in every encoding of
:data:`_CODECS`, and what does not look like a language is counted: letters that no one alphabet has
together, ideographs that are rare. The reading with the fewest of them is the text, if they are
few. Of equals, charset-normalizer's favourite is, when it finds the others clearly messier; it also
names the guess when nothing is certain.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

SAMPLE = 1 << 18  # characters that a reading is judged by: those from the first that is not ASCII
MOST_STRANGE = 0.03  # of the characters outside ASCII
MARGIN = 0.03  # in charset-normalizer's mess, from 0 to 1

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_CONTROLS = bytes(
    {*range(32), 127} - set(b"\t\n\v\f\r\x1b")
)  # logs have colours, listings have form feeds
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_MIXED = re.compile(r"[A-Za-z][\u0370-\u04ff]|[\u0370-\u04ff][A-Za-z]")
_PUNCTUATION = "«»‹›“”„‘’‚–—…€£¥°©®™§·•¿¡ªº×÷²³½\xa0\xad"
_QUOTES = frozenset("«»“”‘’–—…€©®™°•\xa0")  # the same bytes in most of Windows
_MISPLACED = re.compile(
    r"(?<=[^\W\d_])[«»‹›“”„‚…¿¡ªº©®§°²³½](?=[^\W\d_])|(?<=[^\W\d_])[„‚¿¡]"
)  # inside a word, or at its end
_LONELY = re.compile(r"(?<=[a-z])[^\x00-\x7f](?=[a-z])")
_AFTER_SMALL = re.compile(r"(?<=[a-z])[^\x00-\x7f]")


def unicode(data: bytes) -> str | None:
    """``data`` as UTF-8, or as the UTF-16 or UTF-32 that a mark or its NUL bytes give away. None
    when it is neither.
    """
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return _read(data[len(mark) :], codec)
    text = _read(data, "utf-8")
    if text is not None or b"\0" not in data:
        return text
    return next(
        (text for codec in _wide(data) if (text := _read(data, codec)) and _is_assigned(text)), None
    )


def legacy(data: bytes) -> tuple[str | None, str]:
    """``data``, which is no Unicode, as text, None when that is uncertain; and the name of the
    encoding, or of the best guess.
    """
    best: dict[str, str] = {}
    fewest = MOST_STRANGE
    for codec, strange in _CODECS.items():
        text = _read(data, codec)
        first = _FOREIGN.search(text) if text else None
        if text is None or first is None:
            continue
        begin = max(0, first.start() - 1)  # with the letter before, if it is one
        share = strange(text[begin : begin + SAMPLE])
        if share < fewest:
            best, fewest = {}, share
        if share == fewest and text not in best:
            best[text] = codec
    return (
        next(iter(best.items()))
        if len(best) == 1
        else _favourite(data, {codec: text for text, codec in best.items()})
    )


def has_controls(data: bytes) -> bool:
    """Whether control characters are more than a few strays."""
    return 100 * (len(data) - len(data.translate(None, _CONTROLS))) > len(data) + 100


def damaged_utf8(data: bytes) -> int | None:
    """Where the first bad byte is in what is UTF-8 for the most part; None when it is something
    else.
    """
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    if 4 * bad > len("".join(_FOREIGN.findall(text))) - bad:
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as e:
        return e.start
    return None


def _is_assigned(text: str) -> bool:
    """Whether all characters have a meaning: none unassigned, private or half a pair."""
    return not any(unicodedata.category(character) in ("Cn", "Co", "Cs") for character in set(text))


def _read(data: bytes, codec: str) -> str | None:
    """``data`` in ``codec``; None when it is not, or when NUL or other control characters show that
    it is no text.
    """
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or has_controls(text.encode("utf-8")) else text


def _wide(data: bytes) -> Iterable[str]:
    """The encodings that the NUL bytes of ``data`` fit: in UTF-16, those of ASCII are all on one
    side, and spaces are ASCII.
    """
    if len(data) % 4 == 0:
        yield from ("utf-32-le", "utf-32-be")
    even, odd = data[::2].count(0), data[1::2].count(0)
    if len(data) % 2 == 0 and not (even and odd) and 20 * (even + odd) >= len(data):
        yield "utf-16-le" if odd else "utf-16-be"


def _favourite(data: bytes, readings: dict[str, str]) -> tuple[str | None, str]:
    """What charset-normalizer finds the best of ``readings``, by codec; without any, only its
    guess.
    """
    from charset_normalizer import from_bytes

    ranked = list(from_bytes(data, cp_isolation=list(readings) or None, enable_fallback=False))
    sure = bool(ranked) and not any(other.chaos - ranked[0].chaos < MARGIN for other in ranked[1:])
    guess = ranked[0].encoding if ranked else next(iter(readings), "")
    return readings.get(guess) if sure else None, guess


def _foreign(text: str) -> str:
    return "".join(_FOREIGN.findall(text))


def _alphabets(*alphabets: str) -> Callable[[str], float]:
    """The share of what the best of ``alphabets`` lacks. Each begins with its three commonest
    letters, which must be there.
    """

    def strange(text: str) -> float:
        counts = Counter(_foreign(text))
        total = counts.total()
        misplaced = len(_MISPLACED.findall(text)) + sum(
            map(str.isupper, _AFTER_SMALL.findall(text))
        )
        letters = Counter("".join(c for c in counts.elements() if c not in _PUNCTUATION).lower())
        if not letters and not _QUOTES.issuperset(counts):
            return 1.0
        shares = [
            sum(n for c, n in letters.items() if c not in alphabet) / total
            for alphabet in alphabets
            if 5 * sum(letters[c] for c in alphabet[:3]) >= letters.total()
        ]
        return min(shares, default=1.0) + misplaced / total

    return strange


def _script(commonest: str, others: str) -> Callable[[str], float]:
    """The share of what a script lacks; all of it unless its ``commonest`` letters are half of the
    letters.
    """

    def strange(text: str) -> float:
        foreign = _foreign(text.lower())
        letters = "".join(c for c in foreign if c not in _PUNCTUATION)
        if not letters or 2 * sum(c in commonest for c in letters) < len(letters):
            return 1.0
        strangers = sum(c not in commonest and c not in others for c in letters)
        return (strangers + len(_MIXED.findall(text))) / len(foreign)

    return strange


def _at_least(least: float, usual: Callable[[str], bool]) -> Callable[[str], float]:
    """Nothing strange when the share of usual characters is ``least``, and few stand alone inside a
    word; else all.
    """

    def strange(text: str) -> float:
        foreign = _foreign(text)
        lonely = len(_LONELY.findall(text))
        return float(sum(map(usual, foreign)) < least * len(foreign) or 10 * lonely > len(foreign))

    return strange


def _common(codec: str, first: int, last: int) -> Callable[[str], bool]:
    """Whether a character is an ideograph of the first level, which has those in daily use, or
    punctuation.
    """

    def common(c: str) -> bool:
        code = c.encode(codec)
        return (
            (len(code) == 2 and first <= code[0] <= last)
            or "\u2000" <= c < "\u3040"
            or "\uff00" < c <= "\uff60"
            or c in _PUNCTUATION
        )

    return common


def _is_kana(c: str) -> bool:
    return "\u3041" <= c <= "\u30fe"


_WEST = (
    "éèàâæçêëîïôœùûüÿ",
    "äöüß",
    "óíáéñúüç",
    "àèùéìíòóú",
    "ãáçàâéêíõóôúü",
    "äåö",
    "øåæäöé",
    "ëéïóöüèà",
)
_CENTRE = (
    "ąęłóćńśźż",
    "áíěéčďňóřšťúůýž",
    "áíýéäčďĺľňóôŕšťúž",
    "áéöíóőúüű",
    "ăîşâţ",
    "čšžćđ",
    "äöüß",
)
_CYRILLIC = _script("оеаинтсрві", "бгджзйклмпуфхцчшщъыьэюяёїєґў")
_CODECS: dict[str, Callable[[str], float]] = {
    "gb18030": _at_least(0.95, _common("gb18030", 0xB0, 0xD7)),
    "big5": _at_least(0.95, _common("big5", 0xA4, 0xC6)),
    "cp932": _at_least(0.2, _is_kana),
    "euc_jp": _at_least(0.2, _is_kana),
    "cp949": _at_least(0.7, lambda c: "\uac00" <= c <= "\ud7a3"),
    "cp1252": _alphabets(*_WEST),
    "cp1250": _alphabets(*_CENTRE),
    "cp1251": _CYRILLIC,
    "koi8_r": _CYRILLIC,
    "cp1253": _script("αοιετσνηυρ", "βγδζθκλμξπςφχψωάέήίόύώϊϋΐΰ"),
}
