"""Drafting with a model's multi-token-prediction layer: a second context, which predicts the token
after next.

Its input at a position is the token there and the target's hidden state of the position before.
That is known for whatever the target evaluated; for a draft that continues a draft, the layer's own
hidden state stands in, and what it leaves in the cache is replaced once the target has spoken. The
cache may begin anywhere and have gaps in what it was told: drafts are worse then, never wrong,
since the target decides. Source of the calls and of what goes with what: common/speculative.cpp,
draft-mtp.
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

LENGTHS = tuple(
    range(1, MAX_MTP_DRAFTS + 1)
)  # one layer, asked again and again, soon loses the thread


class MtpDrafter:
    """Drafts for ``target``, whose model was loaded with its MTP layer, unless that is a model of
    its own, ``layer``. The second context is made when it is first needed."""

    lengths = LENGTHS

    def __init__(self, target: LlamaContext, layer: LlamaModel | None = None) -> None:
        self._layer = layer or target.model
        self._target, self._low, self._ext = target, libraries.require(), _extension()
        self._handle: Any = None
        self._listening = False
        self._width = int(self._low.llama_model_n_embd_out(target.model.handle))
        self._end = 0  # positions before it are in the cache, from wherever it begins
        self._tokens: list[int] = []  # at the positions from there on, for the next batch
        self._hidden: Rows = (
            self._unknown()
        )  # their inputs, and one more: that of the token which will come next

    @property
    def handle(self) -> Any:
        """llama.cpp's second context, None before it is needed."""
        return self._handle

    @property
    def listening(self) -> bool:
        return self._listening

    def listen(self, on: bool) -> None:
        """Whether the target hands over its hidden states, from its next evaluation on. Raises
        EngineError when there is no memory for the second context."""
        if on and not self._handle:
            self._handle = self._open()
            self._memory = self._low.llama_get_memory(self._handle)
        if on:  # what passed unheard is a gap that cannot be filled
            self._restart(len(self._target.ids))
        self._ext.llama_set_embeddings_nextn(self._target.handle, on, False)
        self._listening = on

    def propose(self, ids: Sequence[int], token: int, most: int) -> list[int]:
        """Up to ``most`` ids to follow ``token``, which comes after ``ids``. Raises EngineError,
        KeyboardInterrupt.
        """
        self._catch_up(self._target.batch_tokens - 1)
        tokens, drafts = [*self._tokens, token], list[int]()
        self._evaluate(tokens, self._end, self._hidden, output=True)
        self._end += len(tokens)
        self._tokens, self._hidden = [], self._unknown()
        row, at = len(tokens) - 1, self._end
        while True:
            drafts.append(self._likeliest(row))
            if len(drafts) >= most or self._target.model.is_end_token(drafts[-1]):
                break
            state = np.ctypeslib.as_array(
                self._ext.llama_get_embeddings_nextn_ith(self._handle, row), (1, self._width)
            ).copy()
            self._evaluate(drafts[-1:], at, state, output=True)
            row, at = 0, at + 1
        if at > self._end:
            self._low.llama_memory_seq_rm(self._memory, 0, self._end, -1)  # made of guesses
        return drafts

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """The target evaluated ``ids`` from ``start`` on: what it thought of them is read now.
        Raises EngineError, KeyboardInterrupt.
        """
        if not self._listening:
            return
        rows = np.ctypeslib.as_array(
            self._ext.llama_get_embeddings_nextn(self._target.handle), (len(ids), self._width)
        )
        if (
            not self._tokens and self._end == start + 1
        ):  # the first is in the cache since drafts were proposed to follow it
            self._tokens, self._hidden = list(ids[1:]), rows.copy()
        else:
            if self._end + len(self._tokens) != start:
                self._restart(start)
            self._tokens, self._hidden = [*self._tokens, *ids], np.concatenate((self._hidden, rows))
        self._catch_up(self._target.batch_tokens // 2)  # a long prompt is followed as it is read

    def trimmed(self, length: int) -> None:
        """``length`` positions are left in the target's cache."""
        if length >= self._end:
            self._tokens, self._hidden = (
                self._tokens[: length - self._end],
                self._hidden[: length - self._end + 1],
            )
        elif self._handle:
            self._low.llama_memory_seq_rm(self._memory, 0, length, -1)
            self._end, self._tokens, self._hidden = length, [], self._unknown()

    def close(self) -> None:
        """Gives the memory back; must come before the target's end."""
        if self._handle:
            if self._listening:
                self._ext.llama_set_embeddings_nextn(self._target.handle, False, False)
            self._low.llama_free(self._handle)
        self._handle, self._listening = None, False

    def _open(self) -> Any:
        target = self._target
        if self._layer is target.model and not can_draft(target.model.header):
            raise EngineError(
                f"{target.model.path.name} has no MTP layer that llama.cpp could draft with"
            )
        llama_log.clear()
        params = context_params(target.load_config)
        params.ctx_type, params.ctx_other = MTP_CONTEXT, target.handle
        params.n_threads = params.n_threads_batch = target.n_threads
        params.abort_callback, params.abort_callback_data = target.abort.callback, target.abort.data
        handle = self._low.llama_init_from_model(self._layer.handle, params)
        if not handle:
            raise EngineError(
                f"{self._layer.path.name}: no context for its MTP layer: {llama_log.first_complaint('out of memory')}"
            )
        # for all tokens: told to keep those with logits alone, llama.cpp keeps the first of a batch
        # instead
        self._ext.llama_set_embeddings_nextn(handle, True, False)
        return handle

    def _catch_up(self, most: int) -> None:
        """Evaluates what waits, until no more than ``most`` tokens do."""
        while len(self._tokens) > most:
            part = self._tokens[: self._target.batch_tokens]
            self._evaluate(part, self._end, self._hidden[: len(part)], output=False)
            self._end += len(part)
            self._tokens, self._hidden = self._tokens[len(part) :], self._hidden[len(part) :]

    def _restart(self, at: int) -> None:
        self._low.llama_memory_seq_rm(self._memory, 0, 0, -1)
        self._end, self._tokens, self._hidden = at, [], self._unknown()

    def _evaluate(self, tokens: Sequence[int], start: int, hidden: Rows, *, output: bool) -> None:
        """One batch of the layer: float32 ``hidden`` is ``[tokens, width]``. With ``output``, there
        are logits after the last.
        """
        n, low = len(tokens), self._low
        rows = np.ascontiguousarray(hidden, np.float32)
        one = (low.llama_seq_id * 1)(0)
        batch = low.llama_batch(
            n_tokens=n,
            token=(low.llama_token * n)(*tokens),
            embd=rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            pos=(low.llama_pos * n)(*range(start, start + n)),
            n_seq_id=(ctypes.c_int32 * n)(*(1 for _ in tokens)),
            seq_id=(ctypes.POINTER(low.llama_seq_id) * n)(*(one for _ in tokens)),
            logits=(ctypes.c_int8 * n)(*(0 for _ in tokens[1:]), int(output)),
        )
        try:
            decode(self._handle, batch, self._target.abort)
        except BaseException:
            self._low.llama_memory_seq_rm(self._memory, 0, start, -1)
            raise

    def _likeliest(self, row: int) -> int:
        pointer = self._low.llama_get_logits_ith(self._handle, row)
        logits = np.ctypeslib.as_array(
            ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self._target.model.n_vocab,)
        )
        return int(logits.argmax())

    def _unknown(self) -> Rows:
        """The hidden state of a position that was not heard of."""
        return np.zeros((1, self._width), np.float32)


@functools.cache
def _extension() -> ModuleType:
    """Bindings of llama.cpp's calls for MTP, which it keeps apart from its stable ones. Raises
    EngineError where they are missing.
    """
    try:
        from llama_cpp import llama_cpp_ext
    except (ImportError, AttributeError) as e:
        raise EngineError(f"this llama.cpp knows no multi-token prediction: {e}") from e
    found: ModuleType = llama_cpp_ext
    return found
