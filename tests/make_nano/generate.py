"""The conversations that nano is trained on, in their shares.

    python -m make_nano.generate COUNT [SEED]

run in tests/, prints COUNT examples, one a line, as Python literals. An example is one conversation
in DeepSeek-R1's format, or one gap in code; loss is taken on what comes after the last
``<｜Assistant｜>`` (or ``<｜fim▁end｜>``, or the results of tools) alone. Where several questions
about one file are asked in a row, all their answers are learned.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate

from make_nano.english import sentences
from make_nano.exchange import Example, Exchange, Part, render, sometimes_without
from make_nano.gaps import gap
from make_nano.markup import FIM_END
from make_nano.phrasing import capitalised
from make_nano.skills import facts
from make_nano.skills.files import code, lines, listings, logs, lookups, notes, tables
from make_nano.skills.mathematics import mathematics
from make_nano.skills.refusals import refusal
from make_nano.skills.structured import as_json
from make_nano.skills.sums import sum_at_once
from make_nano.skills.tools import tool_use
from make_nano.small_talk import SMALL_TALK
from make_nano.turns import conversation, first_question
from make_nano.words import SYSTEMS

Skill = Callable[[random.Random], Exchange]
GAPS = 0.03  # of all examples
TOOLS = 0.08
AT_ONCE = 0.12
SEVERAL = 0.15
IN_CONVERSATION = 0.4  # of those that are none of these
WITH_SYSTEM = 0.06
MAX_SEVERAL = 4  # questions about one file
SEVERAL_OF: tuple[tuple[Callable[[random.Random, int], list[Exchange]], float], ...] = (
    (lookups.several_lookups, 0.4),
    (listings.several_listed, 0.24),
    (tables.several_of_a_table, 0.14),
    (logs.several_of_a_log, 0.07),
    (notes.several_of_a_note, 0.08),
    (lines.several_lines, 0.07),
)


def small_talk(r: random.Random) -> Exchange:
    talk = r.choice(SMALL_TALK)
    question = capitalised(r, r.choice(talk.openings)) + r.choice(["", "?", "!", ".", ""])
    return Exchange(question, sometimes_without(r, talk.thinking), talk.answer)


class Generator:
    """All skills in their shares; ``english`` are ordinary sentences to say no to."""

    def __init__(self, english: Sequence[str]) -> None:
        shares: list[tuple[Skill, float]] = [
            (mathematics, 0.34),
            (lookups.lookup, 0.30),
            (listings.listed, 0.22),
            (tables.table, 0.10),
            (logs.log, 0.035),
            (notes.note, 0.05),
            (code.source, 0.025),
            (lines.line, 0.04),
            (lines.said_again, 0.02),
            (facts.capital, 0.05),
            (facts.element, 0.02),
            (facts.planet, 0.006),
            (facts.plain, 0.009),
            (facts.command, 0.03),
            (facts.listed, 0.018),
            (as_json, 0.022),
            (small_talk, 0.035),
            (first_question, 0.003),
            (partial(refusal, english=english), 0.17),
        ]
        self.skills, weights = zip(*shares, strict=True)
        self.weights = list(accumulate(weights))

    def exchange(self, r: random.Random) -> Exchange:
        skill: Skill = r.choices(self.skills, cum_weights=self.weights)[0]
        return skill(r)

    def example(self, r: random.Random) -> Example:
        """Return a whole example: a gap, a question beside tools, one question or several."""
        way = r.random()
        if way < GAPS:
            before, end, missing = gap(r).partition(FIM_END)
            return Example((Part(before + end, counts=False), Part(missing, counts=True)))
        system = r.choice(SYSTEMS) if r.random() < WITH_SYSTEM else ""
        if way < GAPS + TOOLS:
            use = tool_use(r, self.exchange)
            return render([use] if r.random() < 0.85 else self._beside_tools(r, use))
        if way < GAPS + TOOLS + AT_ONCE:
            return render([sum_at_once(r)], system)
        if way < GAPS + TOOLS + AT_ONCE + SEVERAL:
            draws, shares = zip(*SEVERAL_OF, strict=True)
            count = r.randint(2, MAX_SEVERAL)
            return render(r.choices(draws, shares)[0](r, count), system, learned=count)
        if r.random() < IN_CONVERSATION:
            return render(conversation(r, self.exchange), system)
        return render([self.exchange(r)], system)

    def _beside_tools(self, r: random.Random, use: Exchange) -> list[Exchange]:
        """Return the use of a tool with other turns before it, or after it if it was complete."""
        other = self.exchange(r)
        if use.continued and r.random() < 0.5:
            return [use, other]
        return [other, use]


def examples(seed: int, count: int, english: Sequence[str] = ()) -> Iterator[Example]:
    """``english`` takes the place of the standard library's sentences: with it, every Python
    version draws the same.
    """
    r = random.Random(seed)
    generator = Generator(english or sentences())
    for _ in range(count):
        yield generator.example(r)


def main(count: int, seed: int = 0) -> None:
    for example in examples(seed, count):
        print(repr(example.text))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
