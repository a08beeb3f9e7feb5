"""Decode text by its byte order mark, as UTF-8, or in an encoding of which charset-normalizer is
sure.

After a wrong guess, a model would read wrong letters, so text of an uncertain encoding is not
decoded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

MAX_MESS = 0.1  # of charset-normalizer's chaos, from 0 to 1
MESS_MARGIN = 0.03  # readings whose chaos differs by less are equally clean
COHERENCE_MARGIN = 0.02  # readings whose coherence differs by less are equally likely a language

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_WIDE = ("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be")
_EASTERN = ("gb18030", "big5", "cp932", "euc_jp", "cp949")
_WINDOWS = ("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256")
_OTHERS = ("iso8859_2", "iso8859_5", "iso8859_7", "koi8_r", "cp866")
# encodings in use; rarer ones would only be mistaken for them
_LEGACY = (*_EASTERN, *_WINDOWS, *_OTHERS)
# logs have colours, listings have form feeds
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b"))
# what no text has: half-width kana, as which Cyrillic can be read, and signs within a word
_IMPLAUSIBLE = re.compile(r"[\uff61-\uff9f]|(?<=[^\W\d_])[¡-¬®-¶¸-¿×÷](?=[^\W\d_])")


def decode_unicode(data: bytes) -> str | None:
    """Return ``data`` as UTF-8, or as a byte order mark or NUL bytes say; None if it is neither."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _read(data[len(mark) :], encoding)
    if b"\0" not in data:
        return _read(data, "utf-8")
    _, encoding = guess(data, _WIDE)
    return _read(data, encoding) if encoding else None


def guess(data: bytes, encodings: Sequence[str] = _LEGACY) -> tuple[str | None, str]:
    """Return ``data`` as text in one of ``encodings``, and the encoding's name.

    Returns:
        None and the likeliest encoding, if it is uncertain; None and nothing, if none is likely.
    """
    from charset_normalizer import from_bytes

    found = from_bytes(data, cp_isolation=list(encodings), enable_fallback=False)
    readings = [reading for reading in found if not _IMPLAUSIBLE.search(str(reading))]
    if not readings:
        return None, ""
    least = min(reading.chaos for reading in readings)
    clean = [reading for reading in readings if reading.chaos < least + MESS_MARGIN]
    best = max(clean, key=lambda reading: reading.coherence)
    text = str(best)
    rivals = [
        reading
        for reading in clean
        if reading.coherence > best.coherence - COHERENCE_MARGIN and str(reading) != text
    ]
    return (None if rivals or least > MAX_MESS else text), best.encoding


def has_controls(data: bytes) -> bool:
    """Return whether control characters are more than a few strays."""
    return 100 * (len(data) - len(data.translate(None, _CONTROLS))) > len(data) + 100


def damaged_utf8(data: bytes) -> int | None:
    """Return where the first bad byte is in what is mostly UTF-8; None if it is something else."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd") - data.count("\ufffd".encode())
    good = sum(not character.isascii() for character in text) - bad
    if bad > good:
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as e:
        return e.start
    return None


def count_strays(data: bytes) -> int:
    """Return how many bytes are not UTF-8."""
    return len(data) - len(data.decode("utf-8", "ignore").encode("utf-8"))


def with_replacements(data: bytes) -> str:
    """Return ``data`` as UTF-8, with replacement characters for what is not."""
    return data.decode("utf-8", "replace")


def _read(data: bytes, encoding: str) -> str | None:
    """Return ``data`` in ``encoding``; None if it is not, or is not text."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or has_controls(text.encode("utf-8")) else text
