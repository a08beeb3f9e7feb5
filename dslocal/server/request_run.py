"""Run one request: the threads that generate its answers, which report to the event loop.

Everything that takes time happens in threads, one for each slot. The event loop only starts them
and passes on what they report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from dslocal import output
from dslocal.types import FinishReason

from .exchange.event_channel import EventChannel, Signal
from .exchange.events import AnswerEnd, AnswerPart, RunEvent
from .models.offered_model import ModelLease
from .preparation.prepared_request import PreparedRequest
from .queue import SlotAssignment
from .threads import in_thread
from .wire.errors import to_api_error

if TYPE_CHECKING:
    from dslocal.engine import EngineContext
    from dslocal.engine.kv_cache.kv_state import CheckedState

OnEnd = Callable[[output.Turn, bool], None]


class RequestRun:
    """One request from the queue to its last event.

    It may have several prompts, each with several answers. Choices count all answers: first those
    of the first prompt.
    """

    def __init__(
        self, lease: ModelLease, requests: Sequence[PreparedRequest], on_end: OnEnd
    ) -> None:
        """Prepare to answer ``requests``.

        Args:
            lease: The right to the model, which :meth:`close` gives back.
            requests: What is generated, one for each prompt.
            on_end: Called in a thread with every answer when it has ended, and whether it was cut
                short because the client left or the server stopped.
        """
        self._lease = lease
        self._queue = lease.queue
        self._requests = requests
        self._on_end = on_end
        self._is_cancelled = False
        self._is_closed = False
        self._contexts: list[EngineContext] = []  # slots that this request holds
        self._not_started: list[SlotAssignment] = []
        self._on_disk: CheckedState | None = (
            None  # holds more of the first prompt than the slots do
        )
        self._running = 0  # threads that have started and not reported FINISHED
        # answers that no thread has taken yet
        self._choices = deque(range(sum(request.n for request in requests)))

    def cancel(self) -> None:
        """End it, at once where a token is being evaluated. For the event loop's thread."""
        self._is_cancelled = True
        for context in self._contexts:
            context.abort.set()

    def close(self) -> None:
        """Give the model back, once the slots at work have ended. Every run must be closed."""
        self._is_closed = True
        if not self._contexts:
            self._lease.release()

    async def events(self) -> AsyncGenerator[list[RunEvent]]:
        """Yield what happens, in lists of all that came meanwhile. Closing it ends the work.

        The first slot reads the prompt alone. The others start when it has, and copy its cache.

        Raises:
            ApiError: The request was refused by the queue, or generating failed.
        """
        self._not_started = await self._queue.acquire(self._requests[0], len(self._choices))
        self._queue.runs.add(self)
        self._contexts = [assignment.context for assignment in self._not_started]
        for context in self._contexts:
            context.abort.clear()
        channel = self._queue.open_channel()
        try:
            await self._look_on_disk(self._not_started[0])
            self._start(self._not_started.pop(0), channel)
            while self._running:
                events: list[RunEvent] = []
                for report in await channel.receive():
                    if isinstance(report, AnswerPart | AnswerEnd):
                        events.append(report)
                    elif isinstance(report, Signal):
                        self._handle(report, channel)
                    else:
                        if events:
                            yield events
                        raise report
                if events:
                    yield events
        finally:
            self.cancel()
            self._queue.runs.discard(self)
            self._release_not_started()

    async def _look_on_disk(self, assignment: SlotAssignment) -> None:
        """Look for a file that holds more of the first prompt than the slots do."""
        from dslocal.engine import LlamaContext
        from dslocal.engine.prefix_cache.prefix_cache import shared_tokens

        cache, request = self._lease.prefix_cache, self._requests[0]
        context = assignment.context
        if cache is None or request.ignores_cache or not isinstance(context, LlamaContext):
            return
        have = shared_tokens(request.ids, context, assignment.copy_from)
        if cache.may_help(context, len(request.ids) - have):
            find = partial(cache.find, context, request.ids, have)
            self._on_disk = await in_thread(cache.threads, find)

    def _handle(self, signal: Signal, channel: EventChannel) -> None:
        """Start the other slots once the first has read the prompt, or ended."""
        if self._is_cancelled:
            self._release_not_started()
        while self._not_started:
            self._start(self._not_started.pop(0), channel)
        if signal is Signal.FINISHED:
            self._running -= 1

    def _release_not_started(self) -> None:
        while self._not_started:
            self._release(self._not_started.pop().context)

    def _release(self, context: EngineContext) -> None:
        self._contexts.remove(context)  # cancel() must not end what somebody else does there next
        self._queue.release(context)
        if self._is_closed:
            self.close()

    def _start(self, assignment: SlotAssignment, channel: EventChannel) -> None:
        """Generate answers in a slot, which is released in the end."""
        from dslocal.engine.slots.slot import Slot

        context = assignment.context

        def work() -> None:
            try:
                self._generate(assignment, channel)
            finally:
                # Release first: the client's next question must find its cache in an idle slot.
                self._queue.expect_next(context)
                channel.call(lambda: self._release(context))
                channel.send(Signal.FINISHED)
            # After that the client does not wait. Whoever gets the slot next does, since its work
            # is done by this thread too.
            with suppress(Exception):  # what is not kept is evaluated again
                self._keep_cold(context)

        self._running += 1
        if isinstance(context, Slot):
            context.run(work)
        else:
            self._queue.threads.submit(work)

    # From here on: in a slot's thread.

    def _generate(self, assignment: SlotAssignment, channel: EventChannel) -> None:
        """Generate answers in a slot until none is left to take."""
        try:
            self._raise_if_cancelled()
            self._prepare_cache(assignment)
            while (choice := self._take_choice()) is not None:
                self._raise_if_cancelled()
                self._answer(assignment.context, choice, channel)
        except BaseException as e:
            error = to_api_error(e)
            error.__cause__ = e
            channel.send(error)

    def _keep_cold(self, context: EngineContext) -> None:
        """Keep what was evaluated on disk, where that is worth it."""
        from dslocal.engine import LlamaContext

        if self._lease.prefix_cache is not None and isinstance(context, LlamaContext):
            self._lease.prefix_cache.keep_cold(context)

    def _raise_if_cancelled(self) -> None:
        if self._is_cancelled:
            raise KeyboardInterrupt

    def _prepare_cache(self, assignment: SlotAssignment) -> None:
        """Make the slot's cache begin as the file or the other slot does, or empty it.

        What it held is kept on disk where that is worth it.
        """
        from dslocal.engine import LlamaContext
        from dslocal.engine.slots.slot import Slot
        from dslocal.prefix import common_prefix_length

        context, other = assignment
        request, cache = self._requests[0], self._lease.prefix_cache
        if not isinstance(context, LlamaContext):  # an engine has a cache of its own
            return
        on_disk, self._on_disk = self._on_disk, None
        is_copied = isinstance(context, Slot) and isinstance(other, Slot)
        if cache is not None:
            is_replaced = is_copied or on_disk is not None or request.ignores_cache
            left = 0 if is_replaced else common_prefix_length(context.ids, request.ids)
            cache.keep_evicted(context, left)
        if request.ignores_cache:
            context.clear()
        elif cache is not None and on_disk is not None:
            cache.load(context, on_disk)
        elif isinstance(context, Slot) and isinstance(other, Slot):
            context.copy(other, common_prefix_length(other.ids, request.ids))

    def _take_choice(self) -> int | None:
        """Return the number of an answer that no other thread generates; None if all are taken."""
        try:
            return self._choices.popleft()
        except IndexError:
            return None

    def _request_of(self, choice: int) -> tuple[PreparedRequest, int]:
        """Return the prompt that an answer is for, and which of its answers it is."""
        for request in self._requests:
            if choice < request.n:
                return request, choice
            choice -= request.n
        raise IndexError(choice)

    def _answer(self, context: EngineContext, choice: int, channel: EventChannel) -> None:
        """Generate one answer."""
        from dslocal.engine.sampling.prompt_logprobs import prompt_logprobs
        from dslocal.engine.slots.slot import Slot

        request, number = self._request_of(choice)
        if isinstance(context, Slot):
            context.prompt_length = len(request.ids)
        turn = output.Turn(
            0,
            seed=request.seed + number,
            top_logprobs=request.top_logprobs,
            constraint=request.constraint,
            grammar=request.grammar,
        )

        if request.has_prompt_logprobs:
            turn.prompt_logprobs = prompt_logprobs(context, request.ids, request.top_logprobs or 0)
        if not request.has_answer:
            turn.prompt_tokens = len(request.ids)
            turn.finish_reason = FinishReason.LENGTH
            channel.send(Signal.PROMPT_READ)
            channel.send(AnswerEnd(choice, turn))
            return

        def on_prefill(done: int, total: int) -> None:
            if done >= total and choice == 0:
                channel.send(Signal.PROMPT_READ)

        parts = output.stream_answer(
            turn,
            context,
            request.family,
            request.settings,
            request.prompt,
            ids=request.ids,
            on_prefill=on_prefill,
        )
        reported = 0  # tokens whose logprobs are in an event
        was_cut = True
        try:
            with closing(parts):
                for part in parts:
                    logprobs = tuple(turn.logprobs[reported : turn.completion_tokens])
                    reported += len(logprobs)
                    channel.send(AnswerPart(choice, part, turn.text_is_certain, logprobs))
            was_cut = False
            self._lease.served.sampled_answers.keep(choice, request, turn)
        finally:
            self._on_end(turn, was_cut)
        channel.send(AnswerEnd(choice, turn))
