"""A calculator for arithmetic that is printed: it knows that figures are rounded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from dslocal.plan.expert_streaming import harmonic_number

NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
# A unit and its size. A number with a unit is rounded to the digits that it has, and so is one with
# four digits of which some are behind the point. Others are exact, such as 0.65, 256 and 50 µs.
UNITS = {"GiB": 2**30, "GB/s": 1e9, "GB": 1e9, "MB": 1e6, "ms": 1e-3, "%": 0.01, "tokens/s": 1.0}
EXACT_UNITS = {"µs": 1e-6, "bytes": 1.0, "tokens": 1.0}
MIN_DIGITS = 4  # of a number that is rounded
TYPES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}  # bytes of a value
TOKEN = re.compile(
    rf"{NUMBER}(?: ?(GiB|GB/s|GB|MB|ms|%|tokens/s|µs|bytes|tokens)(?!\w))?"
    r"|(H(?=\()|[×/+−√()])|([^\W\d][\w.-]*)|[,'\s-]+"
)


class Interval(NamedTuple):
    """The values that a rounded figure may stand for."""

    low: float
    high: float

    def meets(self, other: Interval) -> bool:
        slack = 1e-9 * max(abs(self.high), abs(other.high))
        return self.low <= other.high + slack and other.low <= self.high + slack


def equations(line: str) -> Iterator[tuple[str, str]]:
    """Yield the left and the right side of each "=" of a line."""
    sides = line.split(" = ")
    yield from pairwise(sides)


def assert_right(line: str) -> None:
    """Prove that both sides of each "=" of a line are equal, within what rounding leaves open."""
    for left, right in equations(line):
        found, said = evaluate(left), evaluate(right, with_words=True)
        assert found.meets(said), f"{line}: {left} is {found}, not {said}"


def quantities(text: str) -> list[str]:
    """Return the figures of a text that have a unit and are rounded, with it."""
    return [
        f"{found[1]} {found[2]}" for found in TOKEN.finditer(text) if found[1] and found[2] in UNITS
    ]


def evaluate(text: str, *, with_words: bool = False) -> Interval:
    """Return what an expression is; words in it mean nothing, but for a type of numbers.

    Args:
        text: the expression.
        with_words: whether words with figures of their own may follow the expression.
    """
    parser = _Parser(text)
    value = parser.sum()
    assert with_words or not parser.tokens, f"{text}: {parser.tokens} is left"
    return Interval(value.low * parser.factor, value.high * parser.factor)


class _Parser:
    def __init__(self, text: str) -> None:
        text = text.rpartition(": ")[2]
        self.tokens: list[Interval | str] = []
        self.factor = 1.0
        end = 0
        for found in TOKEN.finditer(text):
            assert found.start() == end, f"{text}: {text[end : found.start()]!r} is not understood"
            end = found.end()
            number, unit, operator, word = found.groups()
            if number:
                self.tokens.append(rounded(number, unit))
            elif operator:
                self.tokens.append(operator)
            elif word:
                self.factor *= TYPES.get(word, 1.0)

    def _takes(self, operator: str) -> bool:
        if self.tokens and self.tokens[0] == operator:
            self.tokens.pop(0)
            return True
        return False

    def sum(self) -> Interval:
        value = self.product()
        while self.tokens and self.tokens[0] in ("+", "−"):
            adds, other = self.tokens.pop(0) == "+", self.product()
            if not adds:
                other = Interval(-other.high, -other.low)
            value = Interval(value.low + other.low, value.high + other.high)
        return value

    def product(self) -> Interval:
        value = self.factor_of()
        while self.tokens and self.tokens[0] in ("×", "/"):
            multiplies, other = self.tokens.pop(0) == "×", self.factor_of()
            if not multiplies:
                other = Interval(1 / other.high, 1 / other.low)
            corners = [one * another for one in value for another in other]
            value = Interval(min(corners), max(corners))
        return value

    def factor_of(self) -> Interval:
        for operator, function in (("√", math.sqrt), ("H", harmonic_number)):
            if self._takes(operator):
                inner = self.factor_of()
                return Interval(function(inner.low), function(inner.high))
        if self._takes("("):
            value = self.sum()
            assert self._takes(")")
            return value
        token = self.tokens.pop(0)
        assert isinstance(token, Interval), token
        return token


def rounded(number: str, unit: str | None) -> Interval:
    """Return what a figure may stand for."""
    value = float(number.replace(",", ""))
    size = UNITS.get(unit or "", 0.0)
    if not size and (unit or not is_figure(number)):
        size = EXACT_UNITS.get(unit or "", 1.0)
        return Interval(value * size, value * size)
    half = 0.5 * 10.0 ** -len(number.partition(".")[2])
    return Interval((value - half) * (size or 1.0), (value + half) * (size or 1.0))


def is_figure(number: str) -> bool:
    """Return whether a number without a unit is rounded."""
    return "." in number and len(number.lstrip("0.").replace(".", "")) >= MIN_DIGITS
