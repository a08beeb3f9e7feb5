"""The application: the routes of all formats behind the middleware, and what they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from dslocal import output

from .access import AccessPolicy, App
from .endpoints.anthropic import anthropic_routes
from .endpoints.ollama import ollama_routes
from .endpoints.openai import BASE_PATHS, openai_routes
from .endpoints.own import own_routes
from .endpoints.responses import responses_routes
from .exchange.tasks import Task
from .ignored_fields import IgnoredFieldLog, ignored_header
from .metrics import CONTENT_TYPE, Metrics
from .middleware import (
    AccessControl,
    CrossOriginHeaders,
    ErrorResponses,
    Log,
    PathNormaliser,
    RequestLog,
)
from .models.model_set import ModelSet
from .models.offered_model import ModelLease, OfferedModel
from .page.answers import Answers
from .page.routes import PageRoutes
from .preparation.requests import PreparedRequest, ServedModel
from .request_run import RequestRun
from .sse import EventStreamResponse, WholeResponse, until_disconnect
from .threads import in_thread
from .wire.ask.schemas import AskRequest
from .wire.base_schemas import RequestSchema
from .wire.client_fields import IgnoredField
from .wire.openapi.openapi_document import openapi_document
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
class Server:
    """The routes and what they share.

    Attributes:
        models: The models that answer.
        access: Who may send requests.
        metrics: What is counted.
        log: Writes a line to the log.
        logs_requests: Whether every request is a line of the log.
        log_prompts: Whether prompts and answers are logged too.
        preparing: The threads in which requests are read. Who leaves while waiting for one of them
            costs nothing.
    """

    models: ModelSet
    access: AccessPolicy
    metrics: Metrics
    log: Log
    log_prompts: bool = False
    logs_requests: bool = True
    preparing: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="prepare")
    )

    def __post_init__(self) -> None:
        self._ignored = IgnoredFieldLog(self.log)
        self._answers = Answers(self.models, self.preparing, self._on_end, self.log)
        prompt_log = self.log if self.log_prompts else None
        self._page = PageRoutes(self.models, self._answers, self.access, prompt_log)

    def build_app(self) -> App:
        """Return the ASGI application: the routes behind the middleware."""
        routes = [
            Route("/", self.front_page),
            Route("/v1", self.facts),
            Route("/beta", self.facts),
            Route("/anthropic", self.facts),
            Route("/health", self.health),
            Route("/ready", self.health),
            Route("/metrics", self.metrics_text),
            Route("/openapi.json", self.openapi),
            *own_routes(self),
            *openai_routes(self),
            *responses_routes(self),
            *anthropic_routes(self),
            *ollama_routes(self),
            *self._page.routes(),
        ]
        app: App = Router(routes, redirect_slashes=False)
        app = AccessControl(app, self.access)
        app = ErrorResponses(app, self.log)
        app = CrossOriginHeaders(app, self.access)
        return PathNormaliser(
            RequestLog(app, self.log if self.logs_requests else None, self.metrics)
        )

    async def wait_for_page_answers(self) -> None:
        """Return once all answers of the chat page have ended and are on disk."""
        await self._answers.wait_until_idle()

    async def front_page(self, request: Request) -> Response:
        """Return the chat page to a browser, and to programs what this is."""
        if "text/html" in request.headers.get("accept", ""):
            return self._page.page(request)
        self.access.require_key(request.scope)
        return await self.facts(request)

    async def facts(self, request: Request) -> Response:
        """Say what this is."""
        facts = {
            "this is": "dslocal, in the formats of OpenAI, DeepSeek, Anthropic and Ollama",
            "model": self.models.entries[0].name,
            "base_url": f"http://{request.headers.get('host', '')}/v1",
            "routes": [
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/responses",
                "/v1/messages",
                "/api/chat",
                "/v1/models",
                "/health",
            ],
            "description": "/openapi.json",
        }
        return JSONResponse(facts)

    async def health(self, request: Request) -> Response:
        """Say whether the server takes requests, and how busy it is."""
        is_stopping = self.models.is_stopping
        state = {
            "status": "stopping" if is_stopping else "ok",
            "running": self.models.busy,
            "waiting": self.models.waiting,
            "places": self.models.n_slots,
        }
        return JSONResponse(state, 503 if is_stopping else 200)

    async def metrics_text(self, request: Request) -> Response:
        """Return the counters in Prometheus's text format."""
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(openapi_document(BASE_PATHS))

    # From here on: for the endpoints.

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
        return RequestRun(incoming.lease, incoming.prepared, self._on_end)

    def _on_end(self, turn: output.Turn, was_cut: bool) -> None:
        """Count an answer that has ended, and log it if that is wanted."""
        self.metrics.count(turn, was_cut)
        if not self.log_prompts:
            return
        answer = {"reasoning": turn.reasoning, "answer": turn.text}
        self.log(f"answered: {json.dumps(answer, ensure_ascii=False)}")
