"""Read, prepare and answer requests: the part that all endpoints share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from dslocal import output

from .access import AccessPolicy
from .exchange.tasks import Task
from .ignored_fields import IgnoredFieldLog, ignored_header
from .metrics import Metrics
from .middleware import Log
from .models.model_set import ModelSet
from .models.offered_model import ModelLease, OfferedModel
from .preparation.prepared_request import PreparedRequest
from .preparation.requests import ServedModel
from .request_run import RequestRun
from .sse import EventStreamResponse, WholeResponse, until_disconnect
from .threads import in_thread
from .wire.ask.schemas import AskRequest
from .wire.base_schemas import RequestSchema
from .wire.client_fields import IgnoredField
from .wire.request_parsing import ParsedRequest, parse_request
from .wire.stream_format import StreamFormat, WholeFormat

PREPARING_THREADS = 2
S = TypeVar("S", bound=RequestSchema)
T = TypeVar("T", bound=Task | AskRequest)


@dataclass(frozen=True)
class ReceivedRequest(Generic[S, T]):
    """A request that was read and checked, and what it asks for."""

    parsed: ParsedRequest[S]
    task: T


@dataclass(frozen=True)
class Incoming(Generic[S]):
    """A request that can be answered.

    Attributes:
        sent: The request as it was sent.
        prepared: What is generated, one for each prompt.
        ignored: What was sent and is not obeyed.
        lease: The right to the model. The response gives it back.
    """

    sent: S
    prepared: Sequence[PreparedRequest]
    ignored: Sequence[IgnoredField]
    lease: ModelLease


@dataclass
class RequestHandler:
    """Reads, prepares and answers requests, whatever their format.

    Attributes:
        models: The models that answer.
        access: Who may send requests.
        metrics: What is counted.
        log: Writes a line to the log.
        log_prompts: Whether prompts and answers are logged.
        preparing: The threads in which requests are read. Who leaves while waiting for one of them
            costs nothing.
    """

    models: ModelSet
    access: AccessPolicy
    metrics: Metrics
    log: Log
    log_prompts: bool = False
    preparing: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="prepare")
    )

    def __post_init__(self) -> None:
        self._ignored = IgnoredFieldLog(self.log)

    async def read(
        self,
        request: Request,
        schema: type[S],
        read: Callable[[S], T],
        prepare: Callable[[ServedModel, T], list[PreparedRequest]],
    ) -> Incoming[S]:
        """Read, check and prepare a request, once the model that it names is loaded.

        A response must be made of what is returned, since that holds the model.

        Args:
            request: The request.
            schema: The format's schema.
            read: Makes a task of what was sent.
            prepare: Makes prompts of the task.

        Raises:
            ApiError: The request cannot be answered.
            ConnectionError: The client has left.
        """
        return await self.prepare(request, await self.parse(request, schema, read), prepare)

    async def parse(
        self, request: Request, schema: type[S], read: Callable[[S], T]
    ) -> ReceivedRequest[S, T]:
        """Read and check a request, in a thread. See :meth:`read`."""
        body = await self.access.read_body(request.receive)
        if self.log_prompts:
            self.log(f"asked: {body.decode('utf-8', 'replace')}")

        def parse() -> ReceivedRequest[S, T]:
            parsed = parse_request(schema, body)
            return ReceivedRequest(parsed, read(parsed.sent))

        return await until_disconnect(request.receive, in_thread(self.preparing, parse))

    async def prepare(
        self,
        request: Request,
        received: ReceivedRequest[S, T],
        prepare: Callable[[ServedModel, T], list[PreparedRequest]],
    ) -> Incoming[S]:
        """Prepare a request, in a thread: a long prompt takes a while. See :meth:`read`."""
        parsed, task = received.parsed, received.task

        async def prepare_once_loaded() -> Incoming[S]:
            lease = await self.models.lease(self.meant_model(task))
            if isinstance(task, Task) and task.keep_s is not None:
                lease.keep_loaded(task.keep_s)
            try:
                prepared = await in_thread(self.preparing, partial(prepare, lease.served, task))
            except BaseException:
                lease.release()
                raise
            ignored = [*parsed.ignored, *(each for one in prepared for each in one.ignored)]
            return Incoming(parsed.sent, prepared, ignored, lease)

        return await until_disconnect(request.receive, prepare_once_loaded())

    def respond_whole(self, incoming: Incoming[Any], response: WholeFormat) -> WholeResponse:
        """Generate the answers and send them as one JSON object."""
        return WholeResponse(self._run(incoming), response, ignored_header(incoming.ignored))

    def respond_streaming(
        self, incoming: Incoming[Any], response: StreamFormat
    ) -> EventStreamResponse:
        """Generate the answers and send them as they come."""
        return EventStreamResponse(self._run(incoming), response, ignored_header(incoming.ignored))

    def meant_model(self, task: Task | AskRequest) -> OfferedModel:
        """Return the model that a task is for. Raises ApiError for one that is not served."""
        if isinstance(task, AskRequest):
            return self.models.find_file(task.fingerprint)
        return self.models.find(task.model)

    def _run(self, incoming: Incoming[Any]) -> RequestRun:
        self._ignored.note(incoming.ignored)
        return RequestRun(incoming.lease, incoming.prepared, self.on_end)

    def on_end(self, turn: output.Turn, was_cut: bool) -> None:
        """Count an answer that has ended, and log it if that is wanted."""
        self.metrics.count(turn, was_cut)
        if not self.log_prompts:
            return
        answer = {"reasoning": turn.reasoning, "answer": turn.text}
        self.log(f"answered: {json.dumps(answer, ensure_ascii=False)}")
