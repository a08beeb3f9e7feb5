"""Weekdays, months, days between dates, and leap years."""

from __future__ import annotations

import random

from make_nano.arithmetic import Worked, subtract
from make_nano.lexicon import MONTHS, WEEKDAYS
from make_nano.problems import Problem

DAYS_IN = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


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
