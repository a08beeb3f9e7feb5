"""Guess the experts of the next layer while the present one computes.

The next layer's router runs on the hidden state that the present layer's router saw: the residual
stream changes little from one layer to the next. Its own norm is applied instead of the present
layer's, and the mean of what the layers between them added for earlier tokens is added. On a random
V3-shaped model, 79 % of the guesses were right without that mean and 96 % with it; of those that
were not in memory, the same.

Whether guesses pay is measured, once experts fill the memory: some tokens in a row are evaluated
with guesses and some without, in turns. Guesses continue only if those tokens were quicker.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_names import HASH_TABLE
from dslocal.gguf.tensor_types import GgmlType

from .expert_layout import ExpertLayout, StoredTensor

FLOATS: Mapping[GgmlType, Any] = {  # what routers and norms are stored as
    GgmlType.F32: np.float32,
    GgmlType.F16: np.float16,
    GgmlType.BF16: np.uint16,
}
FIRST_TOKENS = 24  # fill the memory; what they take says nothing of the tokens after them
# Tokens in a row with or without guesses, of which the first are not counted: they find in memory
# what the tokens before them read.
TURN_TOKENS, UNCOUNTED_TOKENS = 8, 2
TURNS = (False, True, True, False)  # whether with guesses; evens out a trend
TRIAL_TOKENS = FIRST_TOKENS + TURN_TOKENS * len(TURNS)
MAX_TIME_RATIO = 0.98  # the time of a token with guesses over that without, for guesses to stay
MEAN_TOKENS = 10  # that the mean change between two routers is taken of, roughly
SIGMOID, SQRT_SOFTPLUS = 2, 4  # enum llama_expert_gating_func_type; 1 and 3 are softmax


class LookAhead:
    """Routers of a model, read from its mapped files."""

    def __init__(
        self, layout: ExpertLayout, header: GgufHeader, mapped: Mapping[int, mmap.mmap]
    ) -> None:
        """Find the routers.

        Args:
            layout: Where the tensors are.
            header: The model's header.
            mapped: The files by number, mapped for reading.
        """
        self._layout = layout
        self._mapped = mapped
        self._n_used = header.of_arch("expert_used_count")
        self._n_groups = header.of_arch("expert_group_count")
        self._n_groups_used = header.of_arch("expert_group_used_count")
        self._gating = header.of_arch("expert_gating_func")
        self._changes: dict[int, NDArray[Any]] = {}  # the mean change before a layer's router
        self._n_changes: dict[int, int] = {}
        self._last: tuple[int, NDArray[Any]] | None = None

    def learn(self, layer: int, hidden: NDArray[Any]) -> None:
        """Take note of what a layer's router sees; to be called for the layers in order.

        Args:
            layer: The layer.
            hidden: The hidden state: ``[tokens, width]``.
        """
        last, self._last = self._last, (layer, hidden)
        if last is None or last[0] != layer - 1 or last[1].shape != hidden.shape:
            return
        change = (hidden - self._with_norm_of(layer, last[1])).mean(axis=0)
        count = self._n_changes[layer] = min(MEAN_TOKENS, self._n_changes.get(layer, 0) + 1)
        mean = self._changes.get(layer, 0.0)
        self._changes[layer] = mean + (change - mean) / count

    def guess(self, layer: int, hidden: NDArray[Any]) -> list[int] | None:
        """Return the experts that ``layer`` will probably choose, the likeliest first.

        Args:
            layer: The next layer.
            hidden: What the router of the layer before it saw: ``[tokens, width]``.

        Returns:
            Their numbers; None where the layers have no routers that can be read.
        """
        expected = self._with_norm_of(layer, hidden) + self._changes.get(layer, 0.0)
        return self.choose(layer, expected)

    def choose(self, layer: int, hidden: NDArray[Any]) -> list[int] | None:
        """Return the experts that the router of ``layer`` chooses, the likeliest first.

        Args:
            layer: The layer.
            hidden: What its router sees: ``[tokens, width]``.

        Returns:
            Their numbers; None where the layer has no router that can be read.
        """
        router = self._values(f"blk.{layer}.ffn_gate_inp.weight")
        if router is None or self.chooses_by_token(layer):
            return None
        scores = self._scores(np.einsum("ew,tw->te", router, hidden), layer)
        return self._best(scores.max(axis=0))

    def _with_norm_of(self, layer: int, hidden: NDArray[Any]) -> NDArray[Any]:
        """Return a hidden state with the weights of a layer's norm, not of the layer before it."""
        norm_before = self._values(f"blk.{layer - 1}.ffn_norm.weight")
        norm = self._values(f"blk.{layer}.ffn_norm.weight")
        if norm is None or norm_before is None:
            return hidden
        scaled: NDArray[Any] = hidden * (norm / np.where(norm_before == 0, 1, norm_before))
        return scaled

    def chooses_by_token(self, layer: int) -> bool:
        """Return whether ``layer`` chooses experts by the token's id, as V4's first layers do."""
        return f"blk.{layer}.{HASH_TABLE}" in self._layout.tensors

    def by_token(self, layer: int, tokens: NDArray[np.int32]) -> list[int]:
        """Return the experts that ``layer`` chooses for these tokens, by their ids alone.

        Empty where the layer does not choose so.
        """
        stored = self._layout.tensors.get(f"blk.{layer}.{HASH_TABLE}")
        if stored is None:
            return []
        experts: list[int] = np.unique(self._raw(stored, np.int32)[tokens]).tolist()
        return experts

    def _scores(self, logits: NDArray[Any], layer: int) -> NDArray[Any]:
        """Return what experts are chosen by. Source: llama.cpp, src/llama-graph.cpp."""
        scores: NDArray[Any] = logits
        if self._gating == SIGMOID:
            scores = 1 / (1 + np.exp(-logits))
        elif self._gating == SQRT_SOFTPLUS:
            scores = np.sqrt(np.logaddexp(0, logits))
        bias = self._values(f"blk.{layer}.exp_probs_b.bias")
        return scores if bias is None else scores + bias

    def _best(self, scores: NDArray[Any]) -> list[int]:
        if self._n_groups > 1 and not len(scores) % self._n_groups:
            by_group = scores.reshape(self._n_groups, -1)
            best_two = np.sort(by_group, axis=1)[:, -2:].sum(axis=1)
            left_out = np.argsort(-best_two)[self._n_groups_used :]
            by_group = by_group.copy()
            by_group[left_out] = -np.inf
            scores = by_group.reshape(-1)
        best: list[int] = np.argsort(-scores)[: self._n_used].tolist()
        return best

    def _values(self, name: str) -> NDArray[Any] | None:
        """Return a tensor of floats; None where it is missing or quantized."""
        stored = self._layout.tensors.get(name)
        if stored is None or stored.tensor.type not in FLOATS:
            return None
        values = self._raw(stored, FLOATS[stored.tensor.type])
        if stored.tensor.type is GgmlType.BF16:  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values

    def _raw(self, stored: StoredTensor, kind: Any) -> NDArray[Any]:
        """Return a view on the mapped file, in the order of rows."""
        extent, tensor = stored.extent, stored.tensor
        mapped = self._mapped[extent.file]
        values: NDArray[Any] = np.frombuffer(mapped, kind, tensor.elements, extent.start)
        return values.reshape(tuple(reversed(tensor.shape)))


class Trial:
    """Finds out whether guesses make tokens quicker, by taking turns."""

    def __init__(self) -> None:
        """Begin with guesses: while the memory is filled, most experts are missing."""
        self._seconds: dict[bool, list[float]] = {False: [], True: []}
        self._n_tokens = 0
        self._verdict: bool | None = None

    @property
    def is_on(self) -> bool:
        """Return whether guesses are to be made for the present token."""
        if self._verdict is not None:
            return self._verdict
        turn = (self._n_tokens - FIRST_TOKENS) // TURN_TOKENS
        return turn < 0 or TURNS[turn]

    @property
    def verdict(self) -> bool | None:
        """Return whether guesses pay; None while that is not known."""
        return self._verdict

    def end(self, verdict: bool) -> None:
        """Decide that guesses pay, or that they do not."""
        self._verdict = verdict

    def record(self, seconds: float) -> None:
        """Take note of the time that the present token took, and begin the next."""
        if self._verdict is not None:
            return
        at = self._n_tokens - FIRST_TOKENS
        if at >= 0 and at % TURN_TOKENS >= UNCOUNTED_TOKENS:
            self._seconds[self.is_on].append(seconds)
        self._n_tokens += 1
        if self._n_tokens == TRIAL_TOKENS:
            without, with_guesses = (median(self._seconds[on]) for on in (False, True))
            self._verdict = with_guesses < MAX_TIME_RATIO * without
