"""Word problems of two and three steps."""

from __future__ import annotations

import random
from collections.abc import Callable

from make_nano import lexicon
from make_nano.arithmetic import CALCULATE, Worked
from make_nano.problems import Problem
from make_nano.words import NAMES, THINGS


def steps(*parts: tuple[str, int, int]) -> tuple[str, int]:
    """Return the text of operations one after the other, and the last result."""
    texts = []
    result = 0
    for sign, a, b in parts:
        worked = CALCULATE[sign](a, b)
        texts.append(f"{a}{sign}{b}: {worked.text}")
        result = worked.number
    return " Then ".join(texts), result


Story = Callable[[random.Random, str, str, str], tuple[str, str, int, str]]


def story_in_steps(r: random.Random, _end: str) -> Problem:
    """Return a word problem of two or three steps."""
    person, things = r.choice(NAMES), r.choice(THINGS)
    if r.random() < 0.3:
        person = lexicon.name(r)
    other = r.choice([name for name in NAMES if name != person])
    question, thinking, value, unit = r.choice(STORIES)(r, person, other, things)
    return Problem(question, Worked(thinking, value), unit)


def _boxes_and_more(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    a, b = r.randint(2, 30), r.randint(2, 60)
    c = r.randint(1, 99)
    text, value = steps(("*", a, b), ("+", a * b, c))
    question = r.choice(
        [
            f"{p} has {a} boxes with {b} {t} each and {c} more {t}. How many {t} does {p} have?",
            f"There are {a} bags of {b} {t}. {q} adds {c} {t}. How many {t} are there now?",
            f"{p} buys {a} packs of {b} {t}. {q} gives {p} {c} more. How many {t} does {p} have?",
        ]
    )
    return question, text, value, f" {t}"


def _boxes_less(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    a, b = r.randint(2, 30), r.randint(2, 60)
    c = r.randint(1, a * b)
    text, value = steps(("*", a, b), ("-", a * b, c))
    question = r.choice(
        [
            f"{p} has {a} boxes of {b} {t} and gives {c} {t} to {q}. How many {t} are left?",
            f"A shop gets {a} crates with {b} {t} each and sells {c}. How many {t} remain?",
            f"{p} bakes {a} trays of {b} {t}. {c} are eaten. How many are left?",
        ]
    )
    return question, text, value, f" {t}" if "trays" not in question else ""


def _shared_sum(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    n = r.randint(2, 12)
    total = n * r.randint(2, 60)
    a = r.randint(1, total - 1)
    text, value = steps(("+", a, total - a), ("/", total, n))
    question = r.choice(
        [
            f"{p} has {a} {t} and {q} has {total - a}. They share them equally among {n} children. "
            f"How many {t} does each child get?",
            f"{a} red and {total - a} blue {t} are packed into {n} equal boxes. How many {t} are "
            "in each box?",
        ]
    )
    return question, text, value, f" {t}"


def _rest_shared(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    n, c = r.randint(2, 12), r.randint(1, 60)
    rest = n * r.randint(1, 60)
    text, value = steps(("-", rest + c, c), ("/", rest, n))
    question = (
        f"{p} has {rest + c} {t}. {p} gives {c} to {q} and shares the rest equally among {n} "
        f"friends. How many {t} does each friend get?"
    )
    return question, text, value, f" {t}"


def _change(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    price, n = r.randint(1, 25), r.randint(2, 12)
    paid = price * n + r.randint(1, 100)
    text, value = steps(("*", price, n), ("-", paid, price * n))
    one = t.removesuffix("s")
    question = r.choice(
        [
            f"A {one} costs {price} euros. {p} buys {n} and pays with {paid} euros. How much "
            f"change does {p} get?",
            f"{p} has {paid} dollars and buys {n} {t} for {price} dollars each. How many dollars "
            "are left?",
            f"{p} has {paid} euros. {p} buys {n} {t} at {price} euros each. How much money does "
            f"{p} have left?",
        ]
    )
    return question, text, value, ""


def _two_prices(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    a, x, b, y = (r.randint(2, 20) for _ in range(4))
    things = r.choice([thing for thing in THINGS if thing != t])
    text, value = steps(("*", a, x), ("*", b, y), ("+", a * x, b * y))
    question = r.choice(
        [
            f"{p} buys {a} {t} for {x} euros each and {b} {things} for {y} euros each. How much "
            f"does {p} pay?",
            f"{t.capitalize()} cost {x} dollars and {things} cost {y} dollars. How much are {a} "
            f"{t} and {b} {things}?",
        ]
    )
    return question, text, value, ""


def _times_as_many(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    a, n = r.randint(2, 99), r.randint(2, 9)
    text, value = steps(("*", a, n), ("+", a * n, a))
    times = "twice" if n == 2 else f"{n} times"
    question = f"{p} has {a} {t}. {q} has {times} as many. How many {t} do they have together?"
    return question, text, value, f" {t}"


def _speed(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    v, h = r.randint(10, 120), r.randint(2, 9)
    more = r.randint(1, 99)
    text, value = steps(("*", v, h), ("+", v * h, more))
    question = r.choice(
        [
            f"A train goes {v} km an hour for {h} hours and then {more} km more. How far does it "
            "go?",
            f"{p} drives {h} hours at {v} km/h and then another {more} km. How many km is that?",
        ]
    )
    return question, text, value, " km"


def _two_speeds(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    v, h = r.randint(10, 120), r.randint(2, 9)
    w, i = r.randint(10, 120), r.randint(2, 9)
    text, value = steps(("*", v, h), ("*", w, i), ("+", v * h, w * i))
    question = r.choice(
        [
            f"A train goes {v} km/h for {h} hours, then {w} km/h for {i} hours. How far does it "
            "go?",
            f"A bus drives {h} hours at {v} km/h and {i} hours at {w} km/h. How many km does it "
            "drive in total?",
            f"{p} cycles at {v} km an hour for {h} hours and after a break at {w} km an hour for "
            f"{i} hours. How far is that in all?",
            f"A ship travels {h} hours at a speed of {v} km/h and then {i} hours at a speed of {w} "
            "km/h. What distance does it cover?",
        ]
    )
    return question, text, value, " km"


def _per_day(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    a, weeks = r.randint(2, 60), r.randint(2, 12)
    text, value = steps(("*", weeks, 7), ("*", a, weeks * 7))
    question = r.choice(
        [
            f"{p} reads {a} pages a day. How many pages does {p} read in {weeks} weeks?",
            f"{p} saves {a} euros every day. How many euros are that in {weeks} weeks?",
        ]
    )
    return question, text, value, " pages" if "pages" in question else " euros"


def _three_piles(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    a, b, c = (r.randint(2, 200) for _ in range(3))
    text, value = steps(("+", a, b), ("+", a + b, c))
    question = r.choice(
        [
            f"{p} has {a} {t}, {q} has {b} and Lea has {c}. How many {t} do they have in all?",
            f"On Monday {p} finds {a} {t}, on Tuesday {b} and on Friday {c}. How many {t} is that?",
            f"{p} had {a} {t}, then got {b} and later {c} more. How many {t} does {p} have now?",
        ]
    )
    return question, text, value, f" {t}"


def _take_twice(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    b, c = r.randint(1, 99), r.randint(1, 99)
    a = b + c + r.randint(0, 300)
    text, value = steps(("-", a, b), ("-", a - b, c))
    question = r.choice(
        [
            f"{p} has {a} {t}. {p} gives {b} to {q} and loses {c}. How many {t} are left?",
            f"A box holds {a} {t}. {b} are taken out, then {c} more. How many {t} are still in it?",
        ]
    )
    return question, text, value, f" {t}"


def _age(r: random.Random, p: str, q: str, t: str) -> tuple[str, str, int, str]:
    a, b = r.randint(2, 60), r.randint(1, 30)
    years = r.randint(1, 30)
    text, value = steps(("+", a, b), ("+", a + b, years))
    question = (
        f"{p} is {a} years old. {q} is {b} years older. How old will {q} be in {years} years?"
    )
    return question, text, value, ""


STORIES: tuple[Story, ...] = (
    _boxes_and_more,
    _boxes_less,
    _shared_sum,
    _rest_shared,
    _change,
    _two_prices,
    _times_as_many,
    _speed,
    _two_speeds,
    _per_day,
    _three_piles,
    _take_twice,
    _age,
)
