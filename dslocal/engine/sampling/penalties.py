"""Change raw logits before anything else: biases, and penalties on tokens that came already.

The order is that of llama.cpp's and vLLM's chains: first the bias, then the repeat penalty, then
frequency and presence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .top_n import Floats

ROOM = 64  # tokens that there is room for at first


class Penalties:
    """Changes logits in place. Costs by the number of tokens concerned, not by the vocabulary."""

    def __init__(
        self,
        presence: float,
        frequency: float,
        repeat: float,
        bias: Mapping[int, float],
        prompt: Iterable[int],
    ) -> None:
        """Set up the penalties of one answer.

        Args:
            presence: Is subtracted from the logit of each token of the answer, as OpenAI's and
                DeepSeek's ``presence_penalty``; 0 for none.
            frequency: Is subtracted as often as the token came, as ``frequency_penalty``; 0 for
                none.
            repeat: Divides the logit of each token of prompt and answer if it is above 0, and
                multiplies it otherwise; 1 for none. It is Hugging Face's, from the CTRL paper
                (arXiv 1909.05858); llama.cpp does the same with the last 64 tokens.
            bias: Is added to logits, by token id.
            prompt: The tokens that ``repeat`` counts besides the answer's.
        """
        self._presence = np.float32(presence)
        self._frequency = np.float32(frequency)
        self._repeat = np.float32(repeat)
        self._repeats = repeat != 1
        self._subtracts = presence != 0 or frequency != 0
        self._biased_ids = np.array(list(bias), np.intp)
        self._bias = np.array(list(bias.values()), np.float32)
        # the tokens that came, and how often each came in the answer
        self._index: dict[int, int] = {}
        self._ids = np.zeros(ROOM, np.intp)
        self._counts = np.zeros(ROOM, np.float32)
        if self._repeats:
            for token in prompt:
                self._index_of(token)

    @property
    def active(self) -> bool:
        """Whether any logit is changed, now or later."""
        return self._repeats or self._subtracts or len(self._biased_ids) > 0

    def apply(self, logits: Floats) -> None:
        """Change ``logits``: float32 ``[n_vocab]``."""
        if len(self._biased_ids):
            logits[self._biased_ids] += self._bias
        n = len(self._index)
        if n == 0:
            return
        ids, counts = self._ids[:n], self._counts[:n]
        penalized = logits[ids]
        if self._repeats:
            penalized = np.where(penalized > 0, penalized / self._repeat, penalized * self._repeat)
        if self._subtracts:
            came = (counts > 0).astype(np.float32)
            penalized -= counts * self._frequency + came * self._presence
        logits[ids] = penalized

    def accept(self, token: int) -> None:
        """Count a token that was generated."""
        if self._repeats or self._subtracts:
            index = self._index_of(token)  # first, since it may make the arrays longer
            self._counts[index] += 1

    def _index_of(self, token: int) -> int:
        """Return where ``token`` is in the arrays, at their end if it is new."""
        index = self._index.setdefault(token, len(self._index))
        if index == len(self._ids):
            self._ids = np.concatenate((self._ids, np.zeros_like(self._ids)))
            self._counts = np.concatenate((self._counts, np.zeros_like(self._counts)))
        self._ids[index] = token
        return index
