"""Drafting with a model's multi-token-prediction (MTP) layer, in a llama.cpp context of its own.

The layer predicts the token after next. Its input at a position is the token there and the target's
hidden state of the position before. That state is known for what the target evaluated. For a draft
that continues a draft, the layer's own hidden state stands in, and what that leaves in the cache is
removed once the drafts are made. The layer's cache may begin anywhere and have gaps: drafts are
worse then, never wrong, since the target decides. The calls, and which state goes with which token,
are those of llama.cpp's common/speculative.cpp (``draft-mtp``).

On a GPU much time goes into starting kernels one by one. llama.cpp keeps the graph of the last
batch, and CUDA a recording of it, as long as batches have the same number of rows. So there every
batch that drafts has the same number: rows that are in the cache already are evaluated again.
With a small layer that saves all other batches. With a large one, whose experts are read for each
row, it is two rows, and what else waits is evaluated before, without logits: of such batches
llama.cpp keeps a graph of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dslocal.engine.evaluating_context import EvaluatingContext
from dslocal.engine.llama_params import MTP_CONTEXT
from dslocal.engine.model import LlamaModel
from dslocal.errors import EngineError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_names import layer_of
from dslocal.plan.load_config import MAX_MTP_DRAFTS
from dslocal.plan.memory.shape import can_draft

from .draft_context import DraftBatch, DraftContext, DraftLimits, Rows, floats_at
from .model_draft import ModelDrafter

# The bytes of a layer up to which reading its experts for a few rows more takes less time than
# building a graph: a quarter of a millisecond at 1 TB/s.
SMALL_LAYER_BYTES = 256 << 20
LENGTHS = tuple(range(1, MAX_MTP_DRAFTS + 1))


class MtpDrafter(ModelDrafter):
    """Drafts for ``target``. The layer's context is made when it is first needed.

    The layer's cache holds the positions from wherever it begins up to ``_cached``. ``_tokens`` are
    those from position ``_first`` up to ``_heard``: the last few that are in the cache, and those
    that wait. ``_states`` are the hidden states that are the input with them, and with the token
    that comes next: float32 ``[_heard - _first + 1, width]``.
    """

    lengths = LENGTHS
    what = "MTP layer"

    def __init__(self, target: EvaluatingContext, layer: LlamaModel | None = None) -> None:
        """Draft with ``layer``, a model of its own, or with the layer in the target's model."""
        super().__init__(target)
        self._layer = layer or target.model
        self._has_fixed_rows = target.load_config.n_gpu_layers > 0
        self._is_small = _layer_bytes(self._layer) <= SMALL_LAYER_BYTES
        self._width = int(libraries.require().llama_model_n_embd_out(target.model.handle))
        self._room = 2 * target.batch_tokens + target.load_config.n_outputs
        self._tokens = np.zeros(self._room, np.int32)
        self._states: Rows = np.zeros((self._room + 1, self._width), np.float32)
        self._first = self._cached = self._heard = 0

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        """Return up to ``max_drafts`` ids to follow ``token``, which comes after ``ids``.

        Raises:
            EngineError: if llama.cpp fails.
            KeyboardInterrupt: if aborted.
        """
        context = self._opened()
        n_rows = self._rows_of_a_draft(max_drafts)
        self._catch_up((n_rows if self._has_fixed_rows else self._target.batch_tokens) - 1)
        self._make_room(max_drafts)
        self._tokens[self._heard - self._first] = token
        self._heard += 1
        drafts = [self._draft(context, self._heard, n_rows)]
        try:
            while len(drafts) < max_drafts and not self._target.model.is_end_token(drafts[-1]):
                end = self._heard + len(drafts)
                self._tokens[end - 1 - self._first] = drafts[-1]
                drafts.append(self._draft(context, end, n_rows))
        finally:
            if max_drafts > 1:  # what is behind is made of guesses
                context.shorten(self._cached)
        return drafts

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """Read the target's hidden states of ``ids``, which it evaluated from ``start`` on.

        Raises:
            EngineError: if llama.cpp fails.
            KeyboardInterrupt: if aborted.
        """
        if not self._is_listening:
            return
        # the layer has evaluated the first of them already if it drafted what follows
        if start != self._heard and start != self._cached - 1:
            self._restart(start)
        self._heard = start
        self._make_room(len(ids))
        at, n = start - self._first, len(ids)
        self._tokens[at : at + n] = ids
        pointer = self._calls.llama_get_embeddings_nextn(self._target.handle)
        states = floats_at(pointer, n * self._width).reshape(n, self._width)
        self._states[at + 1 : at + 1 + n] = states
        self._heard += n
        self._catch_up(self._target.batch_tokens // 2)  # a long prompt is followed as it is read

    def trimmed(self, length: int) -> None:
        """Keep at most ``length`` positions, as the target does."""
        self._heard = min(self._heard, length)
        if length < self._cached and self._context:
            self._context.shorten(length)
            self._cached = length
        if length < self._first:
            self._forget(length)

    def _open(self) -> DraftContext:
        """Return a new llama.cpp context of the layer."""
        target, layer = self._target, self._layer
        if layer is target.model and not can_draft(target.model.header):
            name = target.model.path.name
            raise EngineError(f"{name} has no MTP layer that llama.cpp could draft with")
        context = DraftContext(target, layer, MTP_CONTEXT, DraftLimits(outputs=1), self.what)
        # States of all tokens: asked for those of tokens with logits only, llama.cpp keeps the
        # first of the batch instead. V4's layer only gives those of tokens with logits.
        only_outputs = layer.header.architecture == "deepseek4"
        self._calls.llama_set_embeddings_nextn(context.handle, True, only_outputs)
        return context

    def _hand_over(self, on: bool) -> None:
        self._calls.llama_set_embeddings_nextn(self._target.handle, on, False)

    def _rows_of_a_draft(self, max_drafts: int) -> int:
        """Return how many rows each batch that drafts has at least."""
        if not self._has_fixed_rows:
            return 1
        return max_drafts + 1 if self._is_small else 2

    def _draft(self, context: DraftContext, end: int, n_rows: int) -> int:
        """Return what follows position ``end - 1``, and keep the layer's state there.

        Args:
            context: The layer's context, whose cache then ends at ``end``.
            end: The position behind the last token.
            n_rows: The least rows to evaluate, if that many tokens are known.
        """
        begin = max(self._first, min(self._cached, end - n_rows))
        if end > self._heard and n_rows == 1:  # the drafts before it are in the cache
            begin = end - 1
        if begin < self._cached or end > self._heard:
            context.shorten(begin)
            self._cached = min(self._cached, begin)
        rows = slice(begin - self._first, end - self._first)
        context.evaluate(DraftBatch(begin, self._tokens[rows], self._states[rows], "last"))
        self._cached = min(self._heard, end)
        last = end - 1 - begin
        token = context.likeliest(last)
        pointer = self._calls.llama_get_embeddings_nextn_ith(context.handle, last)
        self._states[end - self._first] = floats_at(pointer, self._width)
        return token

    def _catch_up(self, max_pending: int) -> None:
        """Evaluate pending tokens until at most ``max_pending`` are left."""
        while self._heard - self._cached > max_pending:
            n = min(self._heard - self._cached, self._target.batch_tokens)
            rows = slice(self._cached - self._first, self._cached - self._first + n)
            batch = DraftBatch(self._cached, self._tokens[rows], self._states[rows], "none")
            self._opened().evaluate(batch)
            self._cached += n

    def _make_room(self, count: int) -> None:
        """Drop the oldest tokens that are in the cache if ``count`` more would not fit."""
        kept_from = self._cached - self._target.load_config.n_outputs
        if self._heard + count - self._first <= self._room or kept_from <= self._first:
            return
        dropped, kept = kept_from - self._first, self._heard - kept_from
        self._tokens[:kept] = self._tokens[dropped : dropped + kept].copy()
        self._states[: kept + 1] = self._states[dropped : dropped + kept + 1].copy()
        self._first = kept_from

    def _restart(self, position: int) -> None:
        """Empty the layer's cache; it begins at ``position``."""
        self._opened().clear()
        self._forget(position)

    def _forget(self, position: int) -> None:
        """Know no token before ``position``, nor the state there: zeros stand in."""
        self._first = self._cached = self._heard = position
        self._states[0] = 0


def _layer_bytes(model: LlamaModel) -> int:
    """Return the bytes of the MTP layer of ``model``."""
    first = model.header.of_arch("block_count") - model.header.of_arch("nextn_predict_layers")
    return sum(t.nbytes for t in model.header.tensors if layer_of(t.name) >= first)
