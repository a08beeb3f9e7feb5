"""Requests at work: whose turn it is, the threads that generate, and what they say on its way to
the event loop.

The event loop waits for places and passes on what comes; everything that takes time happens in
threads, one for each place.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dslocal import output
from dslocal.server.wire.errors import ApiError, fault_of

from .requests import PreparedRequest

if TYPE_CHECKING:
    from dslocal.engine import LlamaContext, TokenLogprobs
    from dslocal.output.reasoning import AnswerEvent

RETRY_S = 5


@dataclass(frozen=True, slots=True)
class Said:
    """A part of the answer number ``choice``, with the logprobs of the tokens that it took, those
    before it that said nothing included. ``sure`` is as in :class:`dslocal.chat.Turn`."""

    choice: int
    part: AnswerEvent
    sure: bool
    logprobs: Sequence[TokenLogprobs] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer number ``choice`` is complete."""

    choice: int
    turn: output.Turn


Event = Said | Ended


class RequestQueue:
    """The places where answers are generated, handed out first come, first served. For the event
    loop's thread alone.
    """

    def __init__(self, places: Sequence[LlamaContext], queue: int) -> None:
        """At most ``queue`` requests wait."""
        self.places = tuple(places)
        self._idle: deque[LlamaContext] = deque(places)  # the one that has rested longest first
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._queue, self._promised = (
            queue,
            0,
        )  # places that are idle and somebody's who has not come for them yet
        self.threads = ThreadPoolExecutor(
            len(places), thread_name_prefix="answer"
        )  # for places that have no thread of their own
        self.stopping = False
        self.runs: set[RequestRun] = set()

    @property
    def busy(self) -> int:
        return len(self.places) - len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def place(self, asked: PreparedRequest) -> list[tuple[LlamaContext, LlamaContext | None]]:
        """Places for ``asked``, one for each of its answers if so many are free: each with another
        whose beginning is to be copied there.

        Raises Fault when too many wait already, or the server is stopping.
        """
        if self.stopping:
            raise ApiError(503, "the server is stopping", code="stopping")
        if len(self._idle) <= self._promised:
            if len(self._waiting) >= self._queue:
                message = (
                    f"{len(self._waiting)} requests wait already; try again in {RETRY_S} seconds"
                )
                raise ApiError(429, message, code="queue_full")
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                elif turn.done() and not turn.cancelled() and not turn.exception():
                    self._promised -= 1
                    self._call_next()
                raise
            self._promised -= 1
        found = [self._placed(asked)]
        while len(found) < asked.n and len(self._idle) > self._promised and not self._waiting:
            found.append((self._idle.popleft(), found[0][0]))
        return found

    def _placed(self, asked: PreparedRequest) -> tuple[LlamaContext, LlamaContext | None]:
        from dslocal.engine.slots.slot_choice import choose_slot
        from dslocal.engine.slots.slots import Slot

        context: LlamaContext
        source: LlamaContext | None
        context, source = self._idle[0], None
        if not asked.fresh and (lanes := [lane for lane in self._idle if isinstance(lane, Slot)]):
            context, source = choose_slot(lanes, asked.ids)
        self._idle.remove(context)
        return context, source

    def give_back(self, context: LlamaContext) -> None:
        self._idle.append(context)
        self._call_next()

    def _call_next(self) -> None:
        while self._waiting and len(self._idle) > self._promised:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._promised += 1

    def stop(self) -> None:
        """No more requests; who waits is told."""
        self.stopping = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(ApiError(503, "the server is stopping", code="stopping"))

    def cut(self) -> None:
        """Ends what is at work."""
        for run in set(self.runs):
            run.cancel()


@dataclass(eq=False)
class RequestRun:
    """One request at work. ``count`` is told every answer when it has ended, and whether before its
    time.
    """

    desk: RequestQueue
    asked: PreparedRequest
    count: Callable[[output.Turn, bool], None]
    turns: dict[int, output.Turn] = field(default_factory=dict)
    cancelled: bool = False
    _contexts: list[LlamaContext] = field(default_factory=list)
    _events: deque[Event | ApiError | None] = field(default_factory=deque)
    _told: bool = False
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _begin: Callable[[], None] | None = (
        None  # the other answers, once the first has read the prompt
    )
    _next: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def cancel(self) -> None:
        """Ends it, at once where a token is being evaluated. For the event loop's thread."""
        self.cancelled = True
        for context in self._contexts:
            context.abort.set()

    async def events(self) -> AsyncGenerator[list[Event]]:
        """What happens, all that came meanwhile at once. Raises Fault. Closed, it ends the work."""
        loop = asyncio.get_running_loop()
        placed = await self.desk.place(self.asked)
        self.desk.runs.add(self)
        self._contexts = [context for context, _ in placed]
        for context in self._contexts:
            context.abort.clear()
        if self.cancelled:
            self.cancel()
        waiting = placed[1:]
        self._start(loop, *placed[0])

        def begin() -> None:
            while waiting and not self.cancelled:
                self._start(loop, *waiting.pop(0))

        self._begin = begin
        try:
            left = len(placed)
            while left:
                await self._ready.wait()
                self._ready.clear()
                self._told = False
                found: list[Event] = []
                while self._events:
                    event = self._events.popleft()
                    if event is None:
                        left -= 1
                    elif isinstance(event, ApiError):
                        if found:
                            yield found
                        raise event
                    else:
                        found.append(event)
                if found:
                    yield found
        finally:
            self.cancel()
            self.desk.runs.discard(self)
            while waiting:
                context, _ = waiting.pop()
                self._contexts.remove(context)
                self.desk.give_back(context)

    def _start(
        self, loop: asyncio.AbstractEventLoop, context: LlamaContext, source: LlamaContext | None
    ) -> None:
        """Has answers generated in ``context``, which is given back in the end."""
        from dslocal.engine.slots.slots import Slot

        def over() -> None:
            self._contexts.remove(context)  # what is ended from now on is somebody else's
            self.desk.give_back(context)

        def work() -> None:
            try:
                self._work(loop, context, source)
            finally:
                _soon(loop, over)

        if isinstance(context, Slot):
            context.run(work)
        else:
            self.desk.threads.submit(work)

    def _work(
        self, loop: asyncio.AbstractEventLoop, context: LlamaContext, source: LlamaContext | None
    ) -> None:
        """Generates answers in ``context`` until there are none left to generate. Not in the event
        loop's thread.
        """

        def tell(event: Event | ApiError | None) -> None:
            self._events.append(event)
            if not self._told:
                self._told = True
                _soon(loop, self._ready.set)

        try:
            if self.cancelled:
                raise KeyboardInterrupt
            self._bring(context, source)
            while (choice := self._take()) is not None:
                self._answer(loop, context, choice, tell)
        except BaseException as e:
            tell(_fault(e))
        finally:
            self._others(loop)
            tell(None)

    def _others(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._begin:
            _soon(loop, self._begin)

    def _bring(self, context: LlamaContext, source: LlamaContext | None) -> None:
        """Makes the cache begin as another's does."""
        from dslocal.engine.slots.slot_choice import common_prefix_length
        from dslocal.engine.slots.slots import Slot

        if self.asked.fresh:
            context.clear()
        elif isinstance(context, Slot) and isinstance(source, Slot):
            context.copy(source, common_prefix_length(source.ids, self.asked.ids))
        if isinstance(context, Slot):
            context.prompt_length = len(self.asked.ids)

    def _take(self) -> int | None:
        with self._lock:
            choice, self._next = self._next, self._next + 1
        return choice if choice < self.asked.n else None

    def _answer(
        self,
        loop: asyncio.AbstractEventLoop,
        context: LlamaContext,
        choice: int,
        tell: Callable[[Event], None],
    ) -> None:
        asked = self.asked
        turn = self.turns[choice] = output.Turn(
            0, seed=asked.seed + choice, top_logprobs=asked.top_logprobs, constraint=asked.form
        )

        def on_prefill(done: int, todo: int) -> None:
            if done >= todo and choice == 0:
                self._others(loop)

        spoken = 0
        generated = output.stream_answer(
            turn,
            context,
            asked.family,
            asked.settings,
            asked.prompt,
            ids=asked.ids,
            on_prefill=on_prefill,
        )
        cut = True
        try:
            with closing(generated) as parts:
                for part in parts:
                    if asked.top_logprobs is None:
                        tell(Said(choice, part, turn.text_is_certain))
                    else:
                        known = turn.completion_tokens
                        tell(
                            Said(
                                choice,
                                part,
                                turn.text_is_certain,
                                tuple(turn.logprobs[spoken:known]),
                            )
                        )
                        spoken = known
            cut = False
        finally:
            self.count(turn, cut)
        tell(Ended(choice, turn))


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended, and whoever wanted to know has left
        loop.call_soon_threadsafe(call)


def _fault(error: BaseException) -> ApiError:
    fault = fault_of(error)
    fault.__cause__ = error
    return fault
