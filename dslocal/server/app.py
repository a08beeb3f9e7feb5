"""The application: the routes of all formats behind the middleware, and what they share."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from dslocal import output

from .access import AccessPolicy, App
from .endpoints.openai import BASE_PATHS, openai_routes
from .endpoints.own import own_routes
from .front_page import PAGE_HEADERS, front_page
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
from .preparation.requests import PreparedRequest, ServedModel
from .queue import RequestQueue
from .request_run import RequestRun
from .sse import EventStreamResponse, WholeResponse, until_disconnect
from .wire.base_schemas import RequestSchema
from .wire.client_fields import IgnoredField
from .wire.openai_response import ResponseHead
from .wire.openapi import openapi_document
from .wire.request_parsing import parse_request
from .wire.stream_format import StreamFormat, WholeFormat

PREPARING_THREADS = 2
S = TypeVar("S", bound=RequestSchema)
T = TypeVar("T")


@dataclass(frozen=True)
class Incoming(Generic[S]):
    """A request that can be answered.

    Attributes:
        sent: The request as it was sent.
        prepared: What is generated, one for each prompt.
        ignored: What was sent and is not obeyed.
    """

    sent: S
    prepared: Sequence[PreparedRequest]
    ignored: Sequence[IgnoredField]


@dataclass
class Server:
    """The routes and what they share.

    Attributes:
        model: The model that answers.
        queue: Hands out the slots in which answers are generated.
        access: Who may send requests.
        metrics: What is counted.
        log: Writes a line to the log.
        logs_requests: Whether every request is a line of the log.
        log_prompts: Whether prompts and answers are logged too.
        preparing: The threads in which requests are read. Who leaves while waiting for one of them
            costs nothing.
    """

    model: ServedModel
    queue: RequestQueue
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

    def build_app(self) -> App:
        """Return the ASGI application: the routes behind the middleware."""
        routes = [
            Route("/", self.front_page),
            Route("/v1", self.front_page),
            Route("/beta", self.front_page),
            Route("/health", self.health),
            Route("/ready", self.health),
            Route("/metrics", self.metrics_text),
            Route("/openapi.json", self.openapi),
            *own_routes(self),
            *openai_routes(self),
        ]
        app: App = Router(routes, redirect_slashes=False)
        app = AccessControl(app, self.access)
        app = ErrorResponses(app, self.log)
        app = CrossOriginHeaders(app, self.access)
        return PathNormaliser(
            RequestLog(app, self.log if self.logs_requests else None, self.metrics)
        )

    async def front_page(self, request: Request) -> Response:
        """Say what this is, to a browser as a page and to programs as JSON."""
        facts = {
            "this is": "dslocal, a local server of OpenAI's and DeepSeek's API",
            "model": self.model.name,
            "base_url": f"http://{request.headers.get('host', '')}/v1",
            "routes": ["/v1/chat/completions", "/v1/completions", "/v1/models", "/health"],
            "description": "/openapi.json",
        }
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse(facts)
        return Response(front_page(facts), headers=PAGE_HEADERS)

    async def health(self, request: Request) -> Response:
        """Say whether the server takes requests, and how busy it is."""
        is_stopping = self.queue.is_stopping
        state = {
            "status": "stopping" if is_stopping else "ok",
            "running": self.queue.busy,
            "waiting": self.queue.waiting,
            "places": len(self.queue.slots),
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
        """Read, check and prepare a request, in a thread: a long prompt takes a while.

        Args:
            request: The request.
            schema: The format's schema.
            read: Makes a task of what was sent.
            prepare: Makes prompts of the task.

        Raises:
            ApiError: The request cannot be answered.
            ConnectionError: The client has left.
        """
        body = await self.access.read_body(request.receive)
        if self.log_prompts:
            self.log(f"asked: {body.decode('utf-8', 'replace')}")

        def parse_and_prepare() -> Incoming[S]:
            parsed = parse_request(schema, body)
            prepared = prepare(self.model, read(parsed.sent))
            ignored = [*parsed.ignored, *(each for one in prepared for each in one.ignored)]
            return Incoming(parsed.sent, prepared, ignored)

        async def in_thread() -> Incoming[S]:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.preparing, parse_and_prepare)

        return await until_disconnect(request.receive, in_thread())

    def respond_whole(self, incoming: Incoming[Any], response: WholeFormat) -> WholeResponse:
        """Generate the answers and send them as one JSON object."""
        return WholeResponse(self._run(incoming), response, ignored_header(incoming.ignored))

    def respond_streaming(
        self, incoming: Incoming[Any], response: StreamFormat
    ) -> EventStreamResponse:
        """Generate the answers and send them as they come."""
        return EventStreamResponse(self._run(incoming), response, ignored_header(incoming.ignored))

    def response_head(self) -> ResponseHead:
        """Return what responses say about the model."""
        return ResponseHead(
            model=self.model.context.model,
            name=self.model.name,
            fingerprint=f"dslocal-{self.model.fingerprint[:12]}",
            created=int(time.time()),
        )

    def _run(self, incoming: Incoming[Any]) -> RequestRun:
        self._ignored.note(incoming.ignored)
        count = self._count_and_log if self.log_prompts else self.metrics.count
        return RequestRun(self.queue, incoming.prepared, count)

    def _count_and_log(self, turn: output.Turn, was_cut: bool) -> None:
        self.metrics.count(turn, was_cut)
        answer = {"reasoning": turn.reasoning, "answer": turn.text}
        self.log(f"answered: {json.dumps(answer, ensure_ascii=False)}")
