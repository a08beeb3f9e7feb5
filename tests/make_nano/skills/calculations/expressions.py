"""Expressions of several operations on whole numbers or decimals."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal

from make_nano.arithmetic import CALCULATE, Worked, divide
from make_nano.phrasing import ask_for
from make_nano.problems import Problem


@dataclass(frozen=True)
class Expression:
    """A tree of operations whose every result is a whole number from 0 on; a number has no sign."""

    value: int
    sign: str = ""
    parts: tuple[Expression, ...] = ()

    @property
    def tight(self) -> int:
        """How tightly it binds: 3 for a number, 2 for * and /, 1 for + and -."""
        if not self.sign:
            return 3
        return 2 if self.sign in "*/" else 1

    @property
    def text(self) -> str:
        if not self.sign:
            return str(self.value)
        left, right = self.parts
        before = f"({left.text})" if left.tight < self.tight else left.text
        brackets = right.tight < self.tight or (right.tight == self.tight and self.sign in "-/")
        after = f"({right.text})" if brackets else right.text
        return f"{before} {self.sign} {after}"

    def joined(self, sign: str, other: Expression) -> Expression:
        return Expression(CALCULATE[sign](self.value, other.value).number, sign, (self, other))

    def step(self) -> tuple[Expression, str]:
        """Return what is left once the first operation on two numbers is done, and its working."""
        left, right = self.parts
        if left.sign:
            done, working = left.step()
            return Expression(self.value, self.sign, (done, right)), working
        if right.sign:
            done, working = right.step()
            return Expression(self.value, self.sign, (left, done)), working
        worked = CALCULATE[self.sign](left.value, right.value)
        return Expression(self.value), f"{left.value}{self.sign}{right.value}: {worked.text}"

    def worked(self) -> str:
        """Return the whole working, with what is left written out after every step."""
        written, rest = f"I go from the inside out: {self.text}.", self
        while rest.sign:
            rest, working = rest.step()
            written += f" {working} Now {rest.text}."
        return written


def long_expression(r: random.Random, _end: str) -> Problem:
    """Return three to five numbers with brackets and all four signs."""
    whole = _tree(r, r.choice([3, 3, 4, 4, 5]))
    text = whole.text
    if r.random() < 0.35:
        text = text.replace("*", "×")
    if r.random() < 0.15:
        text = text.replace("/", "÷")
    if r.random() < 0.25:
        text = text.replace(" ", "")
    return Problem(ask_for(r, text), Worked(whole.worked(), whole.value))


def _tree(r: random.Random, leaves: int) -> Expression:
    if leaves == 1:
        return Expression(r.randint(1, 40) if r.random() < 0.8 else r.randint(1, 200))
    cut = r.randint(1, leaves - 1)
    left, right = _tree(r, cut), _tree(r, leaves - cut)
    signs = ["+"]
    if left.value >= right.value:
        signs += ["-", "-"]
    if left.value * right.value < 10**5 and min(left.value, right.value) < 100:
        signs += ["*", "*"]
    if 1 < right.value < 100 and left.value % right.value == 0:
        signs += ["/"] * 4
    return left.joined(r.choice(signs), right)


def mixed_decimals(r: random.Random, end: str) -> Problem:
    """Return a sum, a difference or a product of numbers with up to three decimals."""
    a, b = _decimal(r), _decimal(r)
    sign = r.choice("+-+-*")
    if sign == "*":
        b = Decimal(r.randint(2, 99))
        if r.random() < 0.3:
            b = _decimal(r).quantize(Decimal("0.1"))
    if sign == "-" and a < b:
        a, b = b, a
    places = max(_places(a), _places(b)) if sign != "*" else _places(a) + _places(b)
    if sign == "*":
        x, y = int(a.scaleb(_places(a))), int(b.scaleb(_places(b)))
        lead = f"Without points: {x}*{y}."
    else:
        x, y = int(a.scaleb(places)), int(b.scaleb(places))
        lead = f"With {places} decimals each: {a:.{places}f} and {b:.{places}f}, so {x}{sign}{y}."
    worked = CALCULATE[sign](x, y)
    result = Decimal(worked.number).scaleb(-places)
    value = _plain(result)
    thinking = (
        f"{lead} {worked.text} With {places} decimals {worked.value} is {result:.{places}f}, so"
        f" {value}."
    )
    shown = sign if r.random() < 0.7 else {"+": "plus", "-": "minus", "*": "times"}[sign]
    return Problem(ask_for(r, f"{a} {shown} {b}").rstrip("= ") + end, Worked(thinking, value))


def _decimal(r: random.Random) -> Decimal:
    places = r.choice([0, 1, 1, 2, 2, 3])
    return Decimal(r.randint(1, 10 ** (places + r.randint(1, 2)))).scaleb(-places)


def _places(n: Decimal) -> int:
    exponent = n.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def _plain(n: Decimal) -> str:
    text = f"{n:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def decimal_division(r: random.Random, end: str) -> Problem:
    """Return a division whose result has one or two decimals, asked for as a decimal."""
    b = r.choice([2, 4, 5, 8, 10, 20, 25, 3, 6])
    places = r.choice([1, 2])
    a = r.randint(1, 99)
    scaled = a * 10**places
    if scaled % b:
        return decimal_division(r, end)
    value = _plain(Decimal(a) / b)
    worked = divide(scaled, b)
    thinking = (
        f"With {places} decimals {a} is {scaled} parts. {worked.text} {worked.value} parts with"
        f" {places} decimals is {value}."
    )
    question = r.choice(
        [
            f"What is {a} / {b} as a decimal",
            f"{a} divided by {b} as a decimal",
            f"{a}/{b} in decimals",
            f"Write {a}/{b} as a decimal number",
            f"{a} ÷ {b} with decimals",
        ]
    )
    return Problem(question + end, Worked(thinking, value))
