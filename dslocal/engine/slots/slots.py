"""Several conversations at once in one llama.cpp context: each has a sequence with a cache of its
own, and what all of them wait for is evaluated together.

A :class:`Slot` is a :class:`.LlamaContext` to whoever generates in it. One thread does all evaluation:
what waits goes into one batch, single tokens first and of long prompts as much as leaves the others
flowing. A sequence alone in a batch is computed as it would be in a context for one, to the bit.

Who generates may do so in a thread of its own, or be run by the evaluating thread, each in a
greenlet that makes way where it waits: with many conversations of a small model, handing every
token from thread to thread would cost as much as making it.

Knows nothing of requests, and not which conversation belongs in which lane: see :mod:`.placing`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from greenlet import getcurrent, greenlet
from numpy.typing import NDArray

from dslocal.engine.context import LlamaContext, decode
from dslocal.engine.interrupt import AbortFlag
from dslocal.errors import EngineError
from dslocal.gguf import libraries

from .batch import TokenBatch

# seconds that a stretch of a prompt may hold up other conversations' tokens, unless a token alone
# takes longer
STALL = 0.25
LEAST_STRETCH = 16  # tokens of a prompt that are evaluated in any case
# tokens from which ggml's products on a CPU are a quarter faster each: nano, 1,600 and 2,100 tokens
# a second
BLOCK = 64
# of a step's time that is waited for who just got a token, so that they come along in the next
PATIENCE = 0.25


class _Leaving(AbortFlag):
    """Ends what one lane does, not the others."""

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told

    def set(self) -> None:
        super().set()
        self._told()


class Slot(LlamaContext):
    """One conversation's place. For one thread at a time; ``abort`` may be set from any, and ends
    what waits here, at once if nobody else is evaluated with it."""

    def __init__(self, pool: SlotPool, number: int) -> None:
        host = pool.host
        self.model, self.load_config, self.n_ctx, self.batch_tokens = (
            host.model,
            host.load_config,
            host.load_config.n_ctx,
            host.load_config.n_batch,
        )
        self.kv_type, self.flash_attn, self.n_threads = (
            host.kv_type,
            host.flash_attn,
            host.n_threads,
        )
        self.number = number
        self.ids: list[int] = []
        self.prompt_length = 0  # of its ids, as whoever generates here says
        self.observer = None
        self.abort = _Leaving(pool.look)
        self._low, self._handle, self._pool = libraries.require(), host.handle, pool
        self._logits = np.zeros(self.model.n_vocab, np.float32)
        self._done = threading.Lock()
        self._done.acquire()
        self.todo: list[int] = []
        self.error: BaseException | None = None
        self.waiter: greenlet | None = None  # who is run by the evaluating thread, and waits
        self.held = 0  # positions that llama.cpp has; what was trimmed goes when more comes

    def close(self) -> None:
        """The context is closed with all its lanes."""

    def trim(self, length: int) -> None:
        """Removes what is behind the first ``length`` positions."""
        del self.ids[length:]

    def evaluate(self, ids: Sequence[int], *, all_logits: bool = False) -> None:
        """Appends ids and waits for it. Raises KeyboardInterrupt when aborted, EngineError when
        llama.cpp fails.
        """
        if len(self.ids) + len(ids) > self.n_ctx:
            raise EngineError(f"{len(self.ids) + len(ids):,} tokens in a context of {self.n_ctx:,}")
        if all_logits:
            raise EngineError("a lane has logits after the last id alone")
        self.todo = list(ids)
        self._pool.wait(self)
        error, self.error = self.error, None
        if error is not None:
            raise error

    def logits(self, index: int = -1) -> NDArray[np.float32]:
        """float32 ``[n_vocab]`` after the last id; valid until the next evaluation here."""
        return self._logits

    def mark_idle(self) -> None:
        """Nothing more is to be expected here for now: nobody needs to wait for it."""
        self._pool.mark_idle(self)

    def copy(self, other: Slot, length: int) -> None:
        """Takes over the first ``length`` positions of ``other``, which may be at work."""
        self._pool.between(lambda: self._copy(other, length))

    def run(self, job: Callable[[], None]) -> None:
        """Has the evaluating thread run ``job``, which generates here and raises nothing. Raises
        KeyboardInterrupt when closing.
        """
        self._pool.run(job)

    def _copy(self, other: Slot, length: int) -> None:
        memory = self._low.llama_get_memory(self._handle)
        self._low.llama_memory_seq_rm(memory, self.number, -1, -1)
        self._low.llama_memory_seq_cp(
            memory, other.number, self.number, -1, -1
        )  # caches of their own can be copied whole alone
        self.ids, self.held = other.ids[:length], other.held

    def finished(
        self, error: BaseException | None = None, logits: NDArray[np.float32] | None = None
    ) -> None:
        """For the evaluating thread: what was posted is done, or failed."""
        if logits is not None:
            np.copyto(self._logits, logits)
        self.todo, self.error = [], error
        if self.waiter is None:
            self._done.release()

    def sleep(self) -> None:
        """Waits in a thread of its own."""
        self._done.acquire()


class SlotPool:
    """All lanes of ``host``, a context made for several sequences, and the thread that evaluates
    for them. Close it before the context.
    """

    def __init__(self, host: LlamaContext) -> None:
        self.host = host
        self.slots = [Slot(self, number) for number in range(host.load_config.n_seq)]
        self.steps = 0
        self._changed = threading.Condition()
        self._waiting: list[Slot] = []
        self._expected: set[Slot] = set()
        self._inflight: list[Slot] = []
        self._calls: list[tuple[Callable[[], None], threading.Event]] = []
        self._jobs: list[Callable[[], None]] = []
        self._ready: deque[Slot] = deque()  # whose waiters may go on
        self._hub: greenlet | None = None
        self._closing = False
        self._decode_s, self._token_s = (
            0.0,
            0.0,
        )  # what a step of single tokens takes, and a token of a prompt
        self._batch = TokenBatch(max(host.load_config.n_batch, len(self.slots)))
        self._low, self._memory = (
            libraries.require(),
            libraries.require().llama_get_memory(host.handle),
        )
        self._thread = threading.Thread(target=self._run, name="lanes", daemon=True)
        self._thread.start()

    def __enter__(self) -> SlotPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread; what still waits raises KeyboardInterrupt."""
        with self._changed:
            self._closing = True
            self.host.abort.set()
            self._changed.notify()
        self._thread.join()

    def run(self, job: Callable[[], None]) -> None:
        with self._changed:
            if self._closing:
                raise KeyboardInterrupt
            self._jobs.append(job)
            self._changed.notify()

    def wait(self, lane: Slot) -> None:
        """Returns when what ``lane`` has to do is done."""
        hub = self._hub if threading.current_thread() is self._thread else None
        lane.waiter = getcurrent() if hub else None
        with self._changed:
            self._expected.discard(lane)
            if self._closing:
                self._finish(lane, KeyboardInterrupt())
            else:
                self._waiting.append(lane)
                self._changed.notify()
        if hub:
            hub.switch()
        else:
            lane.sleep()

    def _finish(
        self,
        lane: Slot,
        error: BaseException | None = None,
        logits: NDArray[np.float32] | None = None,
    ) -> None:
        lane.finished(error, logits)
        if lane.waiter is not None:
            self._ready.append(lane)

    def mark_idle(self, lane: Slot) -> None:
        with self._changed:
            self._expected.discard(lane)
            self._changed.notify()

    def look(self) -> None:
        """A lane's abort was set: what is evaluated for nobody else ends now."""
        with self._changed:
            if self._inflight and all(lane.abort.is_set() for lane in self._inflight):
                self.host.abort.set()
            self._changed.notify()

    def between(self, call: Callable[[], None]) -> None:
        """Calls ``call`` where nothing is evaluated, and waits for it. Raises KeyboardInterrupt
        when closing.
        """
        if threading.current_thread() is self._thread:
            call()
            return
        done = threading.Event()
        with self._changed:
            if self._closing:
                raise KeyboardInterrupt
            self._calls.append((call, done))
            self._changed.notify()
        done.wait()

    def _run(self) -> None:
        self._hub = getcurrent()
        while True:
            with self._changed:
                self._gather()
                calls, self._calls = self._calls, []
                jobs, self._jobs = self._jobs, []
                gone = [lane for lane in self._waiting if lane.abort.is_set() or self._closing]
                self._waiting = [lane for lane in self._waiting if lane not in gone]
                self._inflight = [] if self._closing else list(self._waiting)
            for lane in gone:
                self._finish(lane, KeyboardInterrupt())
            for call, done in calls:
                call()
                done.set()
            if self._inflight:
                self._step()
            for job in jobs:
                greenlet(job).switch()
            while self._ready:
                lane = self._ready.popleft()
                waiter, lane.waiter = lane.waiter, None
                if waiter is not None:
                    waiter.switch()
            if self._closing and not self._jobs:
                return

    def _gather(self) -> None:
        """Waits for something to do, and a little for those that just got a token."""
        while not (self._waiting or self._calls or self._jobs or self._closing):
            self._changed.wait()
        until = time.monotonic() + PATIENCE * self._decode_s
        while self._expected and not (self._calls or self._jobs or self._closing):
            left = until - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                self._expected.clear()

    def _step(self) -> None:
        """Evaluates once for those that wait."""
        stretches = self._stretches(self._inflight)
        tokens = sum(len(ids) for _, ids in stretches)
        for lane, _ in stretches:
            if lane.held > len(lane.ids):
                self._drop(lane)
        places = self._batch.fill((lane.number, len(lane.ids), ids) for lane, ids in stretches)
        began = time.perf_counter()
        try:
            decode(self.host.handle, self._batch.struct, self.host.abort)
        except (KeyboardInterrupt, EngineError) as e:
            self._fail([lane for lane, _ in stretches], e)
            return
        self._learn(time.perf_counter() - began, tokens, single=tokens == len(stretches))
        self.steps += 1
        done = []
        for (lane, ids), place in zip(stretches, places, strict=True):
            lane.ids += ids
            lane.held = len(lane.ids)
            del lane.todo[: len(ids)]
            if not lane.todo:
                done.append((lane, place))
        with self._changed:
            self._inflight = []
            self._waiting = [lane for lane in self._waiting if lane.todo]
            self._expected.update(lane for lane, _ in done if lane.waiter is None)
        for lane, place in done:
            self._finish(lane, logits=self.host.logits(place))

    def _stretches(self, waiting: Sequence[Slot]) -> list[tuple[Slot, list[int]]]:
        """What of each lane's ids goes into the next batch, by the lanes' numbers: a token of each,
        since llama.cpp evaluates neighbouring sequences at once and a gap parts them, and of
        prompts as much as there is room for, first come, first served."""
        room = self.host.load_config.n_batch - len(waiting)
        if any(len(lane.todo) == 1 for lane in waiting):
            seconds = max(STALL, self._decode_s)
            room = max(
                LEAST_STRETCH, min(room, int(seconds / self._token_s) if self._token_s else BLOCK)
            )
            room = max(min(room, LEAST_STRETCH), room // BLOCK * BLOCK)
        found = []
        for lane in waiting:
            more = min(len(lane.todo) - 1, room)
            room -= more
            found.append((lane, lane.todo[: 1 + more]))
        return sorted(found, key=lambda pair: pair[0].number)

    def _learn(self, seconds: float, tokens: int, *, single: bool) -> None:
        if single:
            self._decode_s += (seconds - self._decode_s) * (0.1 if self._decode_s else 1)
        elif tokens >= LEAST_STRETCH:
            each = seconds / tokens
            self._token_s += (each - self._token_s) * (0.3 if self._token_s else 1)

    def _drop(self, lane: Slot) -> None:
        self._low.llama_memory_seq_rm(self._memory, lane.number, len(lane.ids), -1)
        lane.held = len(lane.ids)

    def _fail(self, lanes: Sequence[Slot], error: BaseException) -> None:
        """Nothing was evaluated. Where it was stopped, who left is told by the next round, and who
        did not is evaluated again.
        """
        for lane in lanes:
            self._drop(lane)
        with self._changed:
            self._inflight = []
            if isinstance(error, KeyboardInterrupt):
                if not self._closing:
                    self.host.abort.clear()
                return
            self._waiting = [lane for lane in self._waiting if lane not in lanes]
        for lane in lanes:
            self._finish(lane, error)
