"""Drafting with DSpark, the draft model of DeepSeek-V4-Flash-0731 and V4-Pro-0813.

It drafts a block at a time. Its cache holds, for each position that the target has evaluated, keys
made of the target's hidden states in a few layers. A block is the token that comes next and, after
it, as many noise tokens as the model was trained with. All its rows are evaluated at once, and each
gives the likeliest token after it, biased by the draft before (a Markov head), and the confidence
that the target will agree. Then the block leaves the cache. The calls, and what goes with what, are
those of llama.cpp's common/speculative.cpp (``draft-dspark``) and src/models/dflash.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dslocal.engine.evaluating_context import EvaluatingContext
from dslocal.engine.llama_params import PLAIN_CONTEXT
from dslocal.engine.model import LlamaModel
from dslocal.gguf import libraries
from dslocal.plan.memory.dspark import MAX_ROWS, NOISE_TOKEN, block_size, has_confidence

from .draft_context import DraftBatch, DraftContext, DraftLimits, Rows, floats_at
from .hidden_states import LayerInputs
from .model_draft import ModelDrafter

# A draft that the model gives a lower chance than this is left out, with all after it. Verifying
# one more token costs a mixture of experts, which has to read other experts for it, about a third
# of what the token is worth. That is an estimate: no machine at hand runs the published weights.
MIN_CONFIDENCE = 0.3


class DsparkDrafter(ModelDrafter):
    """Drafts for ``target`` with ``model``. Its context is made when it is first needed.

    The cache holds the positions from wherever it begins up to ``_cached``. What the target
    evaluated after them waits: ``_pending`` are its hidden states there, float32
    ``[positions, layers * width]``.
    """

    what = "DSpark draft model"

    def __init__(self, target: EvaluatingContext, model: LlamaModel) -> None:
        """Draft with ``model``, which :func:`dslocal.plan.mtp_file.join_header` has checked."""
        super().__init__(target)
        self._model = model
        self._inputs = LayerInputs()
        self._layers = self._inputs.target_layers(model.handle)
        self._width = int(libraries.require().llama_model_n_embd(target.model.handle))
        self._own_width = int(libraries.require().llama_model_n_embd(model.handle))
        self._block_size = block_size(model.header)
        self._block = np.full(self._block_size, model.header.integer(NOISE_TOKEN), np.int32)
        self._has_confidence = has_confidence(model.header)
        self._cached = 0
        self._pending: Rows = self._nothing()

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many tokens at a time are worth trying: up to a whole block."""
        return tuple(range(1, self._block_size + 1))

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        """Return up to ``max_drafts`` ids to follow ``token``, which comes after ``ids``.

        The block is always whole, as in training, unless the context ends before.

        Raises:
            EngineError: if llama.cpp fails.
            KeyboardInterrupt: if aborted.
        """
        context = self._opened()
        self._catch_up()
        room = self._target.n_ctx - self._cached
        n_rows = min(self._block_size, room)
        self._block[0] = token
        context.evaluate(DraftBatch(self._cached, self._block[:n_rows], None, "all"))
        try:
            count = self._confident(context, min(max_drafts, n_rows))
            return [context.likeliest(row) for row in range(count)]
        finally:
            context.shorten(self._cached)

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """Read the target's hidden states of ``ids``, which it evaluated from ``start`` on.

        Raises:
            EngineError: if llama.cpp fails.
            KeyboardInterrupt: if aborted.
        """
        if not self._is_listening:
            return
        if self._cached + len(self._pending) != start:
            self._restart(start)
        n, target = len(ids), self._target.handle
        states = [
            floats_at(self._inputs.rows(target, layer), n * self._width).reshape(n, self._width)
            for layer in self._layers
        ]
        self._pending = np.concatenate((self._pending, np.concatenate(states, axis=1)))
        if len(self._pending) > self._target.batch_tokens // 2:  # a long prompt
            self._catch_up()

    def trimmed(self, length: int) -> None:
        """Keep at most ``length`` positions, as the target does."""
        if length >= self._cached:
            self._pending = self._pending[: length - self._cached]
        elif self._context:
            self._context.shorten(length)
            self._cached = length
            self._pending = self._nothing()

    def _open(self) -> DraftContext:
        """Return a new llama.cpp context of the draft model."""
        limits = DraftLimits(outputs=self._block_size, rows=MAX_ROWS)
        context = DraftContext(self._target, self._model, PLAIN_CONTEXT, limits, self.what)
        # the confidences come as hidden states
        self._calls.llama_set_embeddings_nextn(context.handle, True, True)
        # the rows of a block see each other
        libraries.require().llama_set_causal_attn(context.handle, False)
        return context

    def _hand_over(self, on: bool) -> None:
        for layer in self._layers:
            self._inputs.hand_over(self._target.handle, layer, on=on)

    def _catch_up(self) -> None:
        """Make keys of all pending states."""
        context = self._opened()
        while len(self._pending):
            states = self._pending[: context.max_rows]
            context.evaluate(DraftBatch(self._cached, None, states, "none"))
            self._cached += len(states)
            self._pending = self._pending[len(states) :]

    def _restart(self, position: int) -> None:
        """Empty the cache; it begins at ``position``."""
        self._opened().clear()
        self._cached = position
        self._pending = self._nothing()

    def _confident(self, context: DraftContext, count: int) -> int:
        """Return how many of the first ``count`` drafts are likely enough to be right.

        The first one always is: its cost is mostly that of the block, which is spent by then.
        """
        if not self._has_confidence:
            return count
        pointer = self._calls.llama_get_embeddings_nextn(context.handle)
        # a row repeats one number
        confidences = floats_at(pointer, count * self._own_width)[:: self._own_width]
        unlikely = np.flatnonzero(confidences[1:] < MIN_CONFIDENCE)
        return 1 + int(unlikely[0]) if len(unlikely) else count

    def _nothing(self) -> Rows:
        """Return no states: float32 ``[0, layers * width]``."""
        return np.zeros((0, len(self._layers) * self._width), np.float32)
