r"""Read what kind of thing a final answer is.

It is a number with a unit, a group of answers, a relation, a choice, or words. The structure is
found by splitting at signs outside of brackets, to a bounded depth; what is in no known form is
kept as words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dslocal.evaluation.extraction import boxed_content

from .arithmetic import Arithmetic
from .exact_values import ExactValue, TooHard
from .formula_tokens import NotAFormula
from .formulas import value_of
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
    """Text that is in no known form."""

    text: str


@dataclass(frozen=True)
class ChoiceLetter:
    """One letter of several, and what stood behind it."""

    letter: str
    rest: Answer | None = None


@dataclass(frozen=True)
class Group:
    """Several answers.

    Attributes:
        kind: ``{}`` a set, ``,`` a list without brackets, ``()`` or other brackets, ``∪``, ``:`` a
            ratio, ``r`` quotient and remainder, ``matrix``, ``row``.
        items: The answers.
    """

    kind: str
    items: tuple[Answer, ...]


@dataclass(frozen=True)
class Relation:
    r"""Answers with signs between them.

    Attributes:
        signs: ``=``, ``<``, ``\le``, ``\ne`` or ``\in``; greater is turned into less.
        sides: One more than signs.
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
    r"""
    (\S+?)
    \s*
    (?: ,?\s*(?:with[ ])?(?:a[ ])?remainder(?:[ ]of)? | \s[Rr]\.? | [Rr](?=\s?\d)
      | 余数? | \.{3,6} )
    \s*
    (\S+)
    """,
    re.VERBOSE,
)
_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|array)\}(.*)\\end\{\1\}")
_COLUMNS = re.compile(r"^\s*\{[lcr|\s]*\}|\\hline")
_ROW_END = re.compile(r"\\\\(?:\[\w*\])?")
_LEADING_ZERO = re.compile(r"\s*0\d+\s*")
_BRACKETS = {"(": ")", "[": "]", "\\{": "\\}"}
_CLOSING = frozenset(_BRACKETS.values())
_COMMAS = (",", ";", "，")
_CONJUNCTIONS = (" or ", " and ", "或", "和")
_COMMAND_SIGNS = ("\\le", "\\ge", "\\ne", "\\in", "\\approx")
_SIGNS = (*(f"{sign} " for sign in _COMMAND_SIGNS), "<=", ">=", "<", ">", "=", *_COMMAND_SIGNS)
_MEANING = {"<=": "\\le", ">=": "\\ge", "\\approx": "="}
_TURNED = {">": "<", "\\ge": "\\le"}
_PIECE = re.compile(r"\\[A-Za-z]+ ?|\\.|.", re.DOTALL)


def parse_answer(text: str) -> Answer:
    """Return what ``text`` means. It never raises, and takes a bounded time."""
    text = plain_spelling(text)
    if len(text) > MAX_LENGTH:
        return Words(text)
    return _Reader(Arithmetic()).read(text, depth=0)


def plain_spelling(text: str) -> str:
    r"""Return the plainest spelling of ``text``, without a \boxed{} around it."""
    if len(text) > MAX_LENGTH:
        return text.strip()
    inside = boxed_content(text)
    return normalize(text if inside is None else inside)


class _Reader:
    """Reads one answer, with a bound on the arithmetic in it."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic = arithmetic

    def read(self, text: str, depth: int) -> Answer:
        """Return what ``text`` means; ``depth`` is how many groups and relations it is in."""
        text = text.strip()
        if not text or depth > MAX_DEPTH:
            return _words(text)
        if m := _CHOICE.fullmatch(text):
            return ChoiceLetter((m[1] or m[2] or m[3]).upper())
        if m := _CHOICE_AND_MORE.fullmatch(text):
            return ChoiceLetter(m[1] or m[2], self.read(m[3], depth + 1))
        if m := _REMAINDER.fullmatch(text):
            return self._group("r", m.groups(), depth)
        if m := _MATRIX.fullmatch(text):
            return self._matrix(m[2], depth)
        return self._structure(text if depth else without_thousands(text), depth)

    def _structure(self, text: str, depth: int) -> Answer:
        """Split ``text`` where it can be: lists first, then relations, unions and ratios."""
        for separators in (_COMMAS, _CONJUNCTIONS):
            parts, _ = _split(text, separators)
            if len(parts) > 1:
                return self._list(text, parts, depth)
        if "\\pm" in text:
            return self._both_signs(text, depth)
        sides, signs = _split(text, _SIGNS)
        if len(sides) > 1:
            return self._relation(sides, signs, depth)
        for separator, kind in (("\\cup ", "∪"), ("\\cup", "∪"), (":", ":")):
            parts, _ = _split(text, (separator,))
            if len(parts) > 1:
                return self._group(kind, parts, depth)
        return self._bracketed(text, depth) or self._number(text)

    def _number(self, text: str) -> Answer:
        if text.replace(" ", "").isalpha() and max(map(len, text.split())) > 1:
            return _words(text)  # no is a word, and not n times o
        value, unit = split_unit(text)
        try:
            return Number(value_of(value, self._arithmetic), unit)
        except (NotAFormula, TooHard):
            return _words(text)

    def _list(self, text: str, parts: Sequence[str], depth: int) -> Answer:
        """Return a list without brackets, if it is one of answers: a sentence has commas too."""
        items = [self.read(part, depth + 1) for part in parts if part.strip()]
        is_sentence = any(isinstance(i, Words) and i.text.count(" ") > 2 for i in items)
        if not 0 < len(items) <= MAX_ITEMS or is_sentence:
            return _words(text)
        return Group(",", tuple(_flat(items)))

    def _bracketed(self, text: str, depth: int) -> Answer | None:
        """Return a set, a tuple or an interval, if brackets are around all of ``text``.

        One item in braces is a set too; in other brackets it is only that item.
        """
        pieces = _PIECE.findall(text)
        opening = pieces[0]
        closing = pieces[-1]
        if opening not in _BRACKETS or closing not in _CLOSING:
            return None
        is_set = opening == "\\{"
        if is_set != (closing == "\\}") or not _encloses(pieces):
            return None
        parts, _ = _split("".join(pieces[1:-1]), (",", ";"))
        if len(parts) == 1 and not is_set:
            return None
        if any(_LEADING_ZERO.fullmatch(part) for part in parts):  # (1,000) is not a pair
            return None
        return self._group("{}" if is_set else opening + closing, parts, depth)

    def _group(self, kind: str, parts: Sequence[str], depth: int) -> Answer:
        if len(parts) > MAX_ITEMS:
            return _words(kind.join(parts))
        return Group(kind, tuple(self.read(part, depth + 1) for part in parts))

    def _matrix(self, body: str, depth: int) -> Answer:
        body = _COLUMNS.sub("", body)
        rows = [row for row in _ROW_END.split(body) if row.strip()]
        if len(rows) > MAX_ITEMS:
            return _words(body)
        return Group("matrix", tuple(self._group("row", row.split("&"), depth) for row in rows))

    def _relation(self, sides: Sequence[str], signs: Sequence[str], depth: int) -> Answer:
        if not sides[0].strip():  # "= 5", "\approx 5"
            return self.read(sides[-1], depth + 1) if len(sides) == 2 else _words("=".join(sides))
        meanings = [_MEANING.get(sign.strip(), sign.strip()) for sign in signs]
        answers = [self.read(side, depth + 1) for side in sides]
        can_be_turned = all(sign in _TURNED or sign == "=" for sign in meanings)
        if can_be_turned and any(sign in _TURNED for sign in meanings):
            meanings = [_TURNED.get(sign, sign) for sign in reversed(meanings)]
            answers = answers[::-1]
        return Relation(tuple(meanings), tuple(answers))

    def _both_signs(self, text: str, depth: int) -> Answer:
        r"""Return a list of ``x = 1 \pm 2`` with each sign."""
        label = text[: text.rfind("=") + 1]
        value = text[len(label) :]
        if value.count("\\pm") != 1 or "\\pm" in label:
            return _words(text)
        readings = [label + re.sub(r"\\pm ?", sign, value) for sign in "+-"]
        return Group(",", tuple(self.read(reading, depth + 1) for reading in readings))


def _encloses(pieces: Sequence[str]) -> bool:
    """Return whether the bracket of the first piece closes with the last."""
    level = 0
    for piece in pieces[:-1]:
        if piece in _BRACKETS:
            level += 1
        elif piece in _CLOSING:
            level -= 1
        if not level:
            return False
    return True


def _split(text: str, separators: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the parts of ``text`` between separators outside of brackets, and the separators."""
    parts = []
    found = []
    begin = at = level = 0
    while at < len(text):
        separator = _separator_at(text, at, separators) if level <= 0 else None
        if separator:
            parts.append(text[begin:at])
            found.append(separator)
            at += len(separator)
            begin = at
            continue
        level += _change_of_level(text, at)
        at += 2 if text[at] == "\\" else 1
    return [*parts, text[begin:]], found


def _separator_at(text: str, at: int, separators: Sequence[str]) -> str | None:
    r"""Return the separator at a place of ``text``; \in is not one in \infty."""
    separator = next((s for s in separators if text.startswith(s, at)), None)
    if separator is None:
        return None
    following = text[at + len(separator) : at + len(separator) + 1]
    is_command = separator.startswith("\\") and separator[-1] != " "
    return None if is_command and following.isalpha() else separator


def _change_of_level(text: str, at: int) -> int:
    """Return 1 where a bracket opens, -1 where one closes, and 0 elsewhere."""
    if text.startswith(("\\begin", "\\{"), at):
        return 1
    if text.startswith(("\\end", "\\}"), at):
        return -1
    if text[at] in "([{":
        return 1
    return -1 if text[at] in ")]}" else 0


def _flat(items: Iterable[Answer]) -> list[Answer]:
    r"""Return items without lists inside of the list: x = \pm 1, 3."""
    flat: list[Answer] = []
    for item in items:
        if isinstance(item, Group) and item.kind == ",":
            flat += item.items
        else:
            flat.append(item)
    return flat


def _words(text: str) -> Words:
    text = " ".join(text.split())
    if "\\" not in text and "^" not in text:
        folded = " ".join(re.sub(r"[.,;:!?'\"]", " ", text.casefold()).split())
        text = re.sub(r"^(?:the|an?) ", "", folded) or text
    return Words(text)
