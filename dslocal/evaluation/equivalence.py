"""Whether two final answers are the same, and which answer most of several samples gave.

By rule, and exactly: fractions, never floating point. Text of a model is read by a grammar of its
own, with bounds on length, depth and work, and nothing in it is ever evaluated as a program; what
the grammar cannot read is compared as words, without case.

Decided here:

- 50% is 0.5, and not 50.
- A unit that only one side gives is ignored, so 3 cm is 3; two units must be the same one, so 3 cm
is not 3 m. Nothing is converted.
- ``x = 5`` is 5, but not ``y = 5``. A chain such as ``x = 6/2 = 3`` is its last value.
- ``1,000`` is a thousand outside of brackets. ``1,2`` is a list, in any order, as the set
``\\{1,2\\}``; ``(1,2)`` is a pair, in order.
- Inside of brackets the kind counts: (1,2) is not [1,2]. A matrix is one with any brackets around
it.
- 0.333 is not 1/3, and 3.14 is not π: rounded is wrong. ``\\log`` has base 10.
- A choice is its letter: (B), B. and ``\\text{(B)}``; ``(B) 5`` is B, and also 5.

So a unit, or a label, that is left out makes two answers meet that are different: 3 cm, 3 and 3 m.
:func:`vote` counts an answer for the first class that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parsed_answer import Answer


@dataclass(frozen=True)
class Vote:
    """``answer`` is what most samples gave, in the words of the first that did; None without a
    majority.

    ``votes`` is the size of the largest class of equivalent answers, ``total`` the number of
    samples, those without an answer included.
    """

    answer: str | None
    votes: int
    total: int


def is_equivalent(a: str, b: str) -> bool:
    """Whether ``a`` and ``b`` are the same final answer. Takes any text, and a bounded time."""
    from .comparison import is_same
    from .parsed_answer import parse_answer, plain_spelling

    return plain_spelling(a) == plain_spelling(b) or is_same(parse_answer(a), parse_answer(b))


def vote(answers: Sequence[str | None]) -> Vote:
    """The answer of the class that is larger than every other. A tie, or no answer at all, is no
    majority; half is not needed.
    """
    from .comparison import is_same
    from .parsed_answer import parse_answer, plain_spelling

    classes: list[tuple[str, Answer, int]] = []
    places: dict[str, int] = {}
    for answer in answers:
        if answer is None:
            continue
        spelled = plain_spelling(answer)
        if spelled not in places:
            meant = parse_answer(answer)
            place = next(
                (i for i, (_, other, _) in enumerate(classes) if is_same(meant, other)),
                len(classes),
            )
            places[spelled] = place
            if place == len(classes):
                classes.append((answer, meant, 0))
        first, meant, votes = classes[places[spelled]]
        classes[places[spelled]] = (first, meant, votes + 1)
    most = max((votes for _, _, votes in classes), default=0)
    largest = [first for first, _, votes in classes if votes == most]
    return Vote(largest[0] if len(largest) == 1 else None, most, len(answers))
