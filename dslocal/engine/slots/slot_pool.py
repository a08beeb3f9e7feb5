"""Several conversations at once in one llama.cpp context.

Each conversation has a slot (:mod:`.slot`). One thread, the scheduler, does all evaluation. Each of
its steps evaluates one batch for the slots that wait (:mod:`.batch_shares`). Pieces of prompts come
first, and the tokens of running answers between them, as often as they must (:mod:`.turns`). A
sequence that is alone in a batch gives the same bits as in a context of its own.

The code that generates may run in a thread of its own. Or the scheduler's thread runs it, as a
greenlet that gives way where it waits: with many conversations of a small model, handing each token
from thread to thread would cost as much as making it.

Knows nothing of requests, nor which conversation belongs in which slot (:mod:`.slot_choice`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from greenlet import getcurrent, greenlet

from dslocal.engine.context import LlamaContext
from dslocal.engine.decode import decode
from dslocal.errors import EngineError

from .batch import BatchPart, TokenBatch
from .batch_shares import deadline, share_batch
from .slot import Slot, SlotState
from .step_times import StepTimes
from .turns import Turns

Share = tuple[Slot, list[int]]  # of a batch: ids of a slot

# Share of a step's time that the next step waits for the threads that just got a token, so that
# theirs come along.
PATIENCE = 0.25
MAX_JOB_WAIT_S = 0.005  # that the next step waits for jobs that are expected


class _Call(NamedTuple):
    """Something to do between two steps, and the event that tells that it is done."""

    function: Callable[[], None]
    done: threading.Event


class SlotPool:
    """All slots of a context, and the thread that evaluates for them. Close it before the context.

    Attributes:
        host: A context that was made for several sequences.
        slots: One for each sequence.
        times: How long its steps take.
        steps: How often the pool has evaluated.
    """

    def __init__(self, host: LlamaContext) -> None:
        """Start the scheduler for ``host``, which nothing else may use meanwhile."""
        self.host = host
        self.times = StepTimes()
        self._turns = Turns()
        self.slots = [Slot(self, seq_id) for seq_id in range(host.load_config.n_seq)]
        self.steps = 0
        self._batch = TokenBatch(max(host.load_config.n_batch, len(self.slots)))
        # guards the slots' states and what follows; notified when there may be something to do
        self._changed = threading.Condition()
        self._prompt_tokens = 0  # that were evaluated
        self._calls: list[_Call] = []
        self._jobs: list[Callable[[], None]] = []
        self._expected_jobs = 0
        self._calls_before_step: list[Callable[[], None]] = []  # of the scheduler's thread alone
        self._closing = False
        self._scheduler: greenlet | None = None
        self._thread = threading.Thread(target=self._schedule, name="slots", daemon=True)
        self._thread.start()

    def __enter__(self) -> SlotPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread. What still waits raises KeyboardInterrupt."""
        with self._changed:
            self._closing = True
            self.host.abort.set()
            self._changed.notify()
        self._thread.join()

    def run(self, job: Callable[[], None]) -> None:
        """See :meth:`Slot.run`."""
        with self._changed:
            self._refuse_if_closing()
            self._jobs.append(job)
            self._changed.notify()

    def deadline(self, tokens: int) -> int:
        """Return the deadline of a prompt that comes now, with ``tokens`` to be evaluated."""
        return deadline(self._prompt_tokens, tokens)

    def evaluate_pending(self, slot: Slot) -> None:
        """Wait until the pending ids of ``slot`` are evaluated."""
        scheduler = self._scheduler if threading.current_thread() is self._thread else None
        slot.greenlet = getcurrent() if scheduler else None
        with self._changed:
            if self._closing:
                slot.finish(KeyboardInterrupt())
            else:
                slot.state = SlotState.WAITING
                self._changed.notify()
        if scheduler:
            scheduler.switch()
        else:
            slot.sleep()

    def mark_idle(self, slot: Slot) -> None:
        """See :meth:`Slot.mark_idle`."""
        with self._changed:
            if slot.state is SlotState.EXPECTED:
                slot.state = SlotState.IDLE
            self._changed.notify()

    def react_to_abort(self) -> None:
        """End the step at work if all slots that it is for are aborted."""
        with self._changed:
            evaluating = self._in_state(SlotState.EVALUATING)
            if evaluating and all(slot.abort.is_set() for slot in evaluating):
                self.host.abort.set()
            self._changed.notify()

    def call_between_steps(self, function: Callable[[], None]) -> None:
        """Call ``function`` while nothing is evaluated, and wait for it.

        Raises:
            KeyboardInterrupt: if the pool is closed.
        """
        if threading.current_thread() is self._thread:
            function()
            return
        call = _Call(function, threading.Event())
        with self._changed:
            self._refuse_if_closing()
            self._calls.append(call)
            self._changed.notify()
        call.done.wait()

    def expect_job(self) -> None:
        """See :meth:`Slot.expect_job`."""
        self._expected_jobs += 1

    def call_before_step(self, function: Callable[[], None]) -> None:
        """See :meth:`Slot.call_before_step`."""
        self._calls_before_step.append(function)

    def _refuse_if_closing(self) -> None:
        if self._closing:
            raise KeyboardInterrupt

    def _in_state(self, state: SlotState) -> list[Slot]:
        return [slot for slot in self.slots if slot.state is state]

    # All that follows runs in the scheduler's thread.

    def _schedule(self) -> None:
        """Do what there is to do, until the pool is closed.

        A step may take long. So whatever wants to be in it, or can end without it, comes before it.
        """
        self._scheduler = getcurrent()
        while True:
            with self._changed:
                self._wait_for_work()
                calls, self._calls = self._calls, []
                jobs, self._jobs = self._jobs, []
            for call in calls:
                call.function()
                call.done.set()
            for job in jobs:
                greenlet(job).switch()
            with self._changed:
                self._interrupt_aborted()
            self._resume_ready()
            with self._changed:
                shares = self._begin_evaluating()
            if shares:
                self._step(shares)
                self._resume_ready()
            with self._changed:
                left = self._jobs or self._calls or self._in_state(SlotState.WAITING)
                if self._closing and not left:
                    return

    def _resume_ready(self) -> None:
        """Let the greenlets continue that have what they waited for, and tell who wants to know."""
        while ready := self._in_state(SlotState.READY):
            for slot in ready:
                slot.resume()
        calls, self._calls_before_step = self._calls_before_step, []
        for call in calls:
            call()

    def _wait_for_work(self) -> None:
        """Wait for something to do, and a little for jobs and tokens that are expected."""
        self._wait_for_jobs()
        while not (self._has_other_work() or self._in_state(SlotState.WAITING)):
            self._changed.wait()
        deadline = time.monotonic() + PATIENCE * self.times.decode_s
        while not self._has_other_work() and self._in_state(SlotState.EXPECTED):
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                for slot in self._in_state(SlotState.EXPECTED):
                    slot.state = SlotState.IDLE

    def _wait_for_jobs(self) -> None:
        """Wait a little for the jobs that are expected: without them, they wait for a step."""
        deadline = time.monotonic() + MAX_JOB_WAIT_S
        while len(self._jobs) < self._expected_jobs and not self._closing:
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                break
        self._expected_jobs = 0

    def _has_other_work(self) -> bool:
        """Return whether there is something to do that is not evaluation."""
        return bool(self._calls or self._jobs or self._closing)

    def _interrupt_aborted(self) -> None:
        for slot in self._in_state(SlotState.WAITING):
            if slot.abort.is_set() or self._closing:
                slot.state = SlotState.IDLE
                slot.finish(KeyboardInterrupt())

    def _begin_evaluating(self) -> list[Share]:
        """Return the slots whose ids go into the next step, with these ids."""
        waiting = self._in_state(SlotState.WAITING)
        waiting = [slot for slot in waiting if not slot.abort.is_set()]
        if not waiting:
            return []
        turn = self._turns.next(self.times, time.perf_counter())
        shares = share_batch(waiting, self.host.load_config.n_batch, self.times, turn)
        for slot, _ in shares:
            slot.state = SlotState.EVALUATING
        return shares

    def _step(self, shares: Sequence[Share]) -> None:
        """Evaluate one batch for slots that wait."""
        evaluating = [slot for slot, _ in shares]
        has_answers = not all(slot.is_prompt for slot in evaluating)
        prompt_tokens = sum(len(ids) for slot, ids in shares if slot.is_prompt)
        for slot in evaluating:
            slot.drop_trimmed()
        parts = [BatchPart(slot.seq_id, len(slot.ids), ids) for slot, ids in shares]
        self._batch.fill(parts)
        began = time.perf_counter()
        try:
            decode(self.host.handle, self._batch.struct, self.host.abort, self.host.eval_callback)
        except KeyboardInterrupt:
            self._retry(evaluating)
            return
        except EngineError as e:
            self._fail(evaluating, e)
            return
        self.host.model.report_evaluated()
        tokens = sum(len(ids) for _, ids in shares)
        ended = time.perf_counter()
        self.times.record(ended - began, tokens, len(shares))
        self._turns.record(has_answers, ended)
        self.steps += 1
        self._prompt_tokens += prompt_tokens
        with self._changed:
            for slot, ids in shares:
                slot.append_evaluated(ids)
                slot.state = _state_after_step(slot)
        for slot, _ in shares:
            slot.save_due_checkpoint()
        for (slot, _), logits in zip(shares, self.host.logit_rows(len(shares)), strict=True):
            if not slot.pending:
                slot.finish(logits=logits)

    def _retry(self, evaluating: Sequence[Slot]) -> None:
        """Undo a step that was interrupted.

        In the next round, aborted slots are interrupted, and the others evaluated again.
        """
        for slot in evaluating:
            slot.drop_partial()
        with self._changed:
            for slot in evaluating:
                slot.state = SlotState.WAITING
            if not self._closing:
                self.host.abort.clear()

    def _fail(self, evaluating: Sequence[Slot], error: EngineError) -> None:
        """Undo a step that llama.cpp failed in, and pass the error to all slots that it was for."""
        with self._changed:
            for slot in evaluating:
                slot.drop_partial()
                slot.state = SlotState.IDLE
        for slot in evaluating:
            slot.finish(error)


def _state_after_step(slot: Slot) -> SlotState:
    if slot.pending:
        return SlotState.WAITING
    return SlotState.IDLE if slot.greenlet is not None else SlotState.EXPECTED
