"""Anthropic's routes, under ``/v1``, and under ``/anthropic`` as DeepSeek has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dslocal.server.preparation.chat_requests import count_chat, prepare_chat
from dslocal.server.wire.anthropic.messages_response import MessagesResponse
from dslocal.server.wire.anthropic.request import hides_thinking, read_messages
from dslocal.server.wire.anthropic.schemas import CountTokensRequest, MessagesRequest
from dslocal.server.wire.openai_response import response_head

if TYPE_CHECKING:
    from dslocal.server.request_handling import RequestHandler

BASE_PATHS = ("/v1", "/anthropic/v1")
VERSION_HEADER = "anthropic-version"
CREATED = "1970-01-01T00:00:00Z"  # when a model was released is not known of a file


def anthropic_routes(handler: RequestHandler) -> list[Route]:
    """Return the routes that ``handler`` answers in Anthropic's format."""
    endpoints = AnthropicEndpoints(handler)
    routes = [
        Route("/anthropic/v1/models", endpoints.list_models),
        Route("/anthropic/v1/models/{name:path}", endpoints.show_model),
    ]
    for base in BASE_PATHS:
        count = f"{base}/messages/count_tokens"
        routes.append(Route(f"{base}/messages", endpoints.answer, methods=["POST"]))
        routes.append(Route(count, endpoints.count_tokens, methods=["POST"]))
    return routes


@dataclass
class AnthropicEndpoints:
    """What Anthropic's routes do."""

    handler: RequestHandler

    async def answer(self, request: Request) -> Any:
        """Answer a conversation."""
        incoming = await self.handler.read(request, MessagesRequest, read_messages, prepare_chat)
        response = MessagesResponse(
            incoming.prepared,
            response_head(incoming.lease.served),
            hides_thinking=hides_thinking(incoming.sent),
        )
        if incoming.sent.stream:
            return self.handler.respond_streaming(incoming, response)
        return self.handler.respond_whole(incoming, response)

    async def count_tokens(self, request: Request) -> Response:
        """Count the tokens of a conversation."""
        incoming = await self.handler.read(request, CountTokensRequest, read_messages, count_chat)
        incoming.lease.release()
        return JSONResponse({"input_tokens": len(incoming.prepared[0].ids)})

    async def list_models(self, request: Request) -> Response:
        """List the models that are served, under each of their names that are to be listed."""
        names = [
            name for model in self.handler.models.entries for name in (model.name, *model.aliases)
        ]
        listed = [_model_json(name) for name in names]
        return JSONResponse(
            {"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]}
        )

    async def show_model(self, request: Request) -> Response:
        """Describe the model of that name."""
        name = request.path_params["name"]
        model = self.handler.models.find(name)
        return JSONResponse(_model_json(name if name in model.aliases else model.name))


def _model_json(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": CREATED}
