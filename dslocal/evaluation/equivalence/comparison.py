"""Compare two answers that were read: unit by unit, side by side, item by item.

The rules are stated in :mod:`.equivalence`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .arithmetic import Arithmetic
from .exact_values import TooHard
from .parsed_answer import Answer, ChoiceLetter, Group, Number, Relation, Words

# kinds of groups in which order does not count; a list without brackets is a set
UNORDERED = {"{}": "{}", ",": "{}", "∪": "∪"}


def is_same(a: Answer, b: Answer) -> bool:
    """Return whether ``a`` and ``b`` are the same answer; what is too hard to compare is not."""
    try:
        return _Comparison().is_equal(a, b)
    except TooHard:
        return False


class _Comparison:
    """One comparison, whose work is bounded."""

    def __init__(self) -> None:
        self._arithmetic = Arithmetic()

    def is_equal(self, a: Answer, b: Answer) -> bool:
        """Return whether ``a`` and ``b`` are the same answer."""
        self._arithmetic.spend(1)
        match self._settled(a), self._settled(b):
            case Number() as one, Number() as other:
                return self._is_same_number(one, other)
            case Words(one), Words(other):
                return one == other
            case ChoiceLetter() as one, ChoiceLetter() as other:
                return self._is_same_choice(one, other)
            case Relation() as one, Relation() as other:
                return self._is_same_relation(one, other)
            case Group() as one, Group() as other:
                return self._is_same_group(one, other)
            case (ChoiceLetter(rest=rest), other) | (other, ChoiceLetter(rest=rest)):
                return rest is not None and self.is_equal(rest, other)
            case (Relation() as relation, other) | (other, Relation() as relation):
                value = _labelled(relation)
                return value is not None and self.is_equal(value, other)
            case _:
                return False

    def _settled(self, answer: Answer) -> Answer:
        """Return what a chain of equations says at the end, if it is true.

        2 + 3 = 5 is 5, and x = 6/2 = 3 is x = 3.
        """
        if not isinstance(answer, Relation) or set(answer.signs) != {"="}:
            return answer
        first, *rest = answer.sides
        last = rest[-1]
        if not all(self.is_equal(side, last) for side in rest[:-1]):
            return answer
        if self._is_calculation(first, last):
            return last
        return Relation(("=",), (first, last)) if len(rest) > 1 else answer

    def _is_calculation(self, first: Answer, last: Answer) -> bool:
        """Return whether a chain only says what a number is."""
        if not isinstance(first, Number) or not isinstance(last, Number):
            return False
        return self._arithmetic.is_same(first.value, last.value)

    def _is_same_number(self, a: Number, b: Number) -> bool:
        if a.unit and b.unit and a.unit != b.unit:
            return False
        return self._arithmetic.is_same(a.value, b.value)

    def _is_same_choice(self, a: ChoiceLetter, b: ChoiceLetter) -> bool:
        if a.letter != b.letter:
            return False
        return a.rest is None or b.rest is None or self.is_equal(a.rest, b.rest)

    def _is_same_relation(self, a: Relation, b: Relation) -> bool:
        if a.signs == b.signs == ("=",):
            left = self._difference(a)
            right = self._difference(b)
            if left and right:
                return self._arithmetic.is_proportional(left.value, right.value)
        return a.signs == b.signs and self._is_same_in_order(a.sides, b.sides)

    def _difference(self, equation: Relation) -> Number | None:
        """Return left minus right, if both are numbers without a unit."""
        left, right = equation.sides
        if not (isinstance(left, Number) and isinstance(right, Number)) or left.unit or right.unit:
            return None
        return Number(self._arithmetic.add(left.value, self._arithmetic.negate(right.value)))

    def _is_same_group(self, a: Group, b: Group) -> bool:
        if a.kind not in UNORDERED or b.kind not in UNORDERED:
            if a.kind != b.kind or len(a.items) != len(b.items):
                return False
            return self._is_same_in_order(a.items, b.items)
        if UNORDERED[a.kind] != UNORDERED[b.kind]:
            return False
        ours = self._items(a)
        theirs = self._items(b)
        if len(ours) != len(theirs):
            return False
        for item in ours:
            found = next((i for i, other in enumerate(theirs) if self.is_equal(item, other)), None)
            if found is None:
                return False
            del theirs[found]
        return True

    def _is_same_in_order(self, a: Sequence[Answer], b: Sequence[Answer]) -> bool:
        return all(self.is_equal(x, y) for x, y in zip(a, b, strict=True))

    def _items(self, group: Group) -> list[Answer]:
        """Return the items of a group, those of a set each once."""
        if group.kind != "{}":
            return list(group.items)
        kept: list[Answer] = []
        for item in group.items:
            if not any(self.is_equal(item, other) for other in kept):
                kept.append(item)
        return kept


def _labelled(relation: Relation) -> Answer | None:
    r"""Return what stands behind ``x =``, ``f(x) =``, ``(x, y) =`` or ``x \in``.

    A label is a variable, and not a number or a value with a unit.
    """
    label, *values = relation.sides
    if relation.signs not in (("=",), ("\\in",)):
        return None
    if isinstance(label, Number) and not _is_label(label):
        return None
    if isinstance(label, Group):
        for item in label.items:
            if not isinstance(item, Number) or item.value.rational is not None:
                return None
    return values[0]


def _is_label(number: Number) -> bool:
    term = number.value.term
    if number.unit or number.value.rational is not None:
        return False
    return term is not None and term.coefficient == 1
