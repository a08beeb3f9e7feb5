"""Sums answered at once, after a block of reasoning that whoever asks has left empty."""

from __future__ import annotations

import random

from make_nano.arithmetic import OPERATIONS
from make_nano.exchange import Exchange
from make_nano.phrasing import DIRECTIVE, ask, final
from make_nano.problems import expression, operands, story

WITH_DIRECTIVE = 0.6
STORIES, EXPRESSIONS = 0.18, 0.12  # the rest are single operations


def sum_at_once(r: random.Random) -> Exchange:
    """Return a sum whose answer comes without any steps: mental arithmetic."""
    way = r.random()
    unit = ""
    if way < STORIES + EXPRESSIONS:
        problem = story(r) if way < STORIES else expression(r)
        question, value = problem.question, problem.worked.value
        unit = problem.unit
    else:
        sign, a, b = operands(r)
        question, value = ask(r, sign, a, b), OPERATIONS[sign](a, b).value
    boxed = r.random() < WITH_DIRECTIVE
    if boxed:
        question = f"{question}\n{DIRECTIVE}"
    return Exchange(question, None, final(value, boxed=boxed, unit=unit), bypassed=True)
