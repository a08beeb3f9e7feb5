"""Run an answer of a session: wait in the queue for a slot, generate, and report each event."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing

from dslocal import chat
from dslocal.server.exchange.event_channel import EventChannel, Signal
from dslocal.server.exchange.events import AnswerEnd, AnswerPart, RunEvent
from dslocal.server.queue import RequestQueue
from dslocal.server.wire.errors import ApiError, to_api_error

from .turns import PreparedTurn


class SessionRun:
    """One answer of a session. All but the generation itself is for the event loop's thread.

    Attributes:
        has_slot: Whether it is being generated.
    """

    def __init__(
        self,
        queue: RequestQueue,
        turn: PreparedTurn,
        *,
        on_prefill: Callable[[int, int], None],
        on_trimmed: Callable[[int], None],
    ) -> None:
        """Prepare to answer.

        Args:
            queue: Where the slot comes from.
            turn: What is generated.
            on_prefill: Called with the tokens of the prompt that are evaluated, and their number.
            on_trimmed: Called with the number of turns that no longer fit the context.
        """
        self._queue = queue
        self._turn = turn
        self._on_prefill = on_prefill
        self._on_trimmed = on_trimmed
        self._is_cancelled = False
        self.has_slot = False

    def cancel(self) -> None:
        """End it at once, keeping what has come."""
        self._is_cancelled = True
        if self.has_slot:
            self._turn.record.session.context.abort.set()

    async def events(self) -> AsyncGenerator[list[RunEvent]]:
        """Yield what happens, in lists of all that came meanwhile. Closing it ends the work.

        Raises:
            ApiError: The queue has refused it, or generating failed.
        """
        assigned = (await self._queue.acquire(self._turn.prepared, 1))[0]
        channel = self._queue.open_channel()
        context = self._turn.record.session.context = assigned.context
        context.abort.clear()
        self.has_slot = True
        self._queue.runs.add(self)
        self._start(channel)
        is_running = True
        try:
            while is_running:
                reports = await channel.receive()
                is_running = Signal.FINISHED not in reports
                events = [each for each in reports if isinstance(each, AnswerPart | AnswerEnd)]
                if events:
                    yield events
                for report in reports:
                    if isinstance(report, ApiError):
                        raise report
        finally:
            self.cancel()
            self._queue.runs.discard(self)
            while is_running:  # the session is not whole before its thread has let go of it
                is_running = Signal.FINISHED not in await channel.receive()

    def _start(self, channel: EventChannel) -> None:
        from dslocal.engine.slots.slot import Slot

        context = self._turn.record.session.context

        def work() -> None:
            try:
                self._generate(channel)
            finally:
                self._queue.expect_next(context)
                channel.call(self._release)
                channel.send(Signal.FINISHED)

        if isinstance(context, Slot):
            context.prompt_length = len(self._turn.prepared.ids)
            context.run(work)
        else:
            self._queue.threads.submit(work)

    def _release(self) -> None:
        self.has_slot = False  # cancel() must not end what somebody else does there next
        self._queue.release(self._turn.record.session.context)

    # From here on: in the slot's thread.

    def _generate(self, channel: EventChannel) -> None:
        session = self._turn.record.session
        prefill = _PrefillReports(channel, self._on_prefill)
        try:
            if not self._is_cancelled:
                with closing(self._turn.stream(prefill.report)) as events:
                    self._pass_on(events, channel)
        except KeyboardInterrupt:
            if not self._is_cancelled:
                channel.send(to_api_error(KeyboardInterrupt()))
        except BaseException as e:
            error = to_api_error(e)
            error.__cause__ = e
            channel.send(error)
        if session.turn is not None:
            channel.send(AnswerEnd(0, session.turn))

    def _pass_on(self, events: Generator[chat.Event], channel: EventChannel) -> None:
        for event in events:
            if isinstance(event, chat.HistoryTrimmed):
                turns = event.turns
                channel.call(lambda turns=turns: self._on_trimmed(turns))  # type: ignore[misc]
            else:
                channel.send(AnswerPart(0, event, sure=True))


class _PrefillReports:
    """Passes on how far a prompt is evaluated, once the loop has taken the report before."""

    def __init__(self, channel: EventChannel, on_prefill: Callable[[int, int], None]) -> None:
        self._channel = channel
        self._on_prefill = on_prefill
        self._latest: tuple[int, int] | None = None

    def report(self, done: int, total: int) -> None:
        is_waiting = self._latest is not None
        self._latest = (done, total)
        if not is_waiting:
            self._channel.call(self._deliver)

    def _deliver(self) -> None:
        latest, self._latest = self._latest, None
        if latest is not None:
            self._on_prefill(*latest)
