"""Every kind of calculation as an exchange, and the questions that go on from its result."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from make_nano.arithmetic import OPERATIONS
from make_nano.exchange import Exchange, sometimes_without
from make_nano.phrasing import DIRECTIVE, capitalised, final, finished
from make_nano.problems import Problem, bare, expression, story, worked_aloud
from make_nano.puzzles import puzzle
from make_nano.skills.calculations import calculation

MAX_GOING_ON = 99_999  # the largest result that a follow-up takes on
NEXT_STEPS = {
    "+": (
        "Now add {} to that.",
        "add {}",
        "plus {}?",
        "And plus {}?",
        "Add {} to it.",
        "and plus {}?",
        "plus {}",
        "and {} more?",
        "add another {}",
        "increase that by {}",
        "+ {}",
        "what if I add {}?",
        "now plus {}",
    ),
    "-": (
        "Now subtract {} from that.",
        "minus {}",
        "And minus {}?",
        "Take away {}.",
        "and minus {}?",
        "subtract {}",
        "now take away {}",
        "less {}",
        "- {}",
        "reduce it by {}",
        "what if I subtract {}?",
    ),
    "*": (
        "Now multiply that by {}.",
        "times {}",
        "And times {}?",
        "Multiply it by {}.",
        "and times {}?",
        "multiply by {}",
        "now times {}",
        "* {}",
        "{} times that",
        "and that times {}?",
    ),
    "/": (
        "Now divide that by {}.",
        "divided by {}",
        "And divided by {}?",
        "Divide it by {}.",
        "divide by {}",
        "and divided by {}?",
        "/ {}",
        "now divided by {}",
    ),
}
DOUBLE = ("Double it.", "double that", "now double it", "And doubled?", "twice that?", "doubled")
HALF = (
    "now halve it",
    "halve it",
    "Half of that?",
    "And half of it?",
    "half that",
    "now take half of it",
    "what is half of that?",
)
SQUARE = ("square it", "Now square that.", "and squared?")
MORE_EXAMPLES = (
    "And what is {}?",
    "and {}?",
    "And {}?",
    "what about {}?",
    "now {}",
    "{}",
    "Next: {}",
    "then {}?",
    "And {} then?",
    "ok, and {}?",
)


def mathematics(r: random.Random) -> Exchange:
    kind = r.random()
    if kind < 0.42:
        exchange, value = bare(r)
        return _with_next(exchange, value)
    if kind < 0.67:
        problem = calculation(r)
    elif kind < 0.79:
        problem = story(r)
    elif kind < 0.88:
        problem = expression(r)
    else:
        problem = puzzle(r)
    return from_problem(r, problem)


def from_problem(r: random.Random, problem: Problem) -> Exchange:
    """Return the exchange; one whose answer is a whole sentence gets no box."""
    if problem.whole:
        thinking = sometimes_without(r, problem.worked.text)
        question = problem.question
        if r.random() < 0.1:
            question += f"\n{DIRECTIVE}"
        return Exchange(question, thinking, str(problem.worked.value), problem.question)
    exchange = finished(r, problem.question, problem.worked, problem.unit)
    return _with_next(exchange, problem.worked.value)


def _with_next(exchange: Exchange, value: int | str) -> Exchange:
    if not isinstance(value, int) or not 0 <= value <= MAX_GOING_ON:
        return exchange
    return replace(exchange, follow=_next_step(value))


def _next_step(value: int) -> Callable[[random.Random], Exchange]:
    """Return what draws a question about ``value``, the result so far."""

    def draw(r: random.Random) -> Exchange:
        if r.random() < 0.15:
            return _another(r)
        question, sign, n = _operation(r, value)
        worked = worked_aloud(r, sign, value, n)
        boxed = r.random() < 0.25
        exchange = Exchange(
            capitalised(r, question) + (f"\n{DIRECTIVE}" if boxed else ""),
            f"The previous result was {value}. {worked.text}",
            final(worked.value, boxed=boxed),
            question,
        )
        return _with_next(exchange, worked.value)

    return draw


def _operation(r: random.Random, value: int) -> tuple[str, str, int]:
    """Return a question about ``value``, and which operation with which number it asks for."""
    sign = r.choice("++--**/")
    if value % 2 == 0 and r.random() < 0.12:
        return r.choice(HALF), "/", 2
    if r.random() < 0.08:
        return r.choice(DOUBLE), "*", 2
    if value < 100 and r.random() < 0.05:
        return r.choice(SQUARE), "*", value
    n = r.randint(1, 999) if r.random() < 0.3 else r.randint(1, 99)
    if sign == "*":
        n = r.randint(2, 9) if r.random() < 0.6 or value > 999 else r.randint(10, 99)
    if sign == "/":
        divisors = [d for d in range(2, 13) if value and value % d == 0]
        n = r.choice(divisors or [r.randint(2, 9)])
    if sign == "-" and n > value:
        sign = "+"
    return r.choice(NEXT_STEPS[sign]).format(n), sign, n


def _another(r: random.Random) -> Exchange:
    """Return a whole new sum that only begins like a follow-up."""
    sign = r.choice("+-*")
    a, b = r.randint(2, 99), r.randint(2, 99)
    a, b = (max(a, b), min(a, b)) if sign == "-" else (a, b)
    shown = r.choice([sign, {"+": "plus", "-": "minus", "*": "times"}[sign]])
    question = r.choice(MORE_EXAMPLES).format(f"{a} {shown} {b}")
    worked = worked_aloud(r, sign, a, b)
    boxed = r.random() < 0.5
    exchange = Exchange(
        question + (f"\n{DIRECTIVE}" if boxed else ""),
        worked.text,
        final(worked.value, boxed=boxed),
        question,
    )
    return _with_next(exchange, OPERATIONS[sign](a, b).value)
