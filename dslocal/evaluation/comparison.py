"""The rules by which two answers that were read are the same: unit by unit, side by side, item by
item. ``equivalence`` states them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .exact import Arithmetic, TooHard
from .parsed_answer import Answer, ChoiceLetter, Group, Number, Relation, Words

UNORDERED = {"{}": "{}", ",": "{}", "∪": "∪"}


def is_same(a: Answer, b: Answer) -> bool:
    """Whether ``a`` and ``b`` are the same answer. What is too hard to compare is not."""
    try:
        return _equal(a, b, Arithmetic())
    except TooHard:
        return False


def _equal(a: Answer, b: Answer, arithmetic: Arithmetic) -> bool:
    arithmetic.spend(1)
    a, b = _settled(a, arithmetic), _settled(b, arithmetic)
    match a, b:
        case Number(), Number():
            return (not a.unit or not b.unit or a.unit == b.unit) and arithmetic.same(
                a.value, b.value
            )
        case Words(), Words():
            return a.text == b.text
        case ChoiceLetter(), ChoiceLetter():
            return a.letter == b.letter and (
                a.rest is None or b.rest is None or _equal(a.rest, b.rest, arithmetic)
            )
        case Relation(), Relation():
            return _same_relation(a, b, arithmetic)
        case Group(), Group():
            return _same_group(a, b, arithmetic)
        case (ChoiceLetter(rest=rest), other) | (other, ChoiceLetter(rest=rest)):
            return rest is not None and _equal(rest, other, arithmetic)
        case (Relation() as relation, other) | (other, Relation() as relation):
            value = _labelled(relation)
            return value is not None and _equal(value, other, arithmetic)
        case _:
            return False


def _settled(answer: Answer, arithmetic: Arithmetic) -> Answer:
    """A relation as what it says at the end: 2 + 3 = 5 is 5, and x = 6/2 = 3 is x = 3, if that is
    so.
    """
    if not isinstance(answer, Relation) or set(answer.signs) != {"="}:
        return answer
    first, *rest = answer.sides
    if any(not _equal(side, rest[-1], arithmetic) for side in rest[:-1]):
        return answer
    if (
        isinstance(first, Number)
        and isinstance(rest[-1], Number)
        and arithmetic.same(first.value, rest[-1].value)
    ):
        return rest[-1]
    return Relation(("=",), (first, rest[-1])) if len(rest) > 1 else answer


def _labelled(relation: Relation) -> Answer | None:
    """What stands behind ``x =``, ``f(x) =``, ``(x, y) =`` or ``x \\in``; a label is no number."""
    label, *values = relation.sides
    if relation.signs not in (("=",), ("\\in",)):
        return None
    if isinstance(label, Number) and (
        label.unit or label.value.rational is not None or (label.value.term or ((), 0))[1] != 1
    ):
        return None
    if isinstance(label, Group) and not all(
        isinstance(item, Number) and item.value.rational is None for item in label.items
    ):
        return None
    return values[0]


def _same_relation(a: Relation, b: Relation, arithmetic: Arithmetic) -> bool:
    if a.signs == b.signs == ("=",):
        left, right = _difference(a, arithmetic), _difference(b, arithmetic)
        if left and right:
            return arithmetic.proportional(left.value, right.value)
    return a.signs == b.signs and all(
        _equal(x, y, arithmetic) for x, y in zip(a.sides, b.sides, strict=True)
    )


def _difference(equation: Relation, arithmetic: Arithmetic) -> Number | None:
    left, right = equation.sides
    if not (isinstance(left, Number) and isinstance(right, Number)) or left.unit or right.unit:
        return None
    return Number(arithmetic.add(left.value, arithmetic.negate(right.value)))


def _same_group(a: Group, b: Group, arithmetic: Arithmetic) -> bool:
    if a.kind not in UNORDERED or b.kind not in UNORDERED:
        return (
            a.kind == b.kind
            and len(a.items) == len(b.items)
            and _in_order(a.items, b.items, arithmetic)
        )
    if UNORDERED[a.kind] != UNORDERED[b.kind]:
        return False
    ours, theirs = (
        _distinct(group.items, arithmetic) if group.kind == "{}" else list(group.items)
        for group in (a, b)
    )
    if len(ours) != len(theirs):
        return False
    for item in ours:
        found = next((i for i, other in enumerate(theirs) if _equal(item, other, arithmetic)), None)
        if found is None:
            return False
        del theirs[found]
    return True


def _in_order(a: Sequence[Answer], b: Sequence[Answer], arithmetic: Arithmetic) -> bool:
    return all(_equal(x, y, arithmetic) for x, y in zip(a, b, strict=True))


def _distinct(items: Sequence[Answer], arithmetic: Arithmetic) -> list[Answer]:
    kept: list[Answer] = []
    for item in items:
        if not any(_equal(item, other, arithmetic) for other in kept):
            kept.append(item)
    return kept
