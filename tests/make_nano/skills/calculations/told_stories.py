"""Word problems as people tell them, written down in ``told_stories.txt``.

A line is ``TEXT ~~ STEPS ~~ UNIT``; the unit may be missing. In the text

* ``{a:2-30}`` is a number, named by a letter, and ``{a:half 1-9}`` one of 1.5, 2.5 and so on;
* ``{a:*b 2-60}`` is a multiple of ``b``, ``{a:+b 1-9}`` is larger by 1 to 9, ``{a:<b}`` is smaller;
* ``{a}`` repeats a number, ``{p}`` and ``{q}`` are names, ``{t}`` are things, ``{x|y}`` a choice.

STEPS are operations on two numbers, separated by ``;``: ``s = a*b; s+c``. A number is a letter, the
name of a step before it, or a whole number. ``b`` above may be any of these, too.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path

from make_nano import lexicon
from make_nano.arithmetic import CALCULATE, Worked
from make_nano.problems import Problem
from make_nano.words import NAMES, THINGS

FILE = Path(__file__).with_name("told_stories.txt")
PLACE = re.compile(r"\{(?:([a-z])(?::([^{}|]+))?|([^{}]*\|[^{}]*))\}")
STEP = re.compile(r"(?:(\w+) = )?(\w+)([-+*/])(\w+)")
TRIES = 50


@dataclass(frozen=True)
class Step:
    name: str
    left: str
    sign: str
    right: str


@dataclass(frozen=True)
class Story:
    text: str
    steps: tuple[Step, ...]
    unit: str = ""


@cache
def stories() -> tuple[Story, ...]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return tuple(parsed(line) for line in lines if line and not line.startswith("#"))


def parsed(line: str) -> Story:
    """Return the story of a line. Raises ValueError where a step cannot be read."""
    text, steps, *unit = (part.strip() for part in line.split("~~"))
    found = []
    for each in steps.split(";"):
        match = STEP.fullmatch(each.strip())
        if not match:
            raise ValueError(f"not a step: {each}")
        found.append(Step(match[1] or "", match[2], match[3], match[4]))
    return Story(text, tuple(found), f" {unit[0]}" if unit and unit[0] else "")


def told_story(r: random.Random, _end: str) -> Problem:
    """Return a word problem in people's words."""
    while True:
        problem = _Telling(r, r.choice(stories())).problem()
        if problem:
            return problem


@dataclass
class _Telling:
    """One way to fill a story's places."""

    r: random.Random
    story: Story
    numbers: dict[str, Decimal] = field(default_factory=dict)

    def problem(self) -> Problem | None:
        """Return the problem; None where a number does not come out even, or below 0."""
        try:
            written = [self._written(step) for step in self.story.steps]
        except ArithmeticError:
            return None
        people = self.r.sample(NAMES, 2)
        if self.r.random() < 0.3:
            people[0] = lexicon.name(self.r)
        words = {"p": people[0], "q": people[1], "t": self.r.choice(THINGS)}

        def filled(place: re.Match[str]) -> str:
            if place[3]:
                return str(self.r.choice(place[3].split("|")))
            return words.get(place[1]) or f"{self._number(place[1])}"

        text = PLACE.sub(filled, self.story.text)
        unit = PLACE.sub(filled, self.story.unit)
        value = self._of_step(self.story.steps[-1])
        result = int(value) if value == int(value) else str(value)
        return Problem(text, Worked(" Then ".join(written), result), unit)

    def _number(self, name: str) -> Decimal:
        """Return what a letter, a step's name or a number stands for."""
        if name.isdigit():
            return Decimal(name)
        if name not in self.numbers:
            step = next((each for each in self.story.steps if each.name == name), None)
            self.numbers[name] = self._of_step(step) if step else self._drawn(name)
        return self.numbers[name]

    def _drawn(self, name: str) -> Decimal:
        rule = next(m[2] for m in PLACE.finditer(self.story.text) if m[1] == name and m[2])
        kind, _, span = rule.rpartition(" ")
        if rule[0] == "<":
            other = int(self._number(rule[1:]))
            if other < 2:
                raise ArithmeticError
            return Decimal(self.r.randint(1, other - 1))
        low, high = span.split("-")
        drawn = Decimal(self.r.randint(int(low), int(high)))
        if kind == "half":
            return drawn + Decimal("0.5")
        if not kind:
            return drawn
        base = self._number(kind[1:])
        return _plain(drawn * base if kind[0] == "*" else drawn + base)

    def _of_step(self, step: Step) -> Decimal:
        a, b = self._number(step.left), self._number(step.right)
        if step.sign == "/" and (not b or a % b):
            raise ArithmeticError
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1)}[step.sign]
        if value < 0:
            raise ArithmeticError
        return _plain(value)

    def _written(self, step: Step) -> str:
        a, b = self._number(step.left), self._number(step.right)
        value = self._of_step(step)
        head = f"{a}{step.sign}{b}"
        places = max(_places(a), _places(b))
        if not places:
            return f"{head}: {CALCULATE[step.sign](int(a), int(b)).text}"
        if step.sign == "*":
            x, y = int(a.scaleb(_places(a))), int(b.scaleb(_places(b)))
            worked = CALCULATE["*"](x, y)
            decimals = _places(a) + _places(b)
            return (
                f"{head}, without points {x}*{y}: {worked.text} With {decimals} decimals "
                f"{worked.value} is {value}."
            )
        x, y = int(a * 10), int(b * 10)
        worked = CALCULATE[step.sign](x, y)
        if step.sign == "/":
            return f"{head}, both times ten {x}/{y}: {worked.text}"
        return f"{head}, in tenths {x}{step.sign}{y}: {worked.text} In whole {value}."


def _plain(n: Decimal) -> Decimal:
    return Decimal(int(n)) if n == int(n) else n.normalize()


def _places(n: Decimal) -> int:
    return 0 if n == int(n) else 1
