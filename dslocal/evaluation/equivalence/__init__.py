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

from .voting import Vote, is_equivalent, vote

__all__ = ["Vote", "is_equivalent", "vote"]
