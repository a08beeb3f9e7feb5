r"""Compare final answers, and find the answer that most of several samples gave.

Answers are compared by rule, and exactly: fractions, never floating point. The text of a model is
read by a grammar of its own, with bounds on length, depth and work, and nothing in it is ever
evaluated as a program. What the grammar cannot read is compared as words, without case.

The rules:

- 50% is 0.5, and not 50.
- A unit that only one side gives is ignored, so 3 cm is 3; two units must be the same, so 3 cm is
  not 3 m. Nothing is converted.
- ``x = 5`` is 5, but not ``y = 5``. A chain such as ``x = 6/2 = 3`` is its last value.
- ``1,000`` is a thousand outside of brackets. ``1,2`` is a list, in any order, such as the set
  ``\{1,2\}``; ``(1,2)`` is a pair, in order.
- Inside of brackets the kind counts: (1,2) is not [1,2]. A matrix is one with any brackets.
- 0.333 is not 1/3, and 3.14 is not π: rounded is wrong. ``\log`` has base 10.
- A choice is its letter: (B), B. and ``\text{(B)}``; ``(B) 5`` is B, and also 5.

So answers that leave out a unit or a label are equivalent to answers that differ from each other: 3
is 3 cm, and 3 is 3 m. :func:`vote` counts an answer for the first class that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parsed_answer import Answer


@dataclass(frozen=True)
class Vote:
    """What most of several samples answered.

    Attributes:
        answer: The answer of the majority, as the first sample wrote it; None without a majority.
        votes: How many samples gave the answer that most gave.
        total: How many samples there were, with an answer or without.
    """

    answer: str | None
    votes: int
    total: int


@dataclass
class _AnswerClass:
    """Equivalent answers: the first of them as text and as it was read, and how many they are."""

    first: str
    parsed: Answer
    votes: int = 0


def is_equivalent(a: str, b: str) -> bool:
    """Return whether ``a`` and ``b`` are the same final answer. Any text is fine."""
    from .comparison import is_same
    from .parsed_answer import parse_answer, plain_spelling

    return plain_spelling(a) == plain_spelling(b) or is_same(parse_answer(a), parse_answer(b))


def vote(answers: Sequence[str | None]) -> Vote:
    """Return the answer that more samples gave than any other; half of them are not needed.

    Args:
        answers: The final answers of all samples; None for a sample without one.
    """
    from .parsed_answer import plain_spelling

    classes: list[_AnswerClass] = []
    by_spelling: dict[str, _AnswerClass] = {}
    for answer in answers:
        if answer is None:
            continue
        spelling = plain_spelling(answer)
        if spelling not in by_spelling:
            by_spelling[spelling] = _class_of(answer, classes)
        by_spelling[spelling].votes += 1
    most = max((found.votes for found in classes), default=0)
    largest = [found.first for found in classes if found.votes == most]
    return Vote(largest[0] if len(largest) == 1 else None, most, len(answers))


def _class_of(answer: str, classes: list[_AnswerClass]) -> _AnswerClass:
    """Return the first class that ``answer`` belongs to; a new one is added to ``classes``."""
    from .comparison import is_same
    from .parsed_answer import parse_answer

    parsed = parse_answer(answer)
    for found in classes:
        if is_same(parsed, found.parsed):
            return found
    classes.append(_AnswerClass(answer, parsed))
    return classes[-1]
