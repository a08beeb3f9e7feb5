"""Calculations beyond the four operations on two whole numbers: longer expressions, decimals,
percentages, powers, factorials, comparisons, the calendar, and stories of two and three steps.

Each reasons in steps that are small enough to be read off, as :mod:`make_nano.arithmetic` does.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

from make_nano import lexicon
from make_nano.arithmetic import Worked, add, divide, multiply, subtract
from make_nano.lexicon import MONTHS, WEEKDAYS
from make_nano.phrasing import ask_for
from make_nano.problems import Problem
from make_nano.words import NAMES, THINGS

ENDS = ("?", "?", "", ".", " ?")
DAYS_IN = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
CALCULATE = {"+": add, "-": subtract, "*": multiply, "/": divide}


def steps(*parts: tuple[str, int, int]) -> tuple[str, int]:
    """Return the text of operations one after the other, and the last result."""
    texts = []
    result = 0
    for sign, a, b in parts:
        worked = CALCULATE[sign](a, b)
        texts.append(f"{a}{sign}{b}: {worked.text}")
        result = worked.number
    return " Then ".join(texts), result


class Expression:
    """A tree of operations whose every result is a whole number from 0 on."""

    def __init__(self, text: str, value: int, worked: list[str], tight: int) -> None:
        self.text = text
        self.value = value
        self.worked = worked
        self.tight = tight  # 3 for a number, 2 for * and /, 1 for + and -

    @classmethod
    def number(cls, n: int) -> Expression:
        return cls(str(n), n, [], 3)

    def joined(self, sign: str, other: Expression) -> Expression:
        level = 2 if sign in "*/" else 1
        left = f"({self.text})" if self.tight < level else self.text
        brackets = other.tight < level or (other.tight == level and sign in "-/")
        right = f"({other.text})" if brackets else other.text
        worked = CALCULATE[sign](self.value, other.value)
        step = f"{self.value}{sign}{other.value}: {worked.text}"
        steps = [*self.worked, *other.worked, step]
        return Expression(f"{left} {sign} {right}", worked.number, steps, level)


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
    thinking = "I go from the inside out. " + " Then ".join(whole.worked)
    return Problem(ask_for(r, text), Worked(thinking, whole.value))


def _tree(r: random.Random, leaves: int) -> Expression:
    if leaves == 1:
        return Expression.number(r.randint(1, 40) if r.random() < 0.8 else r.randint(1, 200))
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


def percentage(r: random.Random, end: str) -> Problem:
    """Return a share, an increase, a discount, or which share one number is of another."""
    way = r.randrange(4)
    share = r.choice([1, 2, 3, 4, 5, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 75, 80, 90])
    n = r.randint(1, 40) * (20 if share % 5 == 0 else 100)
    product = multiply(share, n)
    part = product.number // 100
    text = f"{share}% of {n} is {share}*{n} divided by 100. {product.text} So it is {part}."
    if way == 0:
        question = r.choice(
            [
                f"What is {share}% of {n}",
                f"{share}% of {n}",
                f"How much is {share} percent of {n}",
                f"{share} percent of {n}",
                f"Calculate {share}% of {n}",
                f"Find {share} % of {n}",
            ]
        )
        return Problem(question + end, Worked(text, part))
    if way == 1:
        total = add(n, part)
        question = r.choice(
            [
                f"Increase {n} by {share}%",
                f"{n} plus {share}%",
                f"What is {n} increased by {share} percent",
                f"A price of {n} rises by {share}%. What is the new price",
                f"Add {share}% to {n}",
            ]
        )
        return Problem(question + end, Worked(f"{text} Then {n}+{part}: {total.text}", total.value))
    if way == 2:
        rest = subtract(n, part)
        question = r.choice(
            [
                f"Decrease {n} by {share}%",
                f"{n} minus {share}%",
                f"A coat costs {n} euros. With {share}% off, what does it cost",
                f"What is {n} with a discount of {share}%",
                f"Take {share}% off {n}",
            ]
        )
        return Problem(question + end, Worked(f"{text} Then {n}-{part}: {rest.text}", rest.value))
    times = multiply(part, 100)
    back = divide(times.number, n)
    question = r.choice(
        [
            f"What percent of {n} is {part}",
            f"{part} is what percent of {n}",
            f"How many percent of {n} are {part}",
        ]
    )
    thinking = f"I need {part}*100 divided by {n}. {part}*100 = {times.value}. {back.text}"
    return Problem(question + end, Worked(thinking, f"{share}%"))


def any_power(r: random.Random, end: str) -> Problem:
    base = r.randint(2, 12)
    most = next(n for n in range(2, 30) if base ** (n + 1) > 10**6)
    exponent = r.randint(2, min(most, 20))
    written, value = [], base
    for _ in range(exponent - 1):
        written.append(f"{value}*{base}={value * base}")
        value *= base
    question = r.choice(
        [
            f"{base}^{exponent}",
            f"What is {base}^{exponent}",
            f"{base}**{exponent}",
            f"{base} to the power of {exponent}",
            f"What is {base} to the power of {exponent}",
            f"calculate {base} ^ {exponent}",
            f"{base} to the {exponent}th power",
        ]
    )
    thinking = f"That is {exponent} factors of {base}. {', '.join(written)}."
    return Problem(question + end, Worked(thinking, value))


def factorial(r: random.Random, end: str) -> Problem:
    n = r.randint(0, 9)
    value, written = 1, []
    for factor in range(2, n + 1):
        written.append(f"{value}*{factor}={value * factor}")
        value *= factor
    question = r.choice(
        [
            f"{n}!",
            f"What is {n}!",
            f"{n} factorial",
            f"What is the factorial of {n}",
            f"the factorial of {n}",
            f"Calculate {n}!",
            f"compute {n}!",
        ]
    )
    thinking = f"I multiply 1 to {n}: {', '.join(written) or 'there is only 1'}."
    return Problem(question + (end if end != "." else "?"), Worked(thinking, value))


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
    if r.random() < 0.3:
        form, larger = r.choice(YES_NO)
        yes = x > y if larger else x < y
        word = "larger" if larger else "smaller"
        said = f"Yes, {a} is {word} than {b}." if yes else f"No, {a} is not {word} than {b}."
        return Problem(form.format(a=a, b=b) + "?", Worked(f"{thinking} {said}", said), whole=True)
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
        sizes = f"{m} has {len(str(m))} digits and {n} has {len(str(n))}."
        return str(m), str(n), f"{sizes} I compare from the left."
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
        f" {whole}.{y}. Now {x} against {y}."
    )
    return a, b, thinking


def weekday(r: random.Random, _end: str) -> Problem:
    start, n = r.randrange(7), r.randint(1, 40)
    forward = r.random() < 0.7
    one = r.random() < 0.35
    n = 1 if one else n
    name = WEEKDAYS[start]
    end = WEEKDAYS[(start + n) % 7 if forward else (start - n) % 7]
    forms: list[tuple[str, ...]]
    if one:
        forms = [
            (
                "what day comes after {d}",
                "which day follows {d}",
                "what is the day after {d}",
                "today is {d}, what day is tomorrow",
            ),
            (
                "what day comes before {d}",
                "which day is before {d}",
                "today is {d}, what day was yesterday",
                "what is the day before {d}",
            ),
        ]
        question = r.choice(forms[0] if forward else forms[1]).format(d=name)
        thinking = f"The days in order: {', '.join(WEEKDAYS)}."
    else:
        forms = [
            (
                "what day is {n} days after {d}",
                "today is {d}. What day is it in {n} days",
                "which weekday is {n} days after {d}",
                "if today is {d}, what day will it be in {n} days",
                "{d} plus {n} days",
            ),
            (
                "what day was {n} days before {d}",
                "which weekday is {n} days before {d}",
                "today is {d}. What day was it {n} days ago",
            ),
        ]
        question = r.choice(forms[0] if forward else forms[1]).format(d=name, n=n)
        rest = n % 7
        walk = [WEEKDAYS[(start + i) % 7 if forward else (start - i) % 7] for i in range(rest + 1)]
        thinking = f"{n} days are {n // 7} weeks and {rest} days. I count: {', '.join(walk)}."
    answer = f"It is {end}."
    question = question[0].upper() + question[1:] + "?"
    return Problem(question, Worked(f"{thinking} So it is {end}.", answer), whole=True)


def month(r: random.Random, end: str) -> Problem:
    at = r.randrange(12)
    name = MONTHS[at]
    way = r.randrange(4)
    if way == 0:
        question = r.choice(
            [
                f"How many days does {name} have",
                f"how many days are in {name}",
                f"days in {name}",
                f"How many days has {name}",
            ]
        )
        also = ", and 29 in a leap year" if at == 1 else ""
        answer = f"{name} has {DAYS_IN[at]} days{also}."
        thinking = f"{name} is month {at + 1}. It has {DAYS_IN[at]} days."
    elif way == 1:
        n = r.randint(1, 11)
        after = MONTHS[(at + n) % 12]
        months = "1 month" if n == 1 else f"{n} months"
        question = r.choice(
            [f"Which month is {months} after {name}", f"What month comes {months} after {name}"]
        )
        answer = f"{after} is {months} after {name}."
        walk = ", ".join(MONTHS[(at + i) % 12] for i in range(1, n + 1))
        thinking = f"I count from {name}: {walk}."
    elif way == 2:
        question = r.choice(
            [
                f"Which month is number {at + 1}",
                f"What is month {at + 1}",
                f"what is the {at + 1}th month",
            ]
        )
        answer = f"Month {at + 1} is {name}."
        thinking = f"I count: {', '.join(MONTHS[: at + 1])}."
    else:
        first, n = r.randint(1, 27), r.randint(1, 60)
        total = first + n
        if total > DAYS_IN[at] * 2 - 3 or at == 1:
            return month(r, end)
        question = r.choice(
            [
                f"What date is {n} days after {first} {name}",
                f"{first} {name} plus {n} days",
                f"which date is {n} days after {name} {first}",
            ]
        )
        thinking = f"{first}+{n} = {total}. {name} has {DAYS_IN[at]} days."
        if total <= DAYS_IN[at]:
            answer = f"It is {total} {name}."
        else:
            left = total - DAYS_IN[at]
            after = MONTHS[(at + 1) % 12]
            if left > DAYS_IN[(at + 1) % 12]:
                return month(r, end)
            thinking += f" {total}-{DAYS_IN[at]} = {left}, in {after}."
            answer = f"It is {left} {after}."
    return Problem(question + end, Worked(thinking, answer), whole=True)


def date_difference(r: random.Random, end: str) -> Problem:
    at = r.randrange(12)
    first, last = sorted(r.sample(range(1, DAYS_IN[at] + 1), 2))
    name = MONTHS[at]
    worked = subtract(last, first)
    question = r.choice(
        [
            f"How many days are from {first} {name} to {last} {name}",
            f"How many days are between {name} {first} and {name} {last}",
            f"days from {first} to {last} {name}",
        ]
    )
    thinking = f"Both are in {name}, so I need {last}-{first}. {worked.text}"
    return Problem(question + end, Worked(thinking, worked.value), " days")


def leap_year(r: random.Random, _end: str) -> Problem:
    year = r.randint(1890, 2110)
    rest4, leap = year % 4, year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    thinking = f"{year} divided by 4 leaves {rest4}."
    if year % 100 == 0:
        thinking += f" It ends in 00, and divided by 400 it leaves {year % 400}."
    answer = f"Yes, {year} is a leap year." if leap else f"No, {year} is not a leap year."
    question = r.choice(["Is {} a leap year", "is {} a leap year", "was {} a leap year"])
    return Problem(question.format(year) + "?", Worked(thinking, answer), whole=True)


MEASURES = (
    (1000, "km", "m"),
    (100, "m", "cm"),
    (10, "cm", "mm"),
    (1000, "m", "mm"),
    (1000, "kg", "g"),
    (1000, "tons", "kg"),
    (1000, "liters", "ml"),
    (60, "hours", "minutes"),
    (24, "days", "hours"),
    (60, "minutes", "seconds"),
    (7, "weeks", "days"),
    (12, "years", "months"),
    (100, "euros", "cents"),
    (100, "dollars", "cents"),
    (12, "dozen", "pieces"),
    (1000, "GB", "MB"),
    (8, "bytes", "bits"),
    (1000, "kilometers", "meters"),
    (100, "meters", "centimeters"),
    (52, "years", "weeks"),
    (12, "feet", "inches"),
    (3, "yards", "feet"),
    (1024, "KiB", "bytes"),
    (1024, "GiB", "MiB"),
)


def measure(r: random.Random, end: str) -> Problem:
    """Return a conversion of units, to the smaller or to the larger one."""
    factor, large, small = r.choice(MEASURES)
    n = r.randint(1, 99)
    total = n * factor
    if r.random() < 0.6 or total > 10**5:
        question = r.choice(
            [
                f"Convert {n} {large} to {small}",
                f"How many {small} are {n} {large}",
                f"{n} {large} in {small}",
                f"{n} {large} to {small}",
                f"How many {small} are in {n} {large}",
                f"what is {n} {large} in {small}",
            ]
        )
        worked = multiply(n, factor)
        thinking = f"1 of the {large} is {factor} {small}, so I need {n}*{factor}. {worked.text}"
        return Problem(question + end, Worked(thinking, total), f" {small}")
    worked = divide(total, factor)
    if factor > 99:
        worked = Worked(f"{total} has {n} times {factor}. So {total}/{factor} = {n}.", n)
    question = r.choice(
        [
            f"Convert {total} {small} to {large}",
            f"How many {large} are {total} {small}",
            f"{total} {small} in {large}",
            f"{total} {small} to {large}",
        ]
    )
    thinking = f"1 of the {large} is {factor} {small}, so I need {total}/{factor}. {worked.text}"
    return Problem(question + end, Worked(thinking, n), f" {large}")


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
    _per_day,
    _three_piles,
    _take_twice,
    _age,
)
CALCULATIONS: tuple[tuple[Callable[[random.Random, str], Problem], float], ...] = (
    (long_expression, 5),
    (mixed_decimals, 4),
    (decimal_division, 1),
    (percentage, 4),
    (any_power, 2),
    (factorial, 1.5),
    (comparison, 4),
    (weekday, 2),
    (month, 2),
    (date_difference, 1),
    (leap_year, 0.7),
    (measure, 3),
    (long_division, 6),
    (large_product, 5),
    (story_in_steps, 7),
)
_DRAWS, _WEIGHTS = zip(*CALCULATIONS, strict=True)


def calculation(r: random.Random) -> Problem:
    draw: Callable[[random.Random, str], Problem] = r.choices(_DRAWS, _WEIGHTS)[0]
    return draw(r, r.choice(ENDS))
