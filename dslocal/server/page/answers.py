"""Run the answers of the chat page: start, find after a reload, stop, and save them."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from dslocal import chat, output
from dslocal.errors import DslocalError
from dslocal.server.middleware import Log
from dslocal.server.models.model_set import ModelSet
from dslocal.server.models.offered_model import ModelLease, OfferedModel
from dslocal.server.threads import in_thread
from dslocal.server.wire.errors import ApiError, to_api_error
from dslocal.types import FinishReason

from .live_answer import LiveAnswer
from .requests import AnswerRequest
from .session_run import SessionRun
from .turns import PreparedTurn, find_beginning, prepare_turn

MAX_ENDED = 64  # answers that have ended and are remembered with their error and figures
T = TypeVar("T")
OnEnd = Callable[[output.Turn, bool], None]


@dataclass
class _Work:
    """An answer and what is at work on it.

    Attributes:
        is_concluding: Whether it has ended, and is put on disk.
    """

    live: LiveAnswer
    request: AnswerRequest
    task: asyncio.Task[None] | None = None
    turn: PreparedTurn | None = None
    run: SessionRun | None = None
    is_concluding: bool = False


class Answers:
    """Begins answers and knows those that are on their way. For the event loop's thread alone."""

    def __init__(self, models: ModelSet, threads: Executor, on_end: OnEnd, log: Log) -> None:
        """Know no answer yet.

        Args:
            models: The models that answer.
            threads: Where conversations are read and written.
            on_end: Called with every answer when it has ended, and whether it was cut short.
            log: Writes a line to the log.
        """
        self._models = models
        self._threads = threads
        self._on_end = on_end
        self._log = log
        self._work: dict[str, _Work] = {}  # by conversation, the newest at the end

    def find(self, conversation_id: str) -> LiveAnswer | None:
        """Return the answer of a conversation that is on its way, or has ended lately."""
        work = self._work.get(conversation_id)
        return work.live if work else None

    def is_busy(self, conversation_id: str) -> bool:
        """Return whether an answer of a conversation is on its way."""
        live = self.find(conversation_id)
        return live is not None and not live.is_done

    def require_idle(self, conversation_id: str) -> None:
        """Refuse a second answer beside one that is on its way. Raises ApiError 409."""
        if self.is_busy(conversation_id):
            raise ApiError(409, "an answer is being generated already", code="answer_running")

    async def begin(self, stored: chat.StoredConversation, request: AnswerRequest) -> LiveAnswer:
        """Begin the turn that ``request`` asks for, in a conversation that is not open elsewhere.

        Raises:
            ApiError: There is nothing to ask, or no such model; 409 where the conversation is open
                elsewhere.
        """
        self.require_idle(stored.id)
        if request.model is not None:
            self._models.find(request.model)
        opened = await self.in_thread(lambda: _opened(stored, in_copy=request.in_copy))
        try:
            self.require_idle(opened.id)
            beginning = find_beginning(opened, request)
        except BaseException:
            opened.close()
            raise
        live = LiveAnswer(opened, beginning, opened.history[: beginning.kept])
        work = _Work(live, request)
        self._forget_ended()
        self._work.pop(opened.id, None)
        self._work[opened.id] = work
        work.task = asyncio.create_task(self._answer(work))
        return live

    def stop(self, conversation_id: str) -> None:
        """End an answer and keep what has come of it. Raises ApiError 404 where there is none."""
        work = self._running(conversation_id)
        if work.is_concluding:
            return
        if work.run is not None and work.run.has_slot:
            work.run.cancel()
        elif work.task is not None:
            work.task.cancel()

    def end_reasoning(self, conversation_id: str) -> None:
        """Have the model answer now. Raises ApiError 404 where no answer is on its way."""
        work = self._running(conversation_id)
        if work.turn is not None:
            work.turn.record.session.end_reasoning()

    def forget(self, conversation_id: str) -> None:
        """Forget an answer that has ended."""
        self.require_idle(conversation_id)
        self._work.pop(conversation_id, None)

    async def wait_until_idle(self) -> None:
        """Return once the answers that are on their way have ended and are on disk."""
        tasks = [work.task for work in self._work.values() if work.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns in a thread for files; a cancellation waits for it."""
        return await in_thread(self._threads, function)

    def _running(self, conversation_id: str) -> _Work:
        work = self._work.get(conversation_id)
        if work is None or work.live.is_done:
            raise ApiError(404, "no answer is being generated", code="no_answer")
        return work

    def _forget_ended(self) -> None:
        ended = [name for name, work in self._work.items() if work.live.is_done]
        for name in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._work[name]

    async def _answer(self, work: _Work) -> None:
        """Answer from the model's loading to the last word on disk."""
        live = work.live
        lease: ModelLease | None = None
        error: ApiError | None = None
        try:
            entry = self._model_of(work)
            if not self._is_meant(entry, live.stored.model):
                live.stored.model = entry.name
            lease = await self._models.lease(entry)
            await self._generate(work, lease)
        except asyncio.CancelledError:
            pass  # it was stopped before it had a slot, or the server ends
        except Exception as e:
            error = to_api_error(e)
            if error.status == 500:
                self._log("".join(traceback.format_exception(e)))
        finally:
            work.is_concluding = True
            try:
                has_failed = error is not None
                await self.in_thread(lambda: _conclude(work, has_failed=has_failed))
            except Exception as e:  # the disk, or a server that ends
                error = error or to_api_error(e)
                self._log("".join(traceback.format_exception(e)))
            finally:
                if lease is not None:
                    lease.release()
                work.turn = work.run = None  # which hold the model's context
                live.change("done", error=error)

    async def _generate(self, work: _Work, lease: ModelLease) -> None:
        live = work.live

        def prepare() -> None:
            work.turn = prepare_turn(
                lease.served, live.stored, work.request, live.beginning, self._log_save_error
            )

        await self.in_thread(prepare)
        turn = work.turn
        if turn is None:
            raise RuntimeError("a turn was not prepared")
        live.change("waiting", notes=turn.notes)
        work.run = SessionRun(lease.queue, turn, on_prefill=live.read_prompt, on_trimmed=live.trim)
        async with aclosing(work.run.events()) as events:
            async for some in events:
                live.take(some)
        if live.turn is not None:
            self._on_end(live.turn, live.turn.finish_reason is FinishReason.INTERRUPTED)

    def _model_of(self, work: _Work) -> OfferedModel:
        """Return the model that is to answer: as asked, else the conversation's if it is here."""
        if work.request.model is not None:
            return self._models.find(work.request.model)
        try:
            return self._models.find(work.live.stored.model)
        except ApiError:
            return self._models.find(None)

    def _is_meant(self, entry: OfferedModel, name: str) -> bool:
        """Return whether ``name`` leads to ``entry``, not to another one that has it as well."""
        return entry.is_called(name) and self._models.find(name) is entry

    def _log_save_error(self, error: DslocalError) -> None:
        self._log(f"{error} ({error.hint})")


def _opened(stored: chat.StoredConversation, *, in_copy: bool) -> chat.StoredConversation:
    """Return a conversation that this process holds.

    Raises:
        ApiError: 409 where another process holds it.
        DslocalError: Its file cannot be opened or read, or is damaged.
    """
    if not stored.file.exists() or stored.lock():
        return stored
    if not in_copy:
        raise ApiError(409, "this conversation is open in a terminal", code="conversation_open")
    copy = stored.copy()
    copy.save(stored.history, stored.partial)
    return copy


def _conclude(work: _Work, *, has_failed: bool) -> None:
    """Put a turn on disk as it came out, and let go of the conversation."""
    turn, live = work.turn, work.live
    if turn is not None and live.beginning.question is not None:
        turn.record.end_turn(has_failed=has_failed)
    elif turn is not None:
        turn.record.save()
    live.stored.close()
