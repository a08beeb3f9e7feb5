"""Drafting with a model's multi-token-prediction (MTP) layer, in a llama.cpp context of its own.

The layer predicts the token after next. Its input at a position is the token there and the target's
hidden state of the position before. That state is known for what the target evaluated. For a draft
that continues a draft, the layer's own hidden state stands in, and what that leaves in the cache is
removed once the drafts are made. The layer's cache may begin anywhere and have gaps: drafts are
worse then, never wrong, since the target decides. The calls, and which state goes with which token,
are those of llama.cpp's common/speculative.cpp (``draft-mtp``).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.engine import llama_log
from dslocal.engine.context import LlamaContext, decode
from dslocal.engine.llama_params import MTP_CONTEXT, context_params
from dslocal.engine.model import LlamaModel
from dslocal.errors import EngineError
from dslocal.gguf import libraries
from dslocal.plan.load_config import MAX_MTP_DRAFTS
from dslocal.plan.memory.shape import can_draft

Rows = NDArray[np.float32]

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
        self._low = libraries.require()
        self._ext = _extension()
        self._handle: Any = None
        self._is_listening = False
        self._width = int(self._low.llama_model_n_embd_out(target.model.handle))
        self._cached = 0
        self._pending: list[int] = []
        self._hidden: Rows = self._unknown_state()

    @property
    def handle(self) -> Any:
        """llama.cpp's context of the layer; None before it is needed, and when closed."""
        return self._handle

    @property
    def is_listening(self) -> bool:
        """Whether the target hands over its hidden states."""
        return self._is_listening

    def set_listening(self, on: bool) -> None:
        """Have the target hand over its hidden states, from its next evaluation on, or cease to.

        Raises:
            EngineError: if the layer's context does not fit in memory, or the model has no layer.
        """
        if on and not self._handle:
            self._handle = self._open()
            self._memory = self._low.llama_get_memory(self._handle)
        if on:  # the states of what was evaluated meanwhile are lost
            self._restart(len(self._target.ids))
        self._ext.llama_set_embeddings_nextn(self._target.handle, on, False)
        self._is_listening = on

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        """Return up to ``max_drafts`` ids to follow ``token``, which comes after ``ids``.

        Raises:
            EngineError: if llama.cpp fails.
            KeyboardInterrupt: if aborted.
        """
        self._catch_up(self._target.batch_tokens - 1)
        tokens = [*self._pending, token]
        self._evaluate(tokens, self._cached, self._hidden, output=True)
        self._cached += len(tokens)
        self._set_pending([], self._unknown_state())
        row, position = len(tokens) - 1, self._cached
        drafts = [self._likeliest(row)]
        while len(drafts) < max_drafts and not self._target.model.is_end_token(drafts[-1]):
            self._evaluate(drafts[-1:], position, self._own_state(row), output=True)
            row, position = 0, position + 1
            drafts.append(self._likeliest(row))
        if position > self._cached:  # made of guesses
            self._shorten(self._cached)
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
            self._ext.llama_get_embeddings_nextn(self._target.handle), (len(ids), self._width)
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
        elif self._handle:
            self._shorten(length)

    def close(self) -> None:
        """Release the layer's context; must come before the target is closed."""
        if self._handle:
            if self._is_listening:
                self._ext.llama_set_embeddings_nextn(self._target.handle, False, False)
            self._low.llama_free(self._handle)
        self._handle = None
        self._is_listening = False

    def _open(self) -> Any:
        """Return a new llama.cpp context of the layer."""
        target = self._target
        if self._layer is target.model and not can_draft(target.model.header):
            name = target.model.path.name
            raise EngineError(f"{name} has no MTP layer that llama.cpp could draft with")
        llama_log.clear()
        params = context_params(target.load_config)
        params.ctx_type = MTP_CONTEXT
        params.ctx_other = target.handle
        params.n_threads = params.n_threads_batch = target.n_threads
        params.abort_callback = target.abort.callback
        params.abort_callback_data = target.abort.data
        handle = self._low.llama_init_from_model(self._layer.handle, params)
        if not handle:
            reason = llama_log.first_complaint("out of memory")
            raise EngineError(f"{self._layer.path.name}: no context for its MTP layer: {reason}")
        # States of all tokens: asked for those of tokens with logits only, llama.cpp keeps the
        # first of the batch instead. V4's layer only gives those of tokens with logits.
        only_outputs = self._layer.header.architecture == "deepseek4"
        self._ext.llama_set_embeddings_nextn(handle, True, only_outputs)
        return handle

    def _set_pending(self, tokens: list[int], hidden: Rows) -> None:
        self._pending = tokens
        self._hidden = hidden

    def _catch_up(self, max_pending: int) -> None:
        """Evaluate pending tokens until at most ``max_pending`` are left."""
        while len(self._pending) > max_pending:
            tokens = self._pending[: self._target.batch_tokens]
            n = len(tokens)
            self._evaluate(tokens, self._cached, self._hidden[:n], output=False)
            self._cached += n
            self._set_pending(self._pending[n:], self._hidden[n:])

    def _shorten(self, length: int) -> None:
        """Remove what is behind position ``length``, or all where the cache cannot be cut there."""
        if not self._low.llama_memory_seq_rm(self._memory, 0, length, -1):
            self._restart(length)
        self._cached = length
        self._set_pending([], self._unknown_state())

    def _restart(self, position: int) -> None:
        """Empty the layer's cache; it begins at ``position``."""
        self._low.llama_memory_seq_rm(self._memory, 0, 0, -1)
        self._cached = position
        self._set_pending([], self._unknown_state())

    def _evaluate(self, tokens: Sequence[int], start: int, hidden: Rows, *, output: bool) -> None:
        """Evaluate one batch in the layer.

        Args:
            tokens: At the positions from ``start`` on.
            start: The first position.
            hidden: The states of the positions before them: float32 ``[tokens, width]``.
            output: Whether there are logits after the last token.
        """
        n, low = len(tokens), self._low
        states = np.ascontiguousarray(hidden, np.float32)
        sequence = (low.llama_seq_id * 1)(0)
        batch = low.llama_batch(
            n_tokens=n,
            token=(low.llama_token * n)(*tokens),
            embd=states.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            pos=(low.llama_pos * n)(*range(start, start + n)),
            n_seq_id=(ctypes.c_int32 * n)(*([1] * n)),
            seq_id=(ctypes.POINTER(low.llama_seq_id) * n)(*([sequence] * n)),
            logits=(ctypes.c_int8 * n)(*([0] * (n - 1)), int(output)),
        )
        try:
            decode(self._handle, batch, self._target.abort)
        except BaseException:
            if not self._low.llama_memory_seq_rm(self._memory, 0, start, -1):
                self._restart(start)
            raise

    def _likeliest(self, row: int) -> int:
        """Return the likeliest token by the layer's logits in ``row`` of its last batch."""
        pointer = self._low.llama_get_logits_ith(self._handle, row)
        logits = np.ctypeslib.as_array(
            ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self._target.model.n_vocab,)
        )
        return int(logits.argmax())

    def _own_state(self, row: int) -> Rows:
        """Return the layer's own hidden state in ``row`` of its last batch: ``[1, width]``."""
        pointer = self._ext.llama_get_embeddings_nextn_ith(self._handle, row)
        return np.ctypeslib.as_array(pointer, (1, self._width)).copy()

    def _unknown_state(self) -> Rows:
        """Return zeros for the state of a position that is not known: float32 ``[1, width]``."""
        return np.zeros((1, self._width), np.float32)


@functools.cache
def _extension() -> ModuleType:
    """Return the bindings of llama.cpp's calls for MTP, which are not among its stable ones.

    Raises:
        EngineError: if this build has none.
    """
    try:
        from llama_cpp import llama_cpp_ext
    except (ImportError, AttributeError) as e:
        raise EngineError(f"this llama.cpp knows no multi-token prediction: {e}") from e
    found: ModuleType = llama_cpp_ext
    return found
