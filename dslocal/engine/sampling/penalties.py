"""What is added to and taken from raw logits before anything else: biases, and penalties on tokens
that have come already.

As llama.cpp's and vLLM's chains have it: first the bias, then the repeat penalty, then frequency
and presence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Penalties:
    """Changes logits in place. Costs by the number of tokens it concerns, not by the vocabulary.

    ``presence`` and ``frequency`` are OpenAI's and DeepSeek's: a token generated c times loses c ×
    frequency, and presence if c > 0. ``repeat`` is Hugging Face's (from the CTRL paper, arXiv
    1909.05858): the logit of a token of prompt or answer is divided by it when above 0, else
    multiplied with it; llama.cpp does the same with the last 64 tokens. ``bias`` is added, by token
    id.
    """

    def __init__(
        self,
        presence: float,
        frequency: float,
        repeat: float,
        bias: Mapping[int, float],
        prompt: Iterable[int],
    ) -> None:
        self._presence, self._frequency, self._repeat = presence, frequency, repeat
        self._biased = np.array(list(bias), np.intp)
        self._bias = np.array(list(bias.values()), np.float32)
        self._counting = presence != 0 or frequency != 0 or repeat != 1
        self._places: dict[int, int] = {}
        self._ids, self._counts = np.zeros(64, np.intp), np.zeros(64, np.float32)
        if repeat != 1:
            for token in prompt:
                self._place(token)

    @property
    def active(self) -> bool:
        """Whether any logit is changed, now or later."""
        return self._counting or len(self._biased) > 0

    def apply(self, logits: Floats) -> None:
        """Changes float32 ``[n_vocab]``."""
        if len(self._biased):
            logits[self._biased] += self._bias
        n = len(self._places)
        if n == 0:
            return
        ids, counts = self._ids[:n], self._counts[:n]
        theirs = logits[ids]
        if self._repeat != 1:
            theirs = np.where(
                theirs > 0, theirs / np.float32(self._repeat), theirs * np.float32(self._repeat)
            )
        if self._presence or self._frequency:
            theirs -= counts * np.float32(self._frequency) + (counts > 0) * np.float32(
                self._presence
            )
        logits[ids] = theirs

    def accept(self, token: int) -> None:
        """Counts a token that was generated."""
        if self._counting:
            place = self._place(token)  # first, since it may need longer arrays
            self._counts[place] += 1

    def _place(self, token: int) -> int:
        place = self._places.setdefault(token, len(self._places))
        if place == len(self._ids):
            self._ids = np.concatenate((self._ids, np.zeros_like(self._ids)))
            self._counts = np.concatenate((self._counts, np.zeros_like(self._counts)))
        self._ids[place] = token
        return place
