"""The application: the routes of all formats behind the middleware, and what they share."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from .access import AccessPolicy, App
from .endpoints.anthropic import anthropic_routes
from .endpoints.ollama import ollama_routes
from .endpoints.openai import BASE_PATHS, openai_routes
from .endpoints.own import own_routes
from .endpoints.responses import responses_routes
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
from .page.answers import Answers
from .page.routes import PageRoutes
from .request_handling import RequestHandler
from .wire.openapi.openapi_document import openapi_document


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
    """

    models: ModelSet
    access: AccessPolicy
    metrics: Metrics
    log: Log
    log_prompts: bool = False
    logs_requests: bool = True

    def __post_init__(self) -> None:
        self._handler = RequestHandler(
            self.models, self.access, self.metrics, self.log, self.log_prompts
        )
        self._answers = Answers(
            self.models, self._handler.preparing, self._handler.on_end, self.log
        )
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
            *own_routes(self._handler),
            *openai_routes(self._handler),
            *responses_routes(self._handler),
            *anthropic_routes(self._handler),
            *ollama_routes(self._handler),
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
        """Return the chat page to a browser, and a description of the server to programs."""
        if "text/html" in request.headers.get("accept", ""):
            return self._page.page(request)
        self.access.require_key(request.scope)
        return await self.facts(request)

    async def facts(self, request: Request) -> Response:
        """Return the description of the server."""
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
