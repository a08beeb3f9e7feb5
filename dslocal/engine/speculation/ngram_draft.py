"""Prompt-lookup (n-gram) drafting: propose what followed the last few tokens when they last came.

Only the context's own tokens are looked up. That costs next to nothing, and is right where an
answer quotes: code that is edited, a document that is asked about, numbers that are copied. The
idea is Prompt Lookup Decoding by Apoorv Saxena (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from dslocal.engine.evaluating_context import EvaluatingContext
from dslocal.plan.load_config import MAX_NGRAM_DRAFTS

NGRAM_SIZES = (3, 2)  # tokens that must have come before, the surer size first
LENGTHS = (2, 4, MAX_NGRAM_DRAFTS)  # a single draft is rarely worth a batch


class NgramDrafter:
    """Drafts for ``target`` from what its cache holds, by the latest occurrence of an n-gram."""

    lengths = LENGTHS
    is_listening = True

    def __init__(self, target: EvaluatingContext) -> None:
        self._target = target
        self._ends: dict[tuple[int, ...], int] = {}  # where an n-gram last ended
        self._indexed = 0  # tokens whose n-grams are in it

    def set_listening(self, on: bool) -> None:
        """Do nothing: it reads the context when asked."""

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        """Return what followed the last n-gram that ends in ``token``; nothing if it is new."""
        self._index(ids)
        tail = [*ids[-max(NGRAM_SIZES) + 1 :], token]
        for size in NGRAM_SIZES:
            end = self._ends.get(tuple(tail[-size:]))
            if len(tail) >= size and end is not None:
                return list(ids[end : end + max_drafts])
        return []

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """Do nothing: it reads the context when asked."""

    def trimmed(self, length: int) -> None:
        """Forget all n-grams if some were removed: they may hide earlier occurrences."""
        if length < self._indexed:
            self._indexed = 0
            self._ends.clear()

    def close(self) -> None:
        """Forget all n-grams."""
        self._ends.clear()

    def _index(self, ids: Sequence[int]) -> None:
        """Add the n-grams of new tokens, but those that end with the last: nothing followed yet."""
        for end in range(self._indexed + 1, len(ids)):
            for size in NGRAM_SIZES:
                if end >= size:
                    self._ends[tuple(ids[end - size : end])] = end
        self._indexed = max(self._indexed, len(ids) - 1)
