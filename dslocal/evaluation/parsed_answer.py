"""What kind of thing a final answer is: a number with a unit, a group of answers, a relation, a
choice, words.

The structure is found by splitting at signs outside of brackets, to a bounded depth; what is in no
known form is kept as words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .exact import Arithmetic, ExactValue, TooHard
from .final_answer import boxed_content
from .formulas import NoFormula, value_of
from .notation import MAX_LENGTH, normalize, split_unit, without_thousands

MAX_DEPTH = 8
MAX_ITEMS = 100


@dataclass(frozen=True)
class Number:
    """A value, whatever it is made of. ``unit`` is empty where none was given."""

    value: ExactValue
    unit: str = ""


@dataclass(frozen=True)
class Words:
    text: str


@dataclass(frozen=True)
class ChoiceLetter:
    """One letter of several, and what stood behind it."""

    letter: str
    rest: Answer | None = None


@dataclass(frozen=True)
class Group:
    """``kind``: ``{}`` set, ``,`` list without brackets, ``()`` and its like, ``∪``, ``:`` ratio,
    ``r`` quotient and remainder, ``matrix`` and ``row``."""

    kind: str
    items: tuple[Answer, ...]


@dataclass(frozen=True)
class Relation:
    """``sides`` with a sign between each two of them: ``=``, ``<``, ``\\le``, ``\\ne``, ``\\in``.
    Greater is turned into less.
    """

    signs: tuple[str, ...]
    sides: tuple[Answer, ...]


Answer = Number | Words | ChoiceLetter | Group | Relation

_CHOICE = re.compile(
    r"\(([A-J])\)|(?-i:([A-J]))\s*[).:]?|(?:option|choice|选项?)\s*\(?([A-J])\)?",
    re.ASCII | re.IGNORECASE,
)
_CHOICE_AND_MORE = re.compile(r"(?:\(([A-J])\)|([A-J])[).:])\s+(\S.*)", re.ASCII)
_REMAINDER = re.compile(
    r"(\S+?)\s*(?:,?\s*(?:with )?(?:a )?remainder(?: of)?|\s[Rr]\.?|[Rr](?=\s?\d)|余数?|\.{3,6})\s*(\S+)"
)
_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|array)\}(.*)\\end\{\1\}")
_OPENING, _CLOSING = {"(": ")", "[": "]", "\\{": "\\}"}, {")", "]", "\\}"}
_LISTS = ((",", ";", "，"), (" or ", " and ", "或", "和"))
_SIGNS = (
    "\\le ",
    "\\ge ",
    "\\ne ",
    "\\in ",
    "\\approx ",
    "<=",
    ">=",
    "<",
    ">",
    "=",
    "\\le",
    "\\ge",
    "\\ne",
    "\\in",
    "\\approx",
)
_MEANT = {"<=": "\\le", ">=": "\\ge", "\\approx": "="}
_TURNED = {">": "<", "\\ge": "\\le"}
_PIECE = re.compile(r"\\[A-Za-z]+ ?|\\.|.", re.DOTALL)


def parse_answer(text: str) -> Answer:
    """What ``text`` means. Never raises, and takes a bounded time."""
    text = plain_spelling(text)
    if len(text) > MAX_LENGTH:
        return Words(text)
    return _read(text, Arithmetic(), 0)


def plain_spelling(text: str) -> str:
    """The plain spelling, without a \\boxed{} around it."""
    if len(text) > MAX_LENGTH:
        return text.strip()
    inside = boxed_content(text)
    return normalize(text if inside is None else inside)


def _read(text: str, arithmetic: Arithmetic, depth: int) -> Answer:
    text = text.strip()
    if not text or depth > MAX_DEPTH:
        return _words(text)
    if m := _CHOICE.fullmatch(text):
        return ChoiceLetter((m[1] or m[2] or m[3]).upper())
    if m := _CHOICE_AND_MORE.fullmatch(text):
        return ChoiceLetter(m[1] or m[2], _read(m[3], arithmetic, depth + 1))
    if m := _REMAINDER.fullmatch(text):
        return _group("r", m.groups(), arithmetic, depth)
    if m := _MATRIX.fullmatch(text):
        return _matrix(m[2], arithmetic, depth)
    return _structure(without_thousands(text) if not depth else text, arithmetic, depth)


def _structure(text: str, arithmetic: Arithmetic, depth: int) -> Answer:
    for separators in _LISTS:
        parts, _ = _split(text, separators)
        if len(parts) > 1:
            items = [_read(part, arithmetic, depth + 1) for part in parts if part.strip()]
            return Group(",", tuple(_flat(items))) if _plausible(items) else _words(text)
    if "\\pm" in text:
        return _both_signs(text, arithmetic, depth)
    sides, signs = _split(text, _SIGNS)
    if len(sides) > 1:
        return _relation(sides, signs, arithmetic, depth)
    for separator, kind in (("\\cup ", "∪"), ("\\cup", "∪"), (":", ":")):
        parts, _ = _split(text, (separator,))
        if len(parts) > 1:
            return _group(kind, parts, arithmetic, depth)
    return _bracketed(text, arithmetic, depth) or _number(text, arithmetic)


def _number(text: str, arithmetic: Arithmetic) -> Answer:
    value, unit = split_unit(text)
    try:
        if (
            text.replace(" ", "").isalpha() and max(map(len, text.split())) > 1
        ):  # no is a word, not n times o
            return _words(text)
        return Number(value_of(value, arithmetic), unit)
    except (NoFormula, TooHard):
        return _words(text)


def _bracketed(text: str, arithmetic: Arithmetic, depth: int) -> Answer | None:
    """A set, tuple or interval, if brackets around all of ``text`` hold several items; one item in
    braces is a set too.
    """
    pieces = _PIECE.findall(text)
    opening, closing = pieces[0], pieces[-1]
    if (
        opening not in _OPENING
        or closing not in _CLOSING
        or (opening == "\\{") != (closing == "\\}")
    ):
        return None
    level = 0
    for piece in pieces[:-1]:
        level += (piece in _OPENING) - (piece in _CLOSING)
        if not level:
            return None
    inside = "".join(pieces[1:-1])
    parts, _ = _split(inside, (",", ";"))
    if len(parts) == 1 and opening != "\\{":
        return None
    if any(re.fullmatch(r"\s*0\d+\s*", part) for part in parts):  # (1,000) is no pair
        return None
    return _group("{}" if opening == "\\{" else opening + closing, parts, arithmetic, depth)


def _group(kind: str, parts: Sequence[str], arithmetic: Arithmetic, depth: int) -> Answer:
    if len(parts) > MAX_ITEMS:
        return _words(kind.join(parts))
    return Group(kind, tuple(_read(part, arithmetic, depth + 1) for part in parts))


def _matrix(body: str, arithmetic: Arithmetic, depth: int) -> Answer:
    body = re.sub(r"^\s*\{[lcr|\s]*\}|\\hline", "", body)
    rows = [row for row in re.split(r"\\\\(?:\[\w*\])?", body) if row.strip()]
    if len(rows) > MAX_ITEMS:
        return _words(body)
    return Group("matrix", tuple(_group("row", row.split("&"), arithmetic, depth) for row in rows))


def _relation(
    sides: Sequence[str], signs: Sequence[str], arithmetic: Arithmetic, depth: int
) -> Answer:
    meant = [_MEANT.get(sign.strip(), sign.strip()) for sign in signs]
    if not sides[0].strip():  # "= 5", "\approx 5"
        return (
            _read(sides[-1], arithmetic, depth + 1) if len(sides) == 2 else _words("=".join(sides))
        )
    answers = [_read(side, arithmetic, depth + 1) for side in sides]
    if all(sign in _TURNED or sign == "=" for sign in meant) and any(
        sign in _TURNED for sign in meant
    ):
        meant, answers = [_TURNED.get(sign, sign) for sign in reversed(meant)], answers[::-1]
    return Relation(tuple(meant), tuple(answers))


def _both_signs(text: str, arithmetic: Arithmetic, depth: int) -> Answer:
    """``x = 1 \\pm 2``: with each sign once."""
    label, equals, rest = text.rpartition("=")
    if rest.count("\\pm") != 1 or "\\pm" in label:
        return _words(text)
    return Group(
        ",",
        tuple(
            _read(label + equals + re.sub(r"\\pm ?", sign, rest), arithmetic, depth + 1)
            for sign in "+-"
        ),
    )


def _split(text: str, separators: Sequence[str]) -> tuple[list[str], list[str]]:
    """The parts of ``text`` between separators outside of brackets, and those separators."""
    parts, found, begin, at, level = [], [], 0, 0, 0
    while at < len(text):
        separator = (
            next((s for s in separators if text.startswith(s, at)), None) if level <= 0 else None
        )
        if separator and not (
            separator.startswith("\\")
            and text[at + len(separator) : at + len(separator) + 1].isalpha()
            and separator[-1] != " "
        ):
            parts.append(text[begin:at])
            found.append(separator)
            at = begin = at + len(separator)
            continue
        if text[at] == "\\":
            if text.startswith(("\\begin", "\\end"), at):
                level += 1 if text.startswith("\\begin", at) else -1
            elif text[at + 1 : at + 2] in ("{", "}"):
                level += 1 if text[at + 1] == "{" else -1
            at += 1
        else:
            level += (text[at] in "([{") - (text[at] in ")]}")
        at += 1
    return [*parts, text[begin:]], found


def _flat(items: Sequence[Answer]) -> list[Answer]:
    """Items without lists inside of the list: x = \\pm 1, 3."""
    return [
        one
        for item in items
        for one in (item.items if isinstance(item, Group) and item.kind == "," else (item,))
    ]


def _plausible(items: Sequence[Answer]) -> bool:
    """Whether a list without brackets is one: of answers, and not a sentence with a comma."""
    return 0 < len(items) <= MAX_ITEMS and not any(
        isinstance(item, Words) and item.text.count(" ") > 2 for item in items
    )


def _words(text: str) -> Words:
    text = " ".join(text.split())
    if "\\" not in text and "^" not in text:
        folded = " ".join(re.sub(r"[.,;:!?'\"]", " ", text.casefold()).split())
        text = re.sub(r"^(?:the|an?) ", "", folded) or text
    return Words(text)
