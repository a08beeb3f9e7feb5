"""The queue: which request gets which slots, first come, first served.

Knows requests and the slots that generate; how a request is generated, :mod:`.request_run` knows.
For the event loop's thread alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .exchange.event_channel import EventChannel, LoopCalls
from .preparation.prepared_request import PreparedRequest
from .wire.errors import ApiError

if TYPE_CHECKING:
    from dslocal.engine import EngineContext

RETRY_AFTER_S = 5


class SlotAssignment(NamedTuple):
    """A slot for one answer, and another whose cache begins as the prompt does, to copy from."""

    context: EngineContext
    copy_from: EngineContext | None


class Cancellable(Protocol):
    """A request whose answers are being generated."""

    def cancel(self) -> None:
        """End it at once."""


class RequestQueue:
    """The slots in which answers are generated, and the requests that wait for one."""

    def __init__(self, slots: Sequence[EngineContext], max_waiting: int) -> None:
        """Own ``slots``; refuse requests when ``max_waiting`` of them wait already."""
        self.slots = tuple(slots)
        # Runs answers in contexts that are not slots and so have no thread of their own.
        self.threads = ThreadPoolExecutor(len(slots), thread_name_prefix="answer")
        self.is_stopping = False
        self.runs: set[Cancellable] = set()
        self._idle: deque[EngineContext] = deque(slots)  # the one that has been idle longest first
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._max_waiting = max_waiting
        self._loop_calls: LoopCalls | None = None
        self._reserved = 0  # idle slots of requests that were called and have not come yet

    @property
    def busy(self) -> int:
        """Return how many slots are generating."""
        return len(self.slots) - len(self._idle)

    @property
    def waiting(self) -> int:
        """Return how many requests wait for a slot."""
        return len(self._waiting)

    async def acquire(self, request: PreparedRequest, answers: int) -> list[SlotAssignment]:
        """Wait for a slot, and take one for each answer as far as others are free.

        Every slot must be handed back with :meth:`release`.

        Args:
            request: What the first answer is to.
            answers: How many answers there are to generate.

        Raises:
            ApiError: 429 when too many requests wait, 503 when the server is stopping.
        """
        if self.is_stopping:
            raise stopping_error()
        if len(self._idle) <= self._reserved:
            await self._wait()
        first = self._assign_first(request)
        assignments = [first]
        while len(assignments) < answers and len(self._idle) > self._reserved and not self._waiting:
            assignments.append(SlotAssignment(self._idle.popleft(), first.context))
        return assignments

    def open_channel(self) -> EventChannel:
        """Return a channel for what generates in the slots to report to the running loop."""
        if self._loop_calls is None:
            self._loop_calls = LoopCalls(asyncio.get_running_loop(), self.slots)
        return EventChannel(self._loop_calls)

    def release(self, context: EngineContext) -> None:
        """Take back a slot, and call the next request."""
        self._idle.append(context)
        self._call_next()

    def expect_next(self, context: EngineContext) -> None:
        """Have the slots wait a little for the next request, which is to get ``context``.

        For the thread that generates there, when :meth:`release` is about to be called.
        """
        from dslocal.engine.slots.slot import Slot

        if self._waiting and isinstance(context, Slot):
            context.expect_job()

    def stop(self) -> None:
        """Take no more requests, and refuse those that wait."""
        self.is_stopping = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(stopping_error())

    def cancel_running(self) -> None:
        """End the requests whose answers are being generated."""
        for run in set(self.runs):
            run.cancel()

    async def _wait(self) -> None:
        """Return when a slot is idle and this request's turn has come."""
        if len(self._waiting) >= self._max_waiting:
            raise queue_full_error(len(self._waiting))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled() and not turn.exception():
                # Called, but its client left at the same moment: the slot is the next request's.
                self._reserved -= 1
                self._call_next()
            raise
        self._reserved -= 1

    def _call_next(self) -> None:
        while self._waiting and len(self._idle) > self._reserved:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._reserved += 1

    def _assign_first(self, request: PreparedRequest) -> SlotAssignment:
        """Take the idle slot whose cache fits the prompt best."""
        from dslocal.engine.slots.slot import Slot
        from dslocal.engine.slots.slot_choice import choose_slot

        assignment = SlotAssignment(self._idle[0], None)
        slots = [context for context in self._idle if isinstance(context, Slot)]
        if slots and not request.ignores_cache:
            assignment = SlotAssignment(*choose_slot(slots, request.ids))
        self._idle.remove(assignment.context)
        return assignment


def queue_full_error(waiting: int) -> ApiError:
    """Return the error for a request beyond the ``waiting`` ones that may wait."""
    return ApiError(
        429,
        f"{waiting} requests wait already; try again in {RETRY_AFTER_S} seconds",
        code="queue_full",
    )


def stopping_error() -> ApiError:
    """Return the error for a request to a server that takes no more."""
    return ApiError(503, "the server is stopping", code="stopping")
