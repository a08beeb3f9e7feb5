"""A llama.cpp context beside the target's, in which a model that drafts is evaluated.

Such a model reads hidden states of the target along with tokens, or in their place. Its cache may
begin at any position and be emptied at any time: drafts are worse then, never wrong, since the
target decides. Knows how a batch is evaluated, not what is to be read from it.
"""

from __future__ import annotations

import ctypes
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dslocal.engine import llama_log
from dslocal.engine.decode import decode
from dslocal.engine.evaluating_context import EvaluatingContext
from dslocal.engine.llama_params import draft_context_params
from dslocal.engine.logit_views import LogitViews
from dslocal.engine.model import LlamaModel
from dslocal.errors import EngineError
from dslocal.gguf import libraries

Ids = NDArray[np.int32]
Rows = NDArray[np.float32]
Outputs = Literal["none", "last", "all"]


class DraftBatch(NamedTuple):
    """What one evaluation reads.

    Attributes:
        start: The position of the first row.
        tokens: int32 ``[rows]``; None where hidden states stand alone.
        states: float32 ``[rows, width]``; None where tokens stand alone.
        outputs: Which rows give logits.
    """

    start: int
    tokens: Ids | None
    states: Rows | None
    outputs: Outputs

    @property
    def n_rows(self) -> int:
        """Return the number of rows."""
        if self.tokens is not None:
            return len(self.tokens)
        return 0 if self.states is None else len(self.states)


class DraftLimits(NamedTuple):
    """How large the batches of a draft context are.

    Attributes:
        rows: Of a batch; None for as many as the target's.
        outputs: Rows of a batch that give logits.
    """

    outputs: int
    rows: int | None = None


class DraftContext:
    """Evaluates ``model``, which drafts for ``target``. Must be closed before the target.

    On a GPU the likeliest token is found there, so that no logits are copied.

    Attributes:
        handle: llama.cpp's own context; None when closed.
        max_rows: How many rows a micro-batch has, and a batch where each row sees all others.
    """

    def __init__(
        self,
        target: EvaluatingContext,
        model: LlamaModel,
        kind: int,
        limits: DraftLimits,
        what: str,
    ) -> None:
        """Make a context of ``model`` with as many positions as the target's.

        Args:
            target: What is drafted for.
            model: What drafts; it may be the target's own model.
            kind: A number of llama.cpp's ``enum llama_context_type``.
            limits: How large batches are.
            what: What drafts, in messages.

        Raises:
            EngineError: if llama.cpp makes no such context.
        """
        self._target = target
        self._low = libraries.require()
        llama_log.clear()
        # what streams the target's experts sees those of its own layers that draft, too
        self._callback = target.eval_callback if model is target.model else None
        params = self._params(target, kind, limits)
        self.max_rows = int(params.n_ubatch)
        self.handle: Any = self._low.llama_init_from_model(model.handle, params)
        if not self.handle:
            reason = llama_log.first_complaint("out of memory")
            raise EngineError(f"{model.path.name}: no context for its {what}: {reason}")
        self._memory = self._low.llama_get_memory(self.handle)
        self._logit_views = LogitViews(self.handle, model.n_vocab)
        self._sampler = self._make_sampler() if target.load_config.n_gpu_layers else None
        self._fill_struct(int(params.n_batch))

    def _params(self, target: EvaluatingContext, kind: int, limits: DraftLimits) -> Any:
        params = draft_context_params(target.load_config, target.handle, kind, limits.outputs)
        if limits.rows is not None:
            params.n_batch = params.n_ubatch = min(limits.rows, params.n_ubatch)
        params.n_threads = params.n_threads_batch = target.n_threads
        params.abort_callback = target.abort.callback
        params.abort_callback_data = target.abort.data
        if self._callback is not None:
            params.cb_eval = self._callback.function
            params.cb_eval_user_data = self._callback.data
        return params

    def _make_sampler(self) -> Any:
        """Return a sampler that takes the likeliest token on the GPU, or None if it cannot."""
        low = self._low
        chain = low.llama_sampler_chain_init(low.llama_sampler_chain_default_params())
        low.llama_sampler_chain_add(chain, low.llama_sampler_init_greedy())
        if low.llama_set_sampler(self.handle, 0, chain):
            return chain
        low.llama_sampler_free(chain)
        return None

    def _fill_struct(self, n_batch: int) -> None:
        """Make the ``llama_batch`` that every evaluation uses, of numpy arrays."""
        self._positions = np.zeros(n_batch, np.int32)
        self._has_logits = np.zeros(n_batch, np.int8)
        self._seq_counts = np.ones(n_batch, np.int32)
        sequence = (self._low.llama_seq_id * 1)(0)
        pointers = (ctypes.POINTER(self._low.llama_seq_id) * n_batch)(*([sequence] * n_batch))
        self._struct: Any = self._low.llama_batch(
            pos=_address(self._positions, ctypes.c_int32),
            n_seq_id=_address(self._seq_counts, ctypes.c_int32),
            seq_id=pointers,
            logits=_address(self._has_logits, ctypes.c_int8),
        )

    def close(self) -> None:
        """Release the memory. May be called again."""
        if self.handle:
            self._low.llama_free(self.handle)
            if self._sampler:
                self._low.llama_sampler_free(self._sampler)
        self.handle = self._sampler = None

    def evaluate(self, batch: DraftBatch) -> None:
        """Append the rows of ``batch`` to the cache.

        Raises:
            KeyboardInterrupt: if aborted. The cache ends before the batch then, or is empty.
            EngineError: if llama.cpp fails. The cache is as when aborted.
        """
        n, struct = batch.n_rows, self._struct
        self._positions[:n] = np.arange(batch.start, batch.start + n)
        self._has_logits[:n] = batch.outputs == "all"
        self._has_logits[n - 1] = batch.outputs != "none"
        struct.n_tokens = n
        struct.token = _address(batch.tokens, ctypes.c_int32)
        struct.embd = _address(batch.states, ctypes.c_float)
        try:
            decode(self.handle, struct, self._target.abort, self._callback)
        except BaseException:
            self.shorten(batch.start)
            raise

    def likeliest(self, row: int) -> int:
        """Return the likeliest token by the logits of ``row`` of the last batch."""
        if self._sampler:
            return int(self._low.llama_get_sampled_token_ith(self.handle, row))
        return int(self._logit_views.one(row).argmax())

    def shorten(self, length: int) -> None:
        """Remove what is behind position ``length``, or all where the cache cannot be cut there."""
        if not self._low.llama_memory_seq_rm(self._memory, 0, length, -1):
            self.clear()

    def clear(self) -> None:
        """Empty the cache."""
        self._low.llama_memory_seq_rm(self._memory, 0, 0, -1)


def floats_at(pointer: Any, count: int) -> Rows:
    """Return a view on ``count`` floats that a ctypes pointer points to."""
    memory: Any = (ctypes.c_float * count).from_address(ctypes.addressof(pointer.contents))
    return np.frombuffer(memory, np.float32)


def _address(array: NDArray[Any] | None, kind: Any) -> Any:
    """Return a ctypes pointer to a contiguous array, which must outlive its use."""
    return None if array is None else array.ctypes.data_as(ctypes.POINTER(kind))
