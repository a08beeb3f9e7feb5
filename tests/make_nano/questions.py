"""Fresh questions with known answers, for evaluations and tests, and the judge of what a model says
to them.

    text, expected = question(random.Random(1))
    right(model_says, expected)

They come from the generator that nano learned from, so they are fresh, not foreign: a small sum may
well have been in training. No question carries R1's directive, a system prompt or a remark;
``phrasing.DIRECTIVE`` is there to be added.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial

from make_nano import puzzles
from make_nano.arithmetic import OPERATIONS
from make_nano.phrasing import ask
from make_nano.problems import Problem, expression, operands, story

Answer = int | str  # a text where one number does not say it: "3 remainder 1", "0.75", "2, 5, 9"
Question = tuple[str, Answer]
_NUMBER = re.compile(r"(?:(?<!\d)[-−])?\d+(?:,\d{3})*(?:\.\d+)?")


def question(r: random.Random, kind: str = "mixed") -> Question:
    """One of ``KINDS``; mixed is 70 operations, 18 stories and 12 expressions in 100."""
    return KINDS[kind](r)


def right(answer: str, expected: Answer) -> bool:
    """Whether ``answer`` ends with the numbers of ``expected``: words, units, a box or JSON around
    them do not matter.
    """
    wanted = numbers(str(expected))
    return numbers(answer)[-len(wanted) :] == wanted


def numbers(text: str) -> list[Decimal]:
    """Every number in ``text``, thousands separated by commas or not."""
    return [Decimal(found.replace(",", "").replace("−", "-")) for found in _NUMBER.findall(text)]


def _mixed(r: random.Random) -> Question:
    if r.random() < 0.3:
        return _bare(story(r) if r.random() < 0.6 else expression(r))
    return _operation(r)


def _operation(r: random.Random) -> Question:
    sign, a, b = operands(r)
    return ask(r, sign, a, b), OPERATIONS[sign](a, b).value


def _bare(problem: Problem) -> Question:
    return problem.question, problem.worked.value


def _problem(r: random.Random, draw: Callable[[random.Random], Problem]) -> Question:
    return _bare(draw(r))


def _puzzle(r: random.Random, draw: Callable[[random.Random, str], Problem]) -> Question:
    return _bare(draw(r, "?"))


KINDS: dict[str, Callable[[random.Random], Question]] = {
    "mixed": _mixed,
    "operation": _operation,
    **{draw.__name__: partial(_problem, draw=draw) for draw in (story, expression)},
    **{
        draw.__name__: partial(_puzzle, draw=draw)
        for draw in puzzles.PUZZLES
        if draw is not puzzles.prime
    },  # which asks yes or no
}
