"""The application: its routes, which exist under ``/``, ``/v1`` and ``/beta`` alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from dslocal import output

from .access import AccessPolicy, App
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
from .preparation.ask_requests import prepare_ask
from .preparation.chat_requests import prepare_chat
from .preparation.completion_requests import prepare_completions
from .preparation.infill_requests import prepare_infill
from .preparation.requests import PreparedRequest, ServedModel
from .queue import RequestQueue
from .request_run import RequestRun
from .sse import EventStreamResponse, WholeResponse, until_disconnect
from .wire.ask_response import AskResponse
from .wire.errors import ApiError
from .wire.infill_response import InfillResponse
from .wire.openapi import openapi_document
from .wire.request_parsing import ParsedRequest, parse_request
from .wire.responses import ChatResponse, CompletionResponse, OpenAiResponse, ResponseHead
from .wire.schemas import (
    AskRequest,
    ChatRequest,
    CompletionRequest,
    InfillRequest,
    RequestSchema,
    SamplingFields,
)

BASE_PATHS = ("", "/v1", "/beta")
ASK_PATH = "/dslocal/ask"
PREPARING_THREADS = 2
S = TypeVar("S", bound=RequestSchema)


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
            Route(ASK_PATH, self.ask, methods=["POST"]),
            Route("/infill", self.infill, methods=["POST"]),
        ]
        for base in BASE_PATHS:
            routes.append(Route(f"{base}/models", self.list_models))
            routes.append(Route(f"{base}/models/{{name:path}}", self.show_model))
            routes.append(Route(f"{base}/chat/completions", self.chat, methods=["POST"]))
            routes.append(Route(f"{base}/completions", self.complete, methods=["POST"]))
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

    async def list_models(self, request: Request) -> Response:
        """List the model that is served, under each of its names that are to be listed."""
        names = (self.model.name, *self.model.aliases)
        return JSONResponse({"object": "list", "data": [self._model_json(name) for name in names]})

    async def show_model(self, request: Request) -> Response:
        """Describe the model of that name."""
        name = request.path_params["name"]
        self.model.require_name(name)
        listed = name if name in self.model.aliases else self.model.name
        return JSONResponse(self._model_json(listed))

    async def chat(self, request: Request) -> Any:
        """Answer a conversation."""
        parsed, prepared = await self._read(request, ChatRequest, prepare_chat)
        return self._respond(parsed, prepared, ChatResponse(prepared, self._head()))

    async def complete(self, request: Request) -> Any:
        """Continue texts, or fill the gaps before a suffix."""
        parsed, prepared = await self._read(request, CompletionRequest, prepare_completions)
        return self._respond(parsed, prepared, CompletionResponse(prepared, self._head()))

    async def infill(self, request: Request) -> Any:
        """Fill a gap, in llama-server's format."""
        parsed, prepared = await self._read(request, InfillRequest, prepare_infill)
        if parsed.sent.stream:
            raise ApiError(400, "/infill answers whole, without stream", param="stream")
        response = InfillResponse(self.model.name, parsed.sent.response_fields)
        self._ignored.note(parsed.ignored)
        run = RequestRun(self.queue, prepared, self.metrics.count)
        return WholeResponse(run, response, ignored_header(parsed.ignored))

    async def ask(self, request: Request) -> Any:
        """Answer ``dslocal ask`` as a process of its own would."""
        self.access.require_own_token(request.scope)
        _, prepared = await self._read(request, AskRequest, prepare_ask)
        run = RequestRun(self.queue, prepared, self.metrics.count)
        return EventStreamResponse(run, AskResponse())

    async def _read(
        self,
        request: Request,
        schema: type[S],
        prepare: Callable[[ServedModel, S], list[PreparedRequest]],
    ) -> tuple[ParsedRequest[S], list[PreparedRequest]]:
        """Read, check and prepare a request, in a thread: a long prompt takes a while.

        Raises:
            ApiError: The request cannot be answered.
            ConnectionError: The client has left.
        """
        body = await self.access.read_body(request.receive)
        if self.log_prompts:
            self.log(f"asked: {body.decode('utf-8', 'replace')}")

        def parse_and_prepare() -> tuple[ParsedRequest[S], list[PreparedRequest]]:
            parsed = parse_request(schema, body)
            return parsed, prepare(self.model, parsed.sent)

        async def in_thread() -> tuple[ParsedRequest[S], list[PreparedRequest]]:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.preparing, parse_and_prepare)

        return await until_disconnect(request.receive, in_thread())

    def _respond(
        self,
        parsed: ParsedRequest[Any],
        prepared: Sequence[PreparedRequest],
        response: OpenAiResponse,
    ) -> WholeResponse | EventStreamResponse:
        sent: SamplingFields = parsed.sent
        ignored = [*parsed.ignored, *(each for one in prepared for each in one.ignored)]
        self._ignored.note(ignored)
        headers = ignored_header(ignored)
        count = self._count_and_log if self.log_prompts else self.metrics.count
        run = RequestRun(self.queue, prepared, count)
        if not sent.stream:
            return WholeResponse(run, response, headers)
        wants_usage = sent.stream_options is not None and bool(sent.stream_options.include_usage)
        last_chunk = response.usage_chunk if wants_usage else None
        return EventStreamResponse(run, response, last_chunk, headers)

    def _count_and_log(self, turn: output.Turn, was_cut: bool) -> None:
        self.metrics.count(turn, was_cut)
        answer = {"reasoning": turn.reasoning, "answer": turn.text}
        self.log(f"answered: {json.dumps(answer, ensure_ascii=False)}")

    def _head(self) -> ResponseHead:
        return ResponseHead(
            model=self.model.context.model,
            name=self.model.name,
            fingerprint=f"dslocal-{self.model.fingerprint[:12]}",
        )

    def _model_json(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "dslocal",
            "context_length": self.model.context.n_ctx,
        }
