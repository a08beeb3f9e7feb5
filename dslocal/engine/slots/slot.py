"""One conversation's part of a llama.cpp context: a sequence with a KV cache of its own.

For the code that generates in it, a slot is a :class:`.LlamaContext`. What it evaluates it hands to
a scheduler, which evaluates for all slots together (:class:`.SlotPool`).

A slot's life, as states of :class:`SlotState`::

    IDLE or EXPECTED ─► WAITING ─► EVALUATING ─► READY ─► IDLE      run by a greenlet
                          ▲             │   └───────────► EXPECTED  run by a thread
                          └─────────────┘ part of a prompt, or interrupted for another slot
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

import numpy as np
from greenlet import greenlet
from numpy.typing import NDArray

from dslocal.engine.context import LlamaContext
from dslocal.engine.interrupt import AbortFlag
from dslocal.engine.kv_cache.sequence_memory import SequenceMemory, max_checkpoints
from dslocal.errors import EngineError
from dslocal.gguf import libraries

from .step_times import StepTimes


class SlotState(Enum):
    """What the scheduler has to do for a slot."""

    IDLE = "idle"  # nothing
    EXPECTED = "expected"  # nothing yet, but its thread just got a token and will want the next
    WAITING = "waiting"  # evaluate its pending ids
    EVALUATING = "evaluating"  # finish the step that some of its pending ids are in
    READY = "ready"  # let its greenlet continue


class Scheduler(Protocol):
    """What evaluates for slots.

    Attributes:
        host: A context that was made for several sequences.
        times: How long its steps take.
    """

    host: LlamaContext
    times: StepTimes

    def run(self, job: Callable[[], None]) -> None:
        """See :meth:`Slot.run`."""

    def deadline(self, tokens: int) -> int:
        """Return the deadline of a prompt of which ``tokens`` are to be evaluated."""

    def evaluate_pending(self, slot: Slot) -> None:
        """Wait until the pending ids of ``slot`` are evaluated."""

    def mark_idle(self, slot: Slot) -> None:
        """See :meth:`Slot.mark_idle`."""

    def react_to_abort(self) -> None:
        """End the step at work if all slots that it is for are aborted."""

    def call_between_steps(self, function: Callable[[], None]) -> None:
        """See :meth:`Slot.call_between_steps`."""

    def expect_job(self) -> None:
        """See :meth:`Slot.expect_job`."""

    def call_before_step(self, function: Callable[[], None]) -> None:
        """See :meth:`Slot.call_before_step`."""


class _SlotAbortFlag(AbortFlag):
    """Ends what one slot waits for, not what others do."""

    def __init__(self, on_set: Callable[[], None]) -> None:
        super().__init__()
        self._on_set = on_set

    def set(self) -> None:
        super().set()
        self._on_set()


class Slot(LlamaContext):
    """One conversation's part of a context. For one thread at a time.

    ``abort`` may be set from any thread. It ends what waits here: at once if the step at work is
    for no other slot, otherwise after that step.

    Attributes:
        seq_id: llama.cpp's number of its sequence.
        prompt_length: How many of ``ids`` were a prompt, as the code that generates here says.
    """

    def __init__(self, scheduler: Scheduler, seq_id: int) -> None:
        """Make a slot that shares the context of ``scheduler``, and so makes none of its own."""
        host = scheduler.host
        self.model = host.model
        self.load_config = host.load_config
        self.n_ctx = host.load_config.n_ctx
        self.n_threads = host.n_threads
        self.kv_type = host.kv_type
        self.flash_attn = host.flash_attn
        self.ids: list[int] = []
        self.observer = None
        self.eval_callback = None  # that of the host sees all slots
        self.streamer = host.streamer
        self.abort = _SlotAbortFlag(scheduler.react_to_abort)
        self.seq_id = seq_id
        self.prompt_length = 0
        self.times = scheduler.times
        self._scheduler = scheduler
        self._low = libraries.require()
        self._handle = host.handle
        self.memory = SequenceMemory(
            self._handle,
            seq_id,
            max_checkpoints=max_checkpoints(self.model.header, self.load_config.n_seq),
        )
        self._logits = np.zeros(0, np.float32)
        self._copied_logits = np.zeros(0, np.float32)  # for what runs in a thread of its own
        self._cached = 0  # positions in llama.cpp's cache; trimmed ones go before more come
        self._init_request()

    def _init_request(self) -> None:
        """Set up what belongs to the scheduler."""
        self.state = SlotState.IDLE
        self.deadline = 0  # of its prompt, among those of other slots
        self._prompt_left = 0  # ids of its prompt that are not evaluated
        self.pending: list[int] = []
        self.greenlet: greenlet | None = None  # what waits, if the scheduler's thread runs it
        self._error: BaseException | None = None
        self._done = threading.Lock()  # what waits in a thread of its own acquires it
        self._done.acquire()

    def close(self) -> None:
        """Do nothing: the context is closed with all its slots."""

    def clear(self) -> None:
        """Empty the KV cache."""
        self.trim(0)

    def trim(self, length: int) -> int:
        """See :meth:`.LlamaContext.trim`.

        Raises:
            KeyboardInterrupt: if the pool is closed.
        """
        if self.memory.max_checkpoints:
            self._scheduler.call_between_steps(lambda: self._trim_now(length))
        else:  # from the cache before more comes
            del self.ids[length:]
        return len(self.ids)

    def save_checkpoint(self) -> None:
        """See :meth:`.LlamaContext.save_checkpoint`.

        Raises:
            KeyboardInterrupt: if the pool is closed.
        """
        if self.memory.max_checkpoints:
            self._scheduler.call_between_steps(lambda: self.memory.save_checkpoint(len(self.ids)))

    @property
    def batch_tokens(self) -> int:
        """Return how many tokens a prefill evaluates at a time: a whole number of steps.

        A rest would take a step of its own.
        """
        n_batch = self.load_config.n_batch
        room = max(1, self.times.prompt_room(n_batch - self.load_config.n_seq))
        return n_batch // room * room

    def note_prompt(self, tokens: int) -> None:
        """See :meth:`.LlamaContext.note_prompt`."""
        self.deadline = self._scheduler.deadline(tokens)
        self._prompt_left = tokens

    def evaluate(self, ids: Sequence[int], *, logits_from: int | None = None) -> None:
        """Append ``ids`` to the cache, and wait until they are evaluated.

        Args:
            ids: As many as the cache has room for.
            logits_from: Not supported: a slot has logits after the last id alone.

        Raises:
            KeyboardInterrupt: if aborted, or if the pool is closed.
            EngineError: if llama.cpp fails or the ids do not fit.
        """
        if len(self.ids) + len(ids) > self.n_ctx:
            raise EngineError(f"{len(self.ids) + len(ids):,} tokens in a context of {self.n_ctx:,}")
        if logits_from is not None:
            raise EngineError("a slot has logits after the last id alone")
        self.pending = list(ids)
        self._scheduler.evaluate_pending(self)
        error, self._error = self._error, None
        if error is not None:
            raise error

    def logits(self, index: int = -1) -> NDArray[np.float32]:
        """Return the logits after the last id: float32 ``[n_vocab]``.

        Valid until the next evaluation in this slot.
        """
        return self._logits

    def mark_idle(self) -> None:
        """Tell the scheduler that nothing more is to be expected here for now."""
        self._scheduler.mark_idle(self)

    def copy(self, other: Slot, length: int) -> None:
        """Take over the first ``length`` positions of ``other``, which may be at work.

        Raises:
            KeyboardInterrupt: if the pool is closed.
        """
        self._scheduler.call_between_steps(lambda: self._copy_now(other, length))

    def note_restored(self, ids: Sequence[int]) -> None:
        """See :meth:`.LlamaContext.note_restored`."""
        super().note_restored(ids)
        self._cached = len(self.ids)

    def call_between_steps(self, function: Callable[[], None]) -> None:
        """Call ``function`` while nothing is evaluated in any slot, and wait for it.

        Raises:
            KeyboardInterrupt: if the pool is closed.
        """
        self._scheduler.call_between_steps(function)

    def expect_job(self) -> None:
        """Have the next evaluation wait a little for a job that is about to come.

        For the scheduler's thread.
        """
        self._scheduler.expect_job()

    def call_before_step(self, function: Callable[[], None]) -> None:
        """Call ``function`` when no slot has anything to do before the next evaluation.

        For the scheduler's thread.
        """
        self._scheduler.call_before_step(function)

    def run(self, job: Callable[[], None]) -> None:
        """Have the scheduler's thread run ``job``, which generates here and raises nothing.

        Raises:
            KeyboardInterrupt: if the pool is closed.
        """
        self._scheduler.run(job)

    def _copy_now(self, other: Slot, length: int) -> None:
        self.memory.copy(other.memory)
        self._cached = other._cached
        if self.memory.max_checkpoints:
            self.ids = list(other.ids)
            self._trim_now(length)
        else:
            self.ids = other.ids[:length]

    def _trim_now(self, length: int) -> None:
        if length < len(self.ids):
            self._cached = self.memory.shorten(length)
            del self.ids[self._cached :]

    # The following are for the scheduler's thread.

    @property
    def is_prompt(self) -> bool:
        """Return whether the pending ids are of a prompt."""
        return self._prompt_left > 0 or len(self.pending) > 1

    def drop_trimmed(self) -> None:
        """Remove positions from llama.cpp's cache that are not in ``ids``."""
        if self._cached > len(self.ids):
            self._cached = self.memory.shorten(len(self.ids))

    def drop_partial(self) -> None:
        """Remove what a step that failed may have left in llama.cpp's cache.

        Ids that have to go with it are pending again.
        """
        self._cached = self.memory.undo_failed(len(self.ids))
        self.pending[:0] = self.ids[self._cached :]
        del self.ids[self._cached :]

    def save_due_checkpoint(self) -> None:
        """Keep a checkpoint if the last one is far behind."""
        if self.memory.is_checkpoint_due(len(self.ids)):
            self.memory.save_checkpoint(len(self.ids))

    def append_evaluated(self, ids: Sequence[int]) -> None:
        """Take note that the first pending ids, which are ``ids``, are in the cache."""
        self.ids += ids
        self._prompt_left = max(0, self._prompt_left - len(ids))
        self._cached = len(self.ids)
        del self.pending[: len(ids)]

    def finish(
        self, error: BaseException | None = None, logits: NDArray[np.float32] | None = None
    ) -> None:
        """End :meth:`evaluate`: with ``logits`` after the last id, or with an error.

        A thread gets a copy of them. A greenlet continues before the next step, so that it may look
        at llama.cpp's own.
        """
        self.pending = []
        self._error = error
        if self.greenlet is not None:
            if logits is not None:
                self._logits = logits
            self.state = SlotState.READY
            return
        if logits is not None:
            if self._copied_logits.shape != logits.shape:  # the first time
                self._copied_logits = np.empty_like(logits)
            np.copyto(self._copied_logits, logits)
            self._logits = self._copied_logits
        self._done.release()

    def resume(self) -> None:
        """Let the greenlet continue until it waits again, or ends."""
        waiting, self.greenlet = self.greenlet, None
        self.state = SlotState.IDLE
        if waiting is not None:
            waiting.switch()

    def sleep(self) -> None:
        """Wait for :meth:`finish`, in a thread other than the scheduler's."""
        self._done.acquire()
