"""The transfer of events from the threads that generate to the event loop.

Waking the loop costs as much as generating a token of a small model, and its thread then competes
with the generating one for Python's lock. So it is woken once for all reports that come together:
where one thread generates for all slots, after it has sampled for all of them, when it evaluates
the next batch and does not need the lock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

from dslocal.server.wire.errors import ApiError

from .events import RunEvent

if TYPE_CHECKING:
    from dslocal.engine import EngineContext

Call = Callable[[], None]


class Signal(Enum):
    """What a thread reports besides events of answers."""

    PROMPT_READ = auto()  # the first slot's cache holds the whole prompt
    FINISHED = auto()  # the thread generates nothing more


Report = RunEvent | ApiError | Signal


class LoopCalls:
    """Has the event loop call functions, for the threads that generate in some contexts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, contexts: Sequence[EngineContext]) -> None:
        """Call functions in ``loop`` for what generates in ``contexts``, all of one kind."""
        from dslocal.engine.slots.slot import Slot

        self._loop = loop
        self._slot = contexts[0] if isinstance(contexts[0], Slot) else None
        self._collected: list[Call] = []

    def call_at_once(self, function: Call) -> None:
        """Have the loop call ``function``, unless it has ended. For any thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def call(self, function: Call) -> None:
        """Have the loop call ``function`` when it is woken next. For a thread that generates."""
        if self._slot is None:
            self.call_at_once(function)
            return
        self._collected.append(function)
        if len(self._collected) == 1:
            self._slot.call_before_step(self._wake)

    def _wake(self) -> None:
        collected, self._collected = self._collected, []

        def call_all() -> None:
            for function in collected:
                function()

        self.call_at_once(call_all)


class EventChannel:
    """Carries the reports of one request from the threads to the event loop, in order."""

    def __init__(self, calls: LoopCalls) -> None:
        self._calls = calls
        self._reports: deque[Report] = deque()
        self._has_reports = asyncio.Event()
        self._is_woken = False

    def send(self, report: Report) -> None:
        """Add a report. For a thread that generates."""
        self._reports.append(report)
        if not self._is_woken:
            self._is_woken = True
            self._calls.call(self._has_reports.set)

    def call(self, function: Call) -> None:
        """Have the event loop call ``function`` at once, unless it has ended. For any thread."""
        self._calls.call_at_once(function)

    async def receive(self) -> list[Report]:
        """Wait for reports, and return all that have come. For the event loop's thread."""
        await self._has_reports.wait()
        self._has_reports.clear()
        self._is_woken = False
        reports = []
        while self._reports:
            reports.append(self._reports.popleft())
        return reports
