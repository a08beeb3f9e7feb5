"""Ollama's routes, under ``/api``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dslocal import __version__
from dslocal.server.exchange.tasks import ChatTask, CompletionTask
from dslocal.server.preparation.chat_requests import prepare_chat
from dslocal.server.preparation.completion_requests import prepare_completions
from dslocal.server.preparation.prepared_request import PreparedRequest
from dslocal.server.preparation.requests import ServedModel, with_context_limit
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.ollama.model_json import listed_json, running_json, shown_json
from dslocal.server.wire.ollama.ollama_response import (
    OllamaChatResponse,
    OllamaGenerateResponse,
    OllamaResponse,
    done_json,
)
from dslocal.server.wire.ollama.request import (
    plain_name,
    read_ollama_chat,
    read_ollama_generate,
)
from dslocal.server.wire.ollama.schemas import (
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaShowRequest,
)
from dslocal.server.wire.openai_response import response_head
from dslocal.server.wire.request_parsing import parse_request

if TYPE_CHECKING:
    from dslocal.server.request_handling import ReceivedRequest, RequestHandler

# The version of Ollama whose API this is: clients refuse to work with one that is too old.
OLLAMA_VERSION = "0.13.5"
NO_EMBEDDINGS = "DeepSeek's models generate text, not embeddings"
NO_CHANGES = "models cannot be added or removed over HTTP: use dslocal pull and dslocal rm"
REFUSED = {
    "/api/embed": NO_EMBEDDINGS,
    "/api/embeddings": NO_EMBEDDINGS,
    "/api/pull": NO_CHANGES,
    "/api/push": NO_CHANGES,
    "/api/create": NO_CHANGES,
    "/api/copy": NO_CHANGES,
    "/api/delete": NO_CHANGES,
}


def ollama_routes(handler: RequestHandler) -> list[Route]:
    """Return the routes that ``handler`` answers in Ollama's format."""
    endpoints = OllamaEndpoints(handler)
    routes = [
        Route("/api/version", endpoints.version),
        Route("/api/tags", endpoints.list_models),
        Route("/api/ps", endpoints.list_running),
        Route("/api/show", endpoints.show_model, methods=["POST"]),
        Route("/api/chat", endpoints.chat, methods=["POST"]),
        Route("/api/generate", endpoints.generate, methods=["POST"]),
    ]
    routes += [Route(path, endpoints.refuse, methods=["POST", "DELETE"]) for path in REFUSED]
    return routes


@dataclass
class OllamaEndpoints:
    """What Ollama's routes do."""

    handler: RequestHandler

    async def version(self, request: Request) -> Response:
        """Say which version of Ollama's API this is."""
        return JSONResponse({"version": OLLAMA_VERSION, "dslocal": __version__})

    async def list_models(self, request: Request) -> Response:
        """List the models that are served, under each of their names that are to be listed."""
        listed = [
            listed_json(model, name)
            for model in self.handler.models.entries
            for name in (model.name, *model.aliases)
        ]
        return JSONResponse({"models": listed})

    async def list_running(self, request: Request) -> Response:
        """List the models that are loaded."""
        models = self.handler.models
        found = [models.loaded(entry) for entry in models.entries]
        listed = [running_json(model) for model in found if model]
        return JSONResponse({"models": listed})

    async def show_model(self, request: Request) -> Response:
        """Describe a model."""
        body = await self.handler.access.read_body(request.receive)
        sent = parse_request(OllamaShowRequest, body).sent
        model = self.handler.models.find(plain_name(sent.model))
        loaded = self.handler.models.loaded(model)
        n_ctx = loaded.served.context.n_ctx if loaded else model.n_ctx
        return JSONResponse(shown_json(model, n_ctx))

    async def chat(self, request: Request) -> Any:
        """Answer a conversation."""
        received = await self.handler.parse(request, OllamaChatRequest, read_ollama_chat)
        return await self._answer(request, received, OllamaChatResponse)

    async def generate(self, request: Request) -> Any:
        """Answer a question, fill a gap, or continue a text."""
        received = await self.handler.parse(request, OllamaGenerateRequest, read_ollama_generate)
        return await self._answer(request, received, OllamaGenerateResponse)

    async def refuse(self, request: Request) -> Response:
        """Refuse what no model here does."""
        raise ApiError(501, REFUSED[request.scope["path"]], code="not_implemented")

    async def _answer(
        self, request: Request, received: ReceivedRequest[Any, Any], response: type[OllamaResponse]
    ) -> Any:
        """Respond as a stream, unless the request says otherwise.

        A request without a question has its model loaded, or unloaded if it is to be kept for no
        time.
        """
        task, is_chat = received.task, response is OllamaChatResponse
        if _asks_nothing(task) and task.keep_s == 0:
            await self.handler.models.unload(self.handler.meant_model(task))
            name = received.parsed.sent.model
            return JSONResponse(done_json(name, int(time.time()), "unload", is_chat=is_chat))
        incoming = await self.handler.prepare(request, received, _prepare)
        sent = incoming.sent
        head = response_head(incoming.lease.served)
        if not incoming.prepared:
            incoming.lease.release()
            return JSONResponse(done_json(sent.model, head.created, "load", is_chat=is_chat))
        written = response(incoming.prepared, head, sent.model)
        if sent.stream is False:
            return self.handler.respond_whole(incoming, written)
        return self.handler.respond_streaming(incoming, written)


def _asks_nothing(task: ChatTask | CompletionTask) -> bool:
    return isinstance(task, ChatTask) and not task.messages


def _prepare(served: ServedModel, task: ChatTask | CompletionTask) -> list[PreparedRequest]:
    """Return what is generated; nothing where the model is only to be loaded."""
    if isinstance(task, CompletionTask):
        prepared = prepare_completions(served, task)
    else:
        prepared = prepare_chat(served, task) if task.messages else []
    return [with_context_limit(served, each, task.context_limit) for each in prepared]
