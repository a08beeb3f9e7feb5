"""The KV state of one conversation: evaluating ids, keeping what the next prompt shares with the
last.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import EngineError, OutOfMemoryError
from dslocal.gguf import libraries
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.probe import usable_cores
from dslocal.prefix import common_prefix_length

from . import llama_log
from .interrupt import AbortFlag
from .llama_params import context_params
from .model import LlamaModel

# tokens evaluated at a time on the CPU: no slower than 512, and Ctrl-C waits for a node of a graph
# that is a quarter of it
CPU_BATCH_TOKENS = 128
SMALL_MODEL_BYTES = 64 << 20  # bytes of weights below which one thread is best


class CacheObserver(Protocol):
    """Is told of all that enters and leaves a context's KV cache."""

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """``ids`` now are at the positions from ``start`` on. Called before anything else is
        evaluated.
        """

    def trimmed(self, length: int) -> None:
        """``length`` positions are left at the most."""

    def close(self) -> None:
        """The context is about to be closed."""


class LlamaContext:
    """Evaluates ids of one sequence. ``ids`` is what the KV cache holds, position by position."""

    def __init__(
        self, model: LlamaModel, load_config: LoadConfig | int, *, n_threads: int | None = None
    ) -> None:
        """As ``loading`` says; a number alone is positions of context. Raises OutOfMemoryError when
        llama.cpp cannot have the memory.
        """
        if isinstance(load_config, int):
            load_config = LoadConfig(load_config)
        self.model, self.n_ctx = model, load_config.n_ctx
        self.batch_tokens = (
            load_config.n_batch
            if load_config.n_gpu_layers
            else min(load_config.n_batch, CPU_BATCH_TOKENS)
        )
        self.kv_type, self.flash_attn = load_config.kv_type.name, load_config.flash_attn
        self.ids: list[int] = []
        self.observer: CacheObserver | None = None
        self.abort = AbortFlag()
        self._low = libraries.require()
        llama_log.clear()
        params = context_params(load_config)
        self.load_config, self.n_threads = load_config, n_threads or _threads_for(model)
        params.n_threads = params.n_threads_batch = self.n_threads
        params.abort_callback, params.abort_callback_data = self.abort.callback, self.abort.data
        self._handle: Any = self._low.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise OutOfMemoryError(
                f"{model.path.name}: no context of {load_config.n_ctx:,} tokens: {llama_log.first_complaint('out of memory')}",
                hint="a smaller --ctx may do",
            )
        self._memory = self._low.llama_get_memory(self._handle)
        self._views: dict[int, NDArray[np.float32]] = {}  # by address; llama.cpp keeps to a few

    def __enter__(self) -> LlamaContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._handle:
            if self.observer:
                self.observer.close()
            self._low.llama_free(self._handle)
            self._handle = None

    @property
    def handle(self) -> Any:
        """llama.cpp's own context."""
        return self._handle

    def clear(self) -> None:
        """Empties the KV cache."""
        self.trim(0)

    def trim(self, length: int) -> None:
        """Removes what is behind the first ``length`` positions."""
        self._low.llama_memory_seq_rm(self._memory, 0, length, -1)
        del self.ids[length:]
        if self.observer:
            self.observer.trimmed(length)

    def prefill(
        self, ids: Sequence[int], on_progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Brings the KV cache to exactly ``ids`` and returns how many of them it held already.

        At least the last id is evaluated, so that :meth:`logits` are its. ``on_progress`` is told
        tokens done and to do.
        """
        kept = common_prefix_length(self.ids, ids[:-1])
        self.trim(kept)
        for start in range(kept, len(ids), self.batch_tokens):
            self.evaluate(ids[start : start + self.batch_tokens])
            if on_progress:
                on_progress(len(self.ids) - kept, len(ids) - kept)
        return kept

    def evaluate(self, ids: Sequence[int], *, all_logits: bool = False) -> None:
        """Appends ids, a batch at the most. Raises KeyboardInterrupt when aborted, EngineError when
        llama.cpp fails.

        With ``all_logits``, there are logits after each of them, else after the last alone; so many must
        be in the loading's ``n_outputs``.
        """
        start = len(self.ids)
        if start + len(ids) > self.n_ctx:
            raise EngineError(f"{start + len(ids):,} tokens in a context of {self.n_ctx:,}")
        batch = self._low.llama_batch(
            n_tokens=len(ids), token=(self._low.llama_token * len(ids))(*ids)
        )
        if all_logits:
            batch.logits = (ctypes.c_int8 * len(ids))(*(1 for _ in ids))
        try:
            decode(self._handle, batch, self.abort)
        except BaseException:
            self._low.llama_memory_seq_rm(self._memory, 0, start, -1)
            raise
        self.ids += ids
        if self.observer:
            self.observer.evaluated(start, ids)

    def logits(self, index: int = -1) -> NDArray[np.float32]:
        """float32 ``[n_vocab]`` after the last id: a view on llama.cpp's own memory, valid until
        the next evaluation.

        After an evaluation with ``all_logits``, ``index`` counts its ids from 0.
        """
        pointer = ctypes.cast(
            self._low.llama_get_logits_ith(self._handle, index), ctypes.c_void_p
        ).value
        if pointer is None:
            raise EngineError("llama.cpp has no logits there")
        view = self._views.get(pointer)
        if view is None:  # making one takes longer than finding the likeliest token in it
            view = np.ctypeslib.as_array(
                (ctypes.c_float * self.model.n_vocab).from_address(pointer)
            )
            self._views[pointer] = view
        return view


def decode(handle: Any, batch: Any, abort: AbortFlag) -> None:
    """``llama_decode`` of one batch. Raises KeyboardInterrupt when aborted, EngineError when
    llama.cpp fails; then part of the batch may be in the cache."""
    llama_log.clear()
    abort.busy = True
    status = libraries.require().llama_decode(handle, batch)
    abort.busy = False
    if status == 2 or abort.is_set():
        raise KeyboardInterrupt
    if status:
        raise EngineError(
            f"llama.cpp failed to evaluate ({status}): {llama_log.first_complaint('no reason given')}"
        )


def _threads_for(model: LlamaModel) -> int:
    """All cores, but one for a small model: threads meet hundreds of times a token there, and where
    another process wants a core, each meeting waits for the scheduler (nano with two threads beside
    other work: 13 tokens/s; with one: 750)."""
    return 1 if model.header.file_size < SMALL_MODEL_BYTES else usable_cores()
