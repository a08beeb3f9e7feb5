"""Calculations beyond the four operations on two whole numbers.

Each reasons in steps that are small enough to be read off, as :mod:`make_nano.arithmetic` does.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from make_nano.problems import Problem

from .comparisons import comparison
from .dates import date_difference, leap_year, month, weekday
from .expressions import decimal_division, long_expression, mixed_decimals
from .long_operations import large_product, long_division
from .measures import measure
from .percentages import percentage
from .powers import any_power, factorial
from .spelling import letter_count
from .told_stories import told_story
from .word_problems import story_in_steps

__all__ = ["CALCULATIONS", "calculation", "comparison", "long_expression"]
ENDS = ("?", "?", "", ".", " ?")
CALCULATIONS: tuple[tuple[Callable[[random.Random, str], Problem], float], ...] = (
    (long_expression, 8),
    (mixed_decimals, 4),
    (decimal_division, 1),
    (percentage, 4),
    (any_power, 3),
    (factorial, 1.5),
    (comparison, 6),
    (letter_count, 2),
    (weekday, 2),
    (month, 2),
    (date_difference, 1),
    (leap_year, 0.7),
    (measure, 3),
    (long_division, 6),
    (large_product, 5),
    (story_in_steps, 5),
    (told_story, 9),
)
_DRAWS, _WEIGHTS = zip(*CALCULATIONS, strict=True)


def calculation(r: random.Random) -> Problem:
    draw: Callable[[random.Random, str], Problem] = r.choices(_DRAWS, _WEIGHTS)[0]
    return draw(r, r.choice(ENDS))
