"""OpenAI's and DeepSeek's routes, under ``/``, ``/v1`` and ``/beta`` alike, and ``/infill``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dslocal.server.preparation.chat_requests import prepare_chat
from dslocal.server.preparation.completion_requests import prepare_completions
from dslocal.server.preparation.infill_requests import prepare_infill
from dslocal.server.wire.base_schemas import SamplingFields
from dslocal.server.wire.chat.chat_response import ChatResponse
from dslocal.server.wire.chat.reasoning_fields import is_reasoning_hidden
from dslocal.server.wire.chat.request import read_chat
from dslocal.server.wire.chat.schemas import ChatRequest
from dslocal.server.wire.completions.completion_response import CompletionResponse
from dslocal.server.wire.completions.request import read_completion
from dslocal.server.wire.completions.schemas import CompletionRequest
from dslocal.server.wire.infill.infill_response import InfillResponse
from dslocal.server.wire.infill.request import read_infill
from dslocal.server.wire.infill.schemas import InfillRequest
from dslocal.server.wire.openai_response import response_head

from .anthropic import VERSION_HEADER, AnthropicEndpoints

if TYPE_CHECKING:
    from dslocal.server.models.offered_model import OfferedModel
    from dslocal.server.request_handling import Incoming, RequestHandler
    from dslocal.server.wire.openai_response import OpenAiResponse

BASE_PATHS = ("", "/v1", "/beta")


def openai_routes(handler: RequestHandler) -> list[Route]:
    """Return the routes that ``handler`` answers in OpenAI's formats."""
    endpoints = OpenAiEndpoints(handler)
    routes = [Route("/infill", endpoints.infill, methods=["POST"])]
    for base in BASE_PATHS:
        routes.append(Route(f"{base}/models", endpoints.list_models))
        routes.append(Route(f"{base}/models/{{name:path}}", endpoints.show_model))
        routes.append(Route(f"{base}/chat/completions", endpoints.chat, methods=["POST"]))
        routes.append(Route(f"{base}/completions", endpoints.complete, methods=["POST"]))
    return routes


@dataclass
class OpenAiEndpoints:
    """What OpenAI's routes do."""

    handler: RequestHandler

    async def list_models(self, request: Request) -> Response:
        """List the models that are served, under each of their names that are to be listed.

        Anthropic's clients ask at the same address, and say which version of its API they mean.
        """
        if VERSION_HEADER in request.headers:
            return await AnthropicEndpoints(self.handler).list_models(request)
        listed = [
            self._model_json(model, name)
            for model in self.handler.models.entries
            for name in (model.name, *model.aliases)
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def show_model(self, request: Request) -> Response:
        """Describe the model of that name."""
        if VERSION_HEADER in request.headers:
            return await AnthropicEndpoints(self.handler).show_model(request)
        name = request.path_params["name"]
        model = self.handler.models.find(name)
        listed = name if name in model.aliases else model.name
        return JSONResponse(self._model_json(model, listed))

    async def chat(self, request: Request) -> Any:
        """Answer a conversation."""
        incoming = await self.handler.read(request, ChatRequest, read_chat, prepare_chat)
        sent = incoming.sent
        response = ChatResponse(
            incoming.prepared,
            response_head(incoming.lease.served),
            has_usage=_wants_usage(sent),
            uses_functions=bool(sent.functions),
            hides_reasoning=is_reasoning_hidden(sent),
        )
        return self._respond(incoming, response)

    async def complete(self, request: Request) -> Any:
        """Continue texts, or fill the gaps before a suffix."""
        incoming = await self.handler.read(
            request, CompletionRequest, read_completion, prepare_completions
        )
        response = CompletionResponse(
            incoming.prepared,
            response_head(incoming.lease.served),
            has_usage=_wants_usage(incoming.sent),
        )
        return self._respond(incoming, response)

    async def infill(self, request: Request) -> Any:
        """Fill a gap, in llama-server's format."""
        incoming = await self.handler.read(request, InfillRequest, read_infill, prepare_infill)
        response = InfillResponse(incoming.lease.served.name, incoming.sent.response_fields)
        return self.handler.respond_whole(incoming, response)

    def _respond(self, incoming: Incoming[Any], response: OpenAiResponse) -> Any:
        if incoming.sent.stream:
            return self.handler.respond_streaming(incoming, response)
        return self.handler.respond_whole(incoming, response)

    def _model_json(self, model: OfferedModel, name: str) -> dict[str, Any]:
        loaded = self.handler.models.loaded(model)
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "dslocal",
            "context_length": loaded.served.context.n_ctx if loaded else model.n_ctx,
            "loaded": loaded is not None,
        }


def _wants_usage(sent: SamplingFields) -> bool:
    return sent.stream_options is not None and bool(sent.stream_options.include_usage)
