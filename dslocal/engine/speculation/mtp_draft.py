"""Drafting with a model's multi-token-prediction (MTP) layer, in a llama.cpp context of its own.

The layer predicts the token after next. Its input at a position is the token there and the target's
hidden state of the position before. That state is known for what the target evaluated. For a draft
that continues a draft, the layer's own hidden state stands in, and what that leaves in the cache is
removed once the drafts are made. The layer's cache may begin anywhere and have gaps: drafts are
worse then, never wrong, since the target decides. The calls, and which state goes with which token,
are those of llama.cpp's common/speculative.cpp (``draft-mtp``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dslocal.engine.context import LlamaContext
from dslocal.engine.llama_params import MTP_CONTEXT
from dslocal.engine.model import LlamaModel
from dslocal.errors import EngineError
from dslocal.gguf import libraries
from dslocal.plan.load_config import MAX_MTP_DRAFTS
from dslocal.plan.memory.shape import can_draft

from .draft_context import DraftBatch, DraftContext, Rows
from .hidden_states import mtp_calls

LENGTHS = tuple(range(1, MAX_MTP_DRAFTS + 1))


class MtpDrafter:
    """Drafts for ``target``. The layer's context is made when it is first needed.

    The layer's cache holds the positions from wherever it begins up to ``_cached``. What the target
    evaluated after them waits: ``_pending`` are the tokens from position ``_cached`` on, and
    ``_hidden`` the states that are the input with them and with the token that comes next, float32
    ``[len(_pending) + 1, width]``.
    """

    lengths = LENGTHS

    def __init__(self, target: LlamaContext, layer: LlamaModel | None = None) -> None:
        """Draft with ``layer``, a model of its own, or with the layer in the target's model."""
        self._target = target
        self._layer = layer or target.model
        self._calls = mtp_calls()
        self._context: DraftContext | None = None
        self._is_listening = False
        low = libraries.require()
        self._width = int(low.llama_model_n_embd_out(target.model.handle))
        self._cached = 0
        self._pending: list[int] = []
        self._hidden: Rows = self._unknown_state()

    @property
    def handle(self) -> Any:
        """llama.cpp's context of the layer; None before it is needed, and when closed."""
        return self._context.handle if self._context else None

    @property
    def is_listening(self) -> bool:
        """Whether the target hands over its hidden states."""
        return self._is_listening

    def set_listening(self, on: bool) -> None:
        """Have the target hand over its hidden states, from its next evaluation on, or cease to.

        Raises:
            EngineError: if the layer's context does not fit in memory, or the model has no layer.
        """
        if on:
            self._context = self._context or self._open()
            self._restart(len(self._target.ids))  # what was evaluated meanwhile is lost
        self._calls.llama_set_embeddings_nextn(self._target.handle, on, False)
        self._is_listening = on

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        """Return up to ``max_drafts`` ids to follow ``token``, which comes after ``ids``.

        Raises:
            EngineError: if llama.cpp fails.
            KeyboardInterrupt: if aborted.
        """
        context = self._opened()
        self._catch_up(self._target.batch_tokens - 1)
        tokens = [*self._pending, token]
        context.evaluate(DraftBatch(self._cached, tokens, self._hidden, "last"))
        self._cached += len(tokens)
        self._set_pending([], self._unknown_state())
        row, position = len(tokens) - 1, self._cached
        drafts = [context.likeliest(row)]
        while len(drafts) < max_drafts and not self._target.model.is_end_token(drafts[-1]):
            state = self._own_state(context, row)
            context.evaluate(DraftBatch(position, drafts[-1:], state, "last"))
            row, position = 0, position + 1
            drafts.append(context.likeliest(row))
        if position > self._cached:  # made of guesses
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
        states = np.ctypeslib.as_array(
            self._calls.llama_get_embeddings_nextn(self._target.handle), (len(ids), self._width)
        )
        if not self._pending and self._cached == start + 1:
            # the layer evaluated the first of them to propose what follows it
            self._set_pending(list(ids[1:]), states.copy())
        else:
            if self._cached + len(self._pending) != start:
                self._restart(start)
            self._set_pending([*self._pending, *ids], np.concatenate((self._hidden, states)))
        self._catch_up(self._target.batch_tokens // 2)  # a long prompt is followed as it is read

    def trimmed(self, length: int) -> None:
        """Keep at most ``length`` positions, as the target does."""
        if length >= self._cached:
            left = length - self._cached
            self._set_pending(self._pending[:left], self._hidden[: left + 1])
        elif self._context:
            self._context.shorten(length)
            self._cached = length
            self._set_pending([], self._unknown_state())

    def close(self) -> None:
        """Release the layer's context; must come before the target is closed."""
        if self._context:
            if self._is_listening:
                self._calls.llama_set_embeddings_nextn(self._target.handle, False, False)
            self._context.close()
        self._context = None
        self._is_listening = False

    def _open(self) -> DraftContext:
        """Return a new llama.cpp context of the layer."""
        target, layer = self._target, self._layer
        if layer is target.model and not can_draft(target.model.header):
            name = target.model.path.name
            raise EngineError(f"{name} has no MTP layer that llama.cpp could draft with")
        context = DraftContext(target, layer, MTP_CONTEXT, what="MTP layer")
        # States of all tokens: asked for those of tokens with logits only, llama.cpp keeps the
        # first of the batch instead. V4's layer only gives those of tokens with logits.
        only_outputs = layer.header.architecture == "deepseek4"
        self._calls.llama_set_embeddings_nextn(context.handle, True, only_outputs)
        return context

    def _opened(self) -> DraftContext:
        """Return the layer's context, which listening made."""
        if self._context is None:
            raise EngineError("the MTP layer does not listen")
        return self._context

    def _set_pending(self, tokens: list[int], hidden: Rows) -> None:
        self._pending = tokens
        self._hidden = hidden

    def _catch_up(self, max_pending: int) -> None:
        """Evaluate pending tokens until at most ``max_pending`` are left."""
        while len(self._pending) > max_pending:
            tokens = self._pending[: self._target.batch_tokens]
            n = len(tokens)
            self._opened().evaluate(DraftBatch(self._cached, tokens, self._hidden[:n], "none"))
            self._cached += n
            self._set_pending(self._pending[n:], self._hidden[n:])

    def _restart(self, position: int) -> None:
        """Empty the layer's cache; it begins at ``position``."""
        self._opened().clear()
        self._cached = position
        self._set_pending([], self._unknown_state())

    def _own_state(self, context: DraftContext, row: int) -> Rows:
        """Return the layer's own hidden state in ``row`` of its last batch: ``[1, width]``."""
        pointer = self._calls.llama_get_embeddings_nextn_ith(context.handle, row)
        return np.ctypeslib.as_array(pointer, (1, self._width)).copy()

    def _unknown_state(self) -> Rows:
        """Return zeros for the state of a position that is not known: float32 ``[1, width]``."""
        return np.zeros((1, self._width), np.float32)
