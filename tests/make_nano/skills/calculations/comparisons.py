"""Which of two numbers is larger or smaller, or whether one is."""

from __future__ import annotations

import random
from decimal import Decimal

from make_nano.arithmetic import Worked
from make_nano.problems import Problem

COMPARE: tuple[tuple[str, bool], ...] = (
    ("Which is larger, {a} or {b}", True),
    ("Which is bigger: {a} or {b}", True),
    ("which is greater, {a} or {b}", True),
    ("which number is larger, {a} or {b}", True),
    ("{a} or {b}, which is larger", True),
    ("What is larger, {a} or {b}", True),
    ("What is more, {a} or {b}", True),
    ("which one is bigger {a} or {b}", True),
    ("{a} or {b}", True),
    ("{a} vs {b}, which is bigger", True),
    ("the larger of {a} and {b}", True),
    ("compare {a} and {b}", True),
    ("max of {a} and {b}", True),
    ("{a} and {b}: which is greater", True),
    ("Which is smaller, {a} or {b}", False),
    ("which is less, {a} or {b}", False),
    ("the smaller of {a} and {b}", False),
    ("what is smaller: {a} or {b}", False),
    ("which number is smaller, {a} or {b}", False),
    ("min of {a} and {b}", False),
)
YES_NO: tuple[tuple[str, bool], ...] = (
    ("Is {a} larger than {b}", True),
    ("is {a} bigger than {b}", True),
    ("Is {a} more than {b}", True),
    ("is {a} greater than {b}", True),
    ("Is {a} smaller than {b}", False),
    ("is {a} less than {b}", False),
    ("is {a} > {b}", True),
    ("is {a} < {b}", False),
)


def comparison(r: random.Random, _end: str) -> Problem:
    """Return which of two numbers is larger or smaller, or whether one is."""
    a, b, thinking = _two_numbers(r)
    x, y = Decimal(a), Decimal(b)
    if r.random() < 0.45:
        form, larger = r.choice(YES_NO)
        yes = x > y if larger else x < y
        word = "larger" if larger else "smaller"
        said = f"Yes, {a} is {word} than {b}." if yes else f"No, {a} is not {word} than {b}."
        order = f"{max(a, b, key=Decimal)} is larger than {min(a, b, key=Decimal)}."
        worked = Worked(f"{thinking} {order} {said}", said)
        return Problem(form.format(a=a, b=b) + "?", worked, whole=True)
    form, larger = r.choice(COMPARE)
    value = a if (x > y) == larger else b
    word = "larger" if larger else "smaller"
    thinking = f"{thinking} The {word} one is {value}."
    return Problem(form.format(a=a, b=b) + "?", Worked(thinking, value))


def _two_numbers(r: random.Random) -> tuple[str, str, str]:
    """Return two different numbers and what compares them."""
    if r.random() < 0.3:
        m, n = r.randrange(10 ** r.randint(1, 6)), r.randrange(10 ** r.randint(1, 6))
        n += m == n
        sizes = f"{m} has {len(str(m))} digits and {n} has {len(str(n))}"
        if len(str(m)) != len(str(n)):
            return str(m), str(n), f"{sizes}, which decides."
        return str(m), str(n), f"{sizes}. I compare from the left."
    whole = r.randint(0, 99) if r.random() < 0.5 else r.randint(0, 12)
    other = whole if r.random() < 0.8 else r.randint(0, 99)
    parts = [str(r.randrange(10**n)).zfill(n) for n in (r.randint(1, 3), r.randint(1, 3))]
    a, b = f"{whole}.{parts[0]}", f"{other}.{parts[1]}"
    if Decimal(a) == Decimal(b):
        return _two_numbers(r)
    if whole != other:
        return a, b, f"The whole parts are {whole} and {other}, which decides."
    places = max(map(len, parts))
    x, y = (part.ljust(places, "0") for part in parts)
    thinking = (
        f"The whole parts are equal. I write both with {places} decimals: {whole}.{x} and"
        f" {whole}.{y}. Of {x} and {y}, {max(x, y)} is larger."
    )
    return a, b, thinking
