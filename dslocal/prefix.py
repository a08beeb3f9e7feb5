"""Compare two sequences from their beginning. Knows nothing of what the items are."""

from __future__ import annotations

from collections.abc import Sequence


def common_prefix_length(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items two sequences have in common before the first that differs."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:  # the usual case, compared in C
        return length
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return length
