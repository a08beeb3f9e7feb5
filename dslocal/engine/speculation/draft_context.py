"""A llama.cpp context beside the target's, in which a model that drafts is evaluated.

Such a model reads hidden states of the target along with tokens, or in their place. Its cache may
begin at any position and be emptied at any time: drafts are worse then, never wrong, since the
target decides. Knows how a batch is evaluated, not what is to be read from it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dslocal.engine import llama_log
from dslocal.engine.context import LlamaContext, decode
from dslocal.engine.llama_params import context_params
from dslocal.engine.model import LlamaModel
from dslocal.errors import EngineError
from dslocal.gguf import libraries

Rows = NDArray[np.float32]
Outputs = Literal["none", "last", "all"]


class DraftBatch(NamedTuple):
    """What one evaluation reads.

    Attributes:
        start: The position of the first row.
        tokens: Ids; None where rows of hidden states stand alone.
        states: float32 ``[rows, width]``; None where tokens stand alone.
        outputs: Which rows give logits.
    """

    start: int
    tokens: Sequence[int] | None
    states: Rows | None
    outputs: Outputs

    @property
    def n_rows(self) -> int:
        """Return the number of rows."""
        if self.tokens is not None:
            return len(self.tokens)
        return 0 if self.states is None else len(self.states)


class DraftContext:
    """Evaluates ``model``, which drafts for ``target``. Must be closed before the target.

    Attributes:
        handle: llama.cpp's own context; None when closed.
        max_rows: How many rows a micro-batch has, and a batch where each row sees all others.
        max_outputs: How many rows of a batch may give logits.
    """

    def __init__(
        self,
        target: LlamaContext,
        model: LlamaModel,
        context_type: int,
        *,
        what: str,
        max_rows: int | None = None,
    ) -> None:
        """Make a context of ``model`` that is as large as the target's.

        Args:
            target: What is drafted for.
            model: What drafts; it may be the target's own model.
            context_type: A number of llama.cpp's ``enum llama_context_type``.
            what: What drafts, in messages.
            max_rows: How many rows a batch has at most; None for as many as the target's.

        Raises:
            EngineError: if llama.cpp makes no such context.
        """
        self._target = target
        self._low = libraries.require()
        llama_log.clear()
        params = context_params(target.load_config)
        params.ctx_type = context_type
        params.ctx_other = target.handle
        params.n_rs_seq = 0
        if max_rows is not None:
            params.n_batch = params.n_ubatch = min(max_rows, params.n_ubatch)
        params.n_threads = params.n_threads_batch = target.n_threads
        params.abort_callback = target.abort.callback
        params.abort_callback_data = target.abort.data
        self.max_rows = int(params.n_ubatch)
        self.max_outputs = int(params.n_outputs_max)
        self.handle: Any = self._low.llama_init_from_model(model.handle, params)
        if not self.handle:
            reason = llama_log.first_complaint("out of memory")
            raise EngineError(f"{model.path.name}: no context for its {what}: {reason}")
        self._memory = self._low.llama_get_memory(self.handle)
        self._n_vocab = model.n_vocab
        self._views: dict[int, Rows] = {}  # of logits, by address; llama.cpp uses a few

    def close(self) -> None:
        """Release the memory. May be called again."""
        if self.handle:
            self._low.llama_free(self.handle)
        self.handle = None

    def evaluate(self, batch: DraftBatch) -> None:
        """Append the rows of ``batch`` to the cache.

        Raises:
            KeyboardInterrupt: if aborted. The cache ends before the batch then, or is empty.
            EngineError: if llama.cpp fails. The cache is as when aborted.
        """
        struct = self._struct(batch)
        try:
            decode(self.handle, struct, self._target.abort)
        except BaseException:
            self.shorten(batch.start)
            raise

    def likeliest(self, row: int) -> int:
        """Return the likeliest token by the logits of ``row`` of the last batch."""
        pointer = self._low.llama_get_logits_ith(self.handle, row)
        address = ctypes.addressof(pointer.contents)
        view = self._views.get(address)
        if view is None:  # making one takes longer than finding the likeliest token in it
            kind = ctypes.c_float * self._n_vocab
            view = self._views[address] = np.ctypeslib.as_array(kind.from_address(address))
        return int(view.argmax())

    def shorten(self, length: int) -> None:
        """Remove what is behind position ``length``, or all where the cache cannot be cut there."""
        if not self._low.llama_memory_seq_rm(self._memory, 0, length, -1):
            self.clear()

    def clear(self) -> None:
        """Empty the cache."""
        self._low.llama_memory_seq_rm(self._memory, 0, 0, -1)

    def _struct(self, batch: DraftBatch) -> Any:
        """Return ``batch`` as a ``llama_batch``, whose arrays live as long as it does."""
        low, n = self._low, batch.n_rows
        sequence = (low.llama_seq_id * 1)(0)
        struct = low.llama_batch(
            n_tokens=n,
            pos=(low.llama_pos * n)(*range(batch.start, batch.start + n)),
            n_seq_id=(ctypes.c_int32 * n)(*([1] * n)),
            seq_id=(ctypes.POINTER(low.llama_seq_id) * n)(*([sequence] * n)),
            logits=(ctypes.c_int8 * n)(*_output_flags(n, batch.outputs)),
        )
        if batch.tokens is not None:
            struct.token = (low.llama_token * n)(*batch.tokens)
        if batch.states is not None:
            struct.kept_alive = np.ascontiguousarray(batch.states, np.float32)
            struct.embd = struct.kept_alive.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        return struct


def _output_flags(n: int, outputs: Outputs) -> list[int]:
    """Return for each row whether it gives logits."""
    if outputs == "all":
        return [1] * n
    return [0] * (n - 1) + [int(outputs == "last")]
