"""Conversions of units."""

from __future__ import annotations

import random

from make_nano.arithmetic import Worked, divide, multiply
from make_nano.problems import Problem

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
