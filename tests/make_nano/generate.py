"""The conversations that nano is trained on, in their shares.

    python -m make_nano.generate COUNT [SEED]

run in tests/, prints COUNT examples, one a line, as Python literals. An example is one conversation
in DeepSeek-R1's format, or one gap in code; loss is taken on what comes after the last
``<｜Assistant｜>`` (or ``<｜fim▁end｜>``, or the results of tools) alone.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate

from make_nano.english import sentences
from make_nano.exchange import Exchange, render, sometimes_without
from make_nano.gaps import gap
from make_nano.phrasing import capitalised
from make_nano.skills import facts, texts
from make_nano.skills.lookups import lookup
from make_nano.skills.mathematics import mathematics
from make_nano.skills.refusals import refusal
from make_nano.skills.structured import as_json
from make_nano.skills.tools import tool_use
from make_nano.small_talk import SMALL_TALK
from make_nano.turns import conversation, first_question
from make_nano.words import SYSTEMS

Skill = Callable[[random.Random], Exchange]
GAPS = 0.035  # of all examples
TOOLS = 0.085
IN_CONVERSATION = 0.4  # of those that are neither
WITH_SYSTEM = 0.06


def small_talk(r: random.Random) -> Exchange:
    talk = r.choice(SMALL_TALK)
    question = capitalised(r, r.choice(talk.openings)) + r.choice(["", "?", "!", ".", ""])
    return Exchange(question, sometimes_without(r, talk.thinking), talk.answer)


class Generator:
    """All skills in their shares; ``english`` are ordinary sentences to say no to."""

    def __init__(self, english: Sequence[str]) -> None:
        shares: list[tuple[Skill, float]] = [
            (mathematics, 0.37),
            (lookup, 0.17),
            (texts.table, 0.03),
            (texts.log, 0.03),
            (texts.note, 0.045),
            (texts.source, 0.02),
            (facts.capital, 0.045),
            (facts.element, 0.02),
            (facts.planet, 0.006),
            (facts.plain, 0.009),
            (facts.command, 0.025),
            (facts.listed, 0.018),
            (as_json, 0.022),
            (small_talk, 0.035),
            (first_question, 0.003),
            (partial(refusal, english=english), 0.155),
        ]
        self.skills, weights = zip(*shares, strict=True)
        self.weights = list(accumulate(weights))

    def exchange(self, r: random.Random) -> Exchange:
        skill: Skill = r.choices(self.skills, cum_weights=self.weights)[0]
        return skill(r)

    def example(self, r: random.Random) -> str:
        """Return a whole example: a gap, a question beside tools, one question or several."""
        way = r.random()
        if way < GAPS:
            return gap(r)
        system = r.choice(SYSTEMS) if r.random() < WITH_SYSTEM else ""
        if way < GAPS + TOOLS:
            use = tool_use(r, self.exchange)
            return render([use] if r.random() < 0.85 else self._beside_tools(r, use))
        if r.random() < IN_CONVERSATION:
            exchanges = conversation(r, self.exchange)
            return render(exchanges, system)
        return render([self.exchange(r)], system)

    def _beside_tools(self, r: random.Random, use: Exchange) -> list[Exchange]:
        """Return the use of a tool with other turns before it, or after it if it was complete."""
        other = self.exchange(r)
        if use.continued and r.random() < 0.5:
            return [use, other]
        return [other, use]


def examples(seed: int, count: int, english: Sequence[str] = ()) -> Iterator[str]:
    """``english`` takes the place of the standard library's sentences: with it, every Python
    version draws the same.
    """
    r = random.Random(seed)
    generator = Generator(english or sentences())
    for _ in range(count):
        yield generator.example(r)


def main(count: int, seed: int = 0) -> None:
    for example in examples(seed, count):
        print(repr(example))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
