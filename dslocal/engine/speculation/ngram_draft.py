"""Drafting by looking up what followed last time: the context's own text, where the last few tokens
occurred before.

Costs next to nothing, and is right where an answer quotes: code that is edited, a document that is
asked about, numbers that are copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from dslocal.engine.context import LlamaContext
from dslocal.plan.load_config import MAX_NGRAM_DRAFTS

GRAMS = (3, 2)  # tokens that must have occurred before, more of them first
LENGTHS = (2, 4, MAX_NGRAM_DRAFTS)  # one alone rarely is worth a batch


class NgramDrafter:
    """Drafts for ``target`` from what its cache holds. Finds the latest occurrence."""

    lengths = LENGTHS
    listening = True

    def __init__(self, target: LlamaContext) -> None:
        self._target = target
        self._ends: dict[tuple[int, ...], int] = {}  # where the latest occurrence ends
        self._known = 0

    def listen(self, on: bool) -> None:
        """It reads the context when asked."""

    def propose(self, ids: Sequence[int], token: int, most: int) -> list[int]:
        """Up to ``most`` ids that followed the last occurrence of what ends in ``token``; none when
        there was none.
        """
        self._learn(ids)
        tail = [*ids[-max(GRAMS) + 1 :], token]
        for n in GRAMS:
            gram = tuple(tail[-n:])
            end = self._ends.get(gram)
            if len(gram) == n and end is not None:
                return list(ids[end : end + most])
        return []

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """It reads the context when asked."""

    def trimmed(self, length: int) -> None:
        if length < self._known:  # what was removed may hide what came before it
            self._known = 0
            self._ends.clear()

    def close(self) -> None:
        self._ends.clear()

    def _learn(self, ids: Sequence[int]) -> None:
        """Takes in what has been added. What ends with the last token is left for later: nothing
        has followed it yet.
        """
        for end in range(self._known + 1, len(ids)):
            for n in GRAMS:
                if end >= n:
                    self._ends[tuple(ids[end - n : end])] = end
        self._known = max(self._known, len(ids) - 1)
