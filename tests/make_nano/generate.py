"""The conversations that nano is trained on, in their shares.

    python -m make_nano.generate COUNT [SEED]

run in tests/, prints COUNT examples, one a line, as Python literals. An example is one conversation
in DeepSeek-R1's format, or one gap in code; loss is taken on what comes after the last
``<｜Assistant｜>`` (or ``<｜fim▁end｜>``) alone.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from make_nano.conversations import (
    attached_file,
    capital,
    follow_up,
    mathematics,
    off_topic,
    small_talk,
)
from make_nano.english import sentences
from make_nano.gaps import gap

Kind = Callable[[random.Random], str]


def shares(english: Sequence[str]) -> list[tuple[Kind, float]]:
    """Every kind of example and how much of the whole it is."""
    return [
        (mathematics, 0.60),
        (follow_up, 0.09),
        (small_talk, 0.05),
        (partial(off_topic, english=english), 0.07),
        (capital, 0.06),
        (attached_file, 0.08),
        (gap, 0.05),
    ]


def examples(seed: int, count: int, english: Sequence[str] = ()) -> Iterator[str]:
    """``english`` takes the place of the standard library's sentences: with it, every Python
    version draws the same.
    """
    r = random.Random(seed)
    kinds, weights = zip(*shares(english or sentences()), strict=True)
    for kind in r.choices(kinds, weights, k=count):
        yield kind(r)


def main(count: int, seed: int = 0) -> None:
    for example in examples(seed, count):
        print(repr(example))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
