"""A llama.cpp context with the KV cache of one sequence.

Evaluates token ids, and keeps the part of the cache with which the next prompt begins. Does not
know how answers are generated (:mod:`.context`).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dslocal.errors import EngineError, OutOfMemoryError
from dslocal.gguf import libraries
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.probe import usable_cores
from dslocal.prefix import common_prefix_length

from . import llama_log
from .decode import decode
from .graph import EvalCallback
from .interrupt import AbortFlag
from .kv_cache.sequence_memory import SequenceMemory, max_checkpoints
from .llama_params import context_params
from .logit_views import LogitViews
from .model import LlamaModel
from .slots.step_times import StepTimes

if TYPE_CHECKING:
    from .streaming.streamer import ExpertStreamer

# Tokens evaluated at a time on the CPU. That is no slower than 512, and Ctrl-C, which waits for one
# node of the graph, is four times as quick.
CPU_BATCH_TOKENS = 128
SMALL_MODEL_BYTES = 64 << 20  # bytes of weights up to which one thread is best
# Tokens that are evaluated to their end in spite of Ctrl-C, if a cache cannot be cut: an answer's
# next token with its drafts. Half evaluated, they would take the whole answer with them.
FINISHED_TOKENS = 16
# Tokens at the end of a prompt that the next prompt may have others in place of: those that open
# the answer and its reasoning.
PROMPT_END_TOKENS = 4


class CacheObserver(Protocol):
    """Is notified of all that enters and leaves a context's KV cache."""

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        """Take note that ``ids`` are at the positions from ``start`` on.

        Called before anything else is evaluated.
        """

    def trimmed(self, length: int) -> None:
        """Take note that at most ``length`` positions are left."""

    def close(self) -> None:
        """Release what depends on the context, which is about to be closed."""


class EvaluatingContext:
    """Evaluates token ids of one sequence. Close it, or use it as a context manager.

    Attributes:
        model: The model that it evaluates with.
        load_config: The load config that it was made by.
        n_ctx: The positions of its KV cache.
        n_threads: The threads that evaluate.
        kv_type: The type of the cache's values, such as ``F16``.
        flash_attn: Whether flash attention is used.
        eval_callback: Sees the nodes of its graphs; None for nothing.
        streamer: Reads the experts of a model that is larger than memory; None for any other.
        ids: The tokens that the cache holds, position by position.
        observer: Is notified of changes of the cache; None for nobody.
        abort: Ends an evaluation from another thread.
        memory: The cache, which knows whether it can be cut anywhere.
        times: How long evaluation takes.
    """

    def __init__(
        self,
        model: LlamaModel,
        load_config: LoadConfig | int,
        *,
        n_threads: int | None = None,
        eval_callback: EvalCallback | None = None,
    ) -> None:
        """Make a context of ``model``.

        Args:
            model: A loaded model, which must outlive the context.
            load_config: The load config, or positions of context for the default one.
            n_threads: Threads that evaluate; None chooses.
            eval_callback: Sees each node of a graph; None for none.

        Raises:
            OutOfMemoryError: if llama.cpp does not get the memory.
            EngineError: if experts are to be streamed, and a file of the model cannot be read.
        """
        if isinstance(load_config, int):
            load_config = LoadConfig(load_config)
        self.model = model
        self.load_config = load_config
        self.n_ctx = load_config.n_ctx
        self.n_threads = n_threads or _threads_for(model)
        self.kv_type = load_config.kv_type.name
        self.flash_attn = load_config.flash_attn
        self.ids: list[int] = []
        self.observer: CacheObserver | None = None
        self.abort = AbortFlag()
        self.times = StepTimes()
        self._low = libraries.require()
        self.eval_callback = eval_callback
        self.streamer = self._open_streamer()
        try:
            self._handle: Any = self._make_handle()
        except BaseException:
            if self.streamer:
                self.streamer.close()
            raise
        self.memory = SequenceMemory(
            self._handle, max_checkpoints=max_checkpoints(model.header, load_config.n_seq)
        )
        self._logit_views = LogitViews(self._handle, model.n_vocab)

    def _open_streamer(self) -> ExpertStreamer | None:
        """Return what reads the model's experts ahead; None where that is not wanted.

        Raises:
            EngineError: A file of the model cannot be read.
        """
        if not self.load_config.stream_experts:
            return None
        from .streaming.opening import open_streamer

        streamer = open_streamer(self.model.path, self.model.header, self.load_config)
        streamer.is_aborted = self.abort.is_set
        self.eval_callback = EvalCallback(streamer)
        return streamer

    def _make_handle(self) -> Any:
        llama_log.clear()
        params = context_params(self.load_config)
        params.n_threads = params.n_threads_batch = self.n_threads
        params.abort_callback = self.abort.callback
        params.abort_callback_data = self.abort.data
        if self.eval_callback is not None:
            self.eval_callback.attach(self.abort)
            params.cb_eval = self.eval_callback.function
            params.cb_eval_user_data = self.eval_callback.data
        handle = self._low.llama_init_from_model(self.model.handle, params)
        if not handle:
            reason = llama_log.first_complaint("out of memory")
            raise OutOfMemoryError(
                f"{self.model.path.name}: no context of {self.n_ctx:,} tokens: {reason}",
                hint="try a smaller --ctx",
            )
        return handle

    def __enter__(self) -> EvaluatingContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the memory. May be called again."""
        if self._handle:
            if self.observer:
                self.observer.close()
            self._low.llama_free(self._handle)
            self._handle = None
            if self.streamer:
                self.streamer.close()

    @property
    def handle(self) -> Any:
        """llama.cpp's own context; None when closed."""
        return self._handle

    def clear(self) -> None:
        """Empty the KV cache."""
        self._forget_behind(self.memory.clear())

    def trim(self, length: int) -> int:
        """Remove what is behind the first ``length`` positions.

        Returns:
            How many positions are left: fewer than ``length`` where the memory cannot be cut there.
        """
        if length < len(self.ids):
            length = self.memory.shorten(length)
        return self._forget_behind(min(length, len(self.ids)))

    def note_restored(self, ids: Sequence[int]) -> None:
        """Take note that the memory, which was empty, holds ``ids`` that nobody evaluated here."""
        self.ids = list(ids)

    def call_between_steps(self, function: Callable[[], None]) -> None:
        """Call ``function`` while nothing is evaluated, which is now."""
        function()

    def drop_trimmed(self) -> None:
        """Remove positions from llama.cpp's cache that are not in ``ids``: there are none."""

    def _forget_behind(self, length: int) -> int:
        """Take note that the memory holds ``length`` positions, and return that."""
        del self.ids[length:]
        if self.observer:
            self.observer.trimmed(length)
        return length

    @property
    def batch_tokens(self) -> int:
        """Return how many tokens a prefill evaluates at a time."""
        if self.load_config.n_gpu_layers == 0 and not self.load_config.stream_experts:
            return min(self.load_config.n_batch, CPU_BATCH_TOKENS)
        return self.load_config.n_batch

    def note_prompt(self, tokens: int) -> None:
        """Take note that a prompt begins of which ``tokens`` are to be evaluated."""

    def prefill(
        self, ids: Sequence[int], on_progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Bring the KV cache to exactly ``ids``.

        At least the last id is evaluated, so that :meth:`logits` are those after it.

        Args:
            ids: The prompt.
            on_progress: Receives how many tokens are evaluated, and how many are to be.

        Returns:
            How many of the ids the cache held already.

        Raises:
            KeyboardInterrupt: if aborted.
            EngineError: if llama.cpp fails, or the ids do not fit.
        """
        cached = self.trim(common_prefix_length(self.ids, ids[:-1]))
        self.save_checkpoint()
        self.note_prompt(len(ids) - cached)
        checkpoint = len(ids) - PROMPT_END_TOKENS if self.memory.max_checkpoints else 0
        while len(self.ids) < len(ids):
            start = len(self.ids)
            end = min(start + self.batch_tokens, len(ids))
            if start < checkpoint < end:
                end = checkpoint
            self.evaluate(ids[start:end])
            if end == checkpoint:
                self.save_checkpoint()
            if on_progress:
                on_progress(end - cached, len(ids) - cached)
        return cached

    def save_checkpoint(self) -> None:
        """Make it possible to take the sequence back to where it ends now."""
        self.memory.save_checkpoint(len(self.ids))

    def evaluate(self, ids: Sequence[int], *, logits_from: int | None = None) -> None:
        """Append ``ids`` to the cache.

        Args:
            ids: At most one batch.
            logits_from: Keep the logits after each id from this one on, counted from 0; None keeps
                those after the last alone. The load config's ``n_outputs`` must have room for them.

        Raises:
            KeyboardInterrupt: if aborted. The cache is as before. If it cannot be cut, it may be
                shorter, and it has all of ``ids`` where these are few.
            EngineError: if llama.cpp fails or the ids do not fit. The cache is as before, or
                shorter if it cannot be cut.
        """
        start = len(self.ids)
        if start + len(ids) > self.n_ctx:
            raise EngineError(f"{start + len(ids):,} tokens in a context of {self.n_ctx:,}")
        batch = self._low.llama_batch(
            n_tokens=len(ids), token=(self._low.llama_token * len(ids))(*ids)
        )
        if logits_from is not None:
            batch.logits = (ctypes.c_int8 * len(ids))(*(i >= logits_from for i in range(len(ids))))
        if self.memory.max_checkpoints and self.abort.is_set():
            raise KeyboardInterrupt
        is_finished = self.memory.max_checkpoints > 0 and len(ids) <= FINISHED_TOKENS
        began = time.perf_counter()
        try:
            with self.abort.finishing() if is_finished else nullcontext():
                decode(self._handle, batch, self.abort, self.eval_callback)
        except BaseException:
            left = self.memory.undo_failed(start)
            if left < start:
                self._forget_behind(left)
            raise
        self.times.record(time.perf_counter() - began, len(ids), 1)
        self.model.report_evaluated()
        self.ids += ids
        if self.memory.is_checkpoint_due(len(self.ids)):
            self.save_checkpoint()
        if self.observer:
            self.observer.evaluated(start, ids)
        if is_finished and self.abort.is_set():
            raise KeyboardInterrupt

    def logits(self, index: int = -1) -> NDArray[np.float32]:
        """Return the logits after the last id: float32 ``[n_vocab]``.

        The array is a view on llama.cpp's own memory, valid until the next evaluation.

        Args:
            index: After an evaluation with ``logits_from``, which of its ids, counted from 0.

        Raises:
            EngineError: if llama.cpp has no logits at ``index``.
        """
        return self._logit_views.one(index)

    def logit_rows(self, count: int) -> NDArray[np.float32]:
        """Return all logits that the last evaluation kept: float32 ``[count, n_vocab]``.

        The rows are in the order of the ids in the batch.

        The array is a view on llama.cpp's own memory, valid until the next evaluation.

        Args:
            count: How many rows it kept.

        Raises:
            EngineError: if llama.cpp has no logits.
        """
        return self._logit_views.rows(count)


def _threads_for(model: LlamaModel) -> int:
    """Return how many threads evaluate best: all cores, but one for a small model.

    Threads meet hundreds of times per token. With a small model and another process that wants a
    core, each meeting waits for the scheduler: nano with two threads beside other work made 13
    tokens/s, with one thread 750.
    """
    return 1 if model.header.file_size < SMALL_MODEL_BYTES else usable_cores()
