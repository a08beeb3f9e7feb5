"""Divisions by two digits, and products of up to four digits that are checked."""

from __future__ import annotations

import random

from make_nano.arithmetic import Worked, divide, multiply
from make_nano.phrasing import ask_for
from make_nano.problems import Problem


def long_division(r: random.Random, end: str) -> Problem:
    b = r.randint(11, 99)
    a = b * r.randint(1, 999) + (r.randint(1, b - 1) if r.random() < 0.3 else 0)
    sign = r.choice(["/", "/", "÷", "divided by"])
    worked = divide(a, b)
    question = ask_for(r, f"{a} {sign} {b}").rstrip("= ")
    return Problem(question, Worked(f"I need to divide {a} by {b}. {worked.text}", worked.value))


def large_product(r: random.Random, _end: str) -> Problem:
    """Return a product of two numbers of two to four digits, with the check by digit sums."""
    a = r.randrange(10, 10 ** r.randint(2, 4))
    b = r.randrange(10, 10 ** r.randint(2, 4))
    if r.random() < 0.1:
        a, b = r.randrange(10**4, 10**5), r.randrange(2, 100)
    sign = r.choice(["*", "×", "x", "times"])
    worked = multiply(a, b)
    thinking = f"I need to multiply {a} by {b}. {worked.text}\n{nines(a, b, worked.number)}"
    return Problem(ask_for(r, f"{a} {sign} {b}").rstrip("= "), Worked(thinking, worked.value))


def nines(a: int, b: int, product: int) -> str:
    """Return the check of a product by casting out nines."""
    texts, rests = [], []
    for n in (a, b, product):
        total = sum(map(int, str(n)))
        rest = n % 9
        texts.append(f"{n} gives {'+'.join(str(n))}={total}, by 9 leaves {rest}")
        rests.append(rest)
    wanted = rests[0] * rests[1]
    return (
        f"Check: {'; '.join(texts)}. {rests[0]}*{rests[1]}={wanted} leaves {wanted % 9}, as it "
        "should."
    )
