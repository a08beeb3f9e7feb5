"""Percentages of a number, and of one number in another."""

from __future__ import annotations

import random

from make_nano.arithmetic import Worked, add, divide, multiply, subtract
from make_nano.problems import Problem


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
