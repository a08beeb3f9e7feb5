"""Say whether two final answers are the same, and which of several most samples gave."""

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
