"""Problems in the four operations: bare sums, stories about apples and friends, expressions with
brackets.

Each comes with its calculation in words. How often small and large numbers, brackets and stories
come is the recipe's; nothing here ever needs a negative number on the way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from make_nano.arithmetic import OPERATIONS, Worked, add, subtract
from make_nano.exchange import Exchange
from make_nano.phrasing import ask, ask_for, finished
from make_nano.words import NAMES, THINGS

TASKS = {
    "+": "add {a} and {b}. From the right: ",
    "-": "subtract {b} from {a}. From the right: ",
    "*": "multiply {a} by {b}. ",
    "/": "divide {a} by {b}. ",
}
LEADS = ("Okay, ", "Let me see. ", "First, ", "Alright, ", "")
TEX = {"+": "+", "-": "-", "*": "\\times", "/": "\\div"}
STORIES = {
    "+": (
        "{p} has {a} {t} and buys {b} more. How many {t} does {p} have now?",
        "{p} has {a} {t}. {q} has {b} {t}. How many {t} do they have together?",
        "There are {a} {t} on one table and {b} on another. How many {t} are there in all?",
    ),
    "-": (
        "{p} has {a} {t} and gives {b} to {q}. How many {t} are left?",
        "There are {a} {t} in a shop. {b} are sold. How many {t} remain?",
        "{p} had {a} {t} but lost {b}. How many {t} does {p} have now?",
    ),
    "*": (
        "There are {b} boxes with {a} {t} each. How many {t} are there in total?",
        "{p} buys {b} bags. Each bag holds {a} {t}. How many {t} does {p} have?",
    ),
    "/": (
        "{p} shares {a} {t} equally among {b} friends. How many {t} does each friend get?",
        "{a} {t} are packed into {b} equal boxes. How many {t} are in each box?",
    ),
}
PLANS = {
    "+": "The total is the sum of {a} and {b}. ",
    "-": "What remains is {a} minus {b}. ",
    "*": "The total is {a} times {b}. ",
    "/": "Each one gets {a} divided by {b}. ",
}


@dataclass(frozen=True)
class Problem:
    """A question and how it is solved; ``whole`` says that the value is a sentence, which needs no
    "The answer is".
    """

    question: str
    worked: Worked
    unit: str = ""
    whole: bool = False


def operands(r: random.Random) -> tuple[str, int, int]:
    """A sign and two numbers for it, mostly of one to four digits."""
    sign = r.choice("++--**//")
    if sign == "*":
        a, b = _factors(r)
    elif sign == "/":
        b = r.randint(2, 12) if r.random() < 0.75 else r.randint(13, 99)
        a = b * r.randint(1, 400) + (r.randint(1, b - 1) if r.random() < 0.25 else 0)
    else:
        large = r.random() < 0.12
        a = _number(r, r.randint(5, 6) if large else _digits(r))
        b = _number(r, r.randint(1, 6) if large else _digits(r))
        if sign == "-" and a < b and r.random() < 0.7:
            a, b = b, a
    return sign, a, b


def worked_aloud(r: random.Random, sign: str, a: int, b: int) -> Worked:
    """The calculation with a sentence in front that says what it is."""
    worked = OPERATIONS[sign](a, b)
    return Worked(
        f"{r.choice(LEADS)}I need to {TASKS[sign].format(a=a, b=b)}{worked.text}", worked.value
    )


def bare(r: random.Random) -> tuple[Exchange, int | str]:
    """An exchange that asks for one operation, now and then with a check at the end of the
    thinking, and the result.
    """
    sign, a, b = operands(r)
    worked = worked_aloud(r, sign, a, b)
    if r.random() < 0.15:
        checks = {
            "+": f"{worked.value} should be at least {max(a, b)}, good.",
            "-": "The sign is right, good.",
            "*": f"The last digit of {a % 10}*{b % 10} is {a * b % 10}, good.",
            "/": "The remainders are smaller than the divisor, good.",
        }
        worked = Worked(f"{worked.text}\nWait, let me check. {checks[sign]}", worked.value)
    formula = f"{a} {TEX[sign]} {b}" if isinstance(worked.value, int) else ""
    return finished(r, ask(r, sign, a, b), worked, formula=formula), worked.value


def story(r: random.Random) -> Problem:
    person, things = r.choice(NAMES), r.choice(THINGS)
    other = r.choice([name for name in NAMES if name != person])
    sign = r.choice("+-*/+-2")
    if sign == "2":
        return _two_steps(r, person, other, things)
    a, b = _story_numbers(r, sign)
    question = r.choice(STORIES[sign]).format(p=person, q=other, t=things, a=a, b=b)
    worked = worked_aloud(r, sign, a, b)
    return Problem(
        question, Worked(PLANS[sign].format(a=a, b=b) + worked.text, worked.value), f" {things}"
    )


def expression(r: random.Random) -> Problem:
    """Three numbers and two signs, with brackets or without. Where a result would be negative,
    numbers or signs change.
    """
    a, b, c = (r.randint(1, 40) for _ in range(3))
    first, second = r.choice("+-*"), r.choice("+-*")
    space = r.choice([" ", "", " "])
    shape = r.random()
    bracketed = shape < 0.6
    right_first = shape < 0.35 or (not bracketed and second == "*" and first != "*")
    inner, outer = (second, first) if right_first else (first, second)
    x, y = (b, c) if right_first else (a, b)
    if inner == "-" and x < y:
        x, y = y, x
    start = OPERATIONS[inner](x, y)
    left, right = (a, start.number) if right_first else (start.number, c)
    if outer == "-" and left < right:
        outer = "+"
    end = OPERATIONS[outer](left, right)
    if bracketed:
        why = "First the brackets"
    elif right_first:
        why = "Multiplication comes first"
    else:
        why = "From left to right"
    part = f"{x}{space}{inner}{space}{y}"
    if bracketed:
        part = f"({part})"
    text = f"{a}{space}{outer}{space}{part}" if right_first else f"{part}{space}{outer}{space}{c}"
    if r.random() < 0.3:
        text = text.replace("*", "×")
    thinking = f"{why}: {x}{inner}{y}. {start.text} Then {left}{outer}{right}. {end.text}"
    return Problem(ask_for(r, text), Worked(thinking, end.value))


def _digits(r: random.Random) -> int:
    return r.choice([1, 1, 2, 2, 2, 3, 3, 4])


def _number(r: random.Random, digits: int) -> int:
    return r.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def _factors(r: random.Random) -> tuple[int, int]:
    size = r.random()
    if size < 0.4:
        a, b = _number(r, _digits(r)), _number(r, 1)
    elif size < 0.75:
        a, b = _number(r, 2), _number(r, 2)
    elif size < 0.9:
        a, b = _number(r, 3), _number(r, 2)
    else:
        a = _number(r, r.choice([3, 4]))
        b = _number(r, r.choice([2, 3]))
    return (b, a) if r.random() < 0.3 else (a, b)


def _story_numbers(r: random.Random, sign: str) -> tuple[int, int]:
    if sign == "*":
        return r.randint(2, 99), r.randint(2, 30)
    if sign == "/":
        friends = r.randint(2, 12)
        return friends * r.randint(1, 99), friends
    a, b = r.randint(2, 500), r.randint(2, 500)
    return (max(a, b), min(a, b)) if sign == "-" else (a, b)


def _two_steps(r: random.Random, person: str, other: str, things: str) -> Problem:
    a = r.randint(2, 200)
    b = r.randint(2, 200)
    c = r.randint(1, 100)
    c = min(c, a + b - 1)
    total = add(a, b)
    left = subtract(total.number, c)
    question = (
        f"{person} has {a} {things}, gets {b} more and then gives {c} to {other}. How many"
        f" {things} does {person} have now?"
    )
    thinking = f"First the sum of {a} and {b}: {total.text} Then take away {c}: {left.text}"
    return Problem(question, Worked(thinking, left.value), f" {things}")
