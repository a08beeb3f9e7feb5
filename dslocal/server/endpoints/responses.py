"""OpenAI's Responses API, under ``/`` and ``/v1`` alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dslocal.server.exchange.tasks import ChatTask
from dslocal.server.preparation.chat_requests import count_chat, prepare_chat
from dslocal.server.response_store import ResponseStore
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.openai_response import response_head
from dslocal.server.wire.responses.request import input_items, read_responses
from dslocal.server.wire.responses.responses_response import ResponsesResponse
from dslocal.server.wire.responses.schemas import InputItem, ResponsesRequest

if TYPE_CHECKING:
    from dslocal.server.request_handling import RequestHandler

Json = dict[str, Any]
BASE_PATHS = ("", "/v1")
PAGE = 20  # items
MAX_PAGE = 100


def responses_routes(handler: RequestHandler) -> list[Route]:
    """Return the routes that ``handler`` answers in the format of OpenAI's Responses API."""
    endpoints = ResponsesEndpoints(handler)
    routes = []
    for base in BASE_PATHS:
        root = f"{base}/responses"
        one = f"{root}/{{id}}"
        routes += [
            Route(root, endpoints.answer, methods=["POST"]),
            Route(f"{root}/input_tokens", endpoints.count_tokens, methods=["POST"]),
            Route(one, endpoints.show, methods=["GET"]),
            Route(one, endpoints.delete, methods=["DELETE"]),
            Route(f"{one}/input_items", endpoints.list_items, methods=["GET"]),
            Route(f"{one}/cancel", endpoints.cancel, methods=["POST"]),
        ]
    return routes


@dataclass
class ResponsesEndpoints:
    """What the routes of the Responses API do."""

    handler: RequestHandler
    store: ResponseStore = field(default_factory=ResponseStore)

    async def answer(self, request: Request) -> Any:
        """Answer a conversation, and keep the response unless the request says otherwise."""
        incoming = await self.handler.read(request, ResponsesRequest, self._task, prepare_chat)
        sent = incoming.sent
        key = incoming.prepared[0].key
        items = [_item_json(item, f"{key}i{n:02x}") for n, item in enumerate(input_items(sent))]

        def keep(response: Json) -> None:
            if sent.store is not False:
                self.store.add(response, items, sent.previous_response_id or "")

        head = response_head(incoming.lease.served)
        response = ResponsesResponse(incoming.prepared, head, sent, keep)
        if sent.stream:
            return self.handler.respond_streaming(incoming, response)
        return self.handler.respond_whole(incoming, response)

    async def count_tokens(self, request: Request) -> Response:
        """Count the tokens of a conversation."""
        incoming = await self.handler.read(request, ResponsesRequest, self._task, count_chat)
        incoming.lease.release()
        count = len(incoming.prepared[0].ids)
        return JSONResponse({"object": "response.input_tokens", "input_tokens": count})

    async def show(self, request: Request) -> Response:
        """Return a response that is kept."""
        return JSONResponse(self.store.get(request.path_params["id"]).response)

    async def delete(self, request: Request) -> Response:
        """Drop a response that is kept."""
        id = request.path_params["id"]
        self.store.remove(id)
        return JSONResponse({"id": id, "object": "response", "deleted": True})

    async def list_items(self, request: Request) -> Response:
        """List what a response that is kept answers."""
        id = request.path_params["id"]
        stored = self.store.get(id)
        items = [*self.store.history(stored.previous), *stored.items]
        return JSONResponse(_page(items, request))

    async def cancel(self, request: Request) -> Response:
        """Refuse to cancel: no response is made in the background."""
        self.store.get(request.path_params["id"])
        raise ApiError(
            400, "only a response with background: true can be cancelled, and this server has none"
        )

    def _task(self, sent: ResponsesRequest) -> ChatTask:
        history = self.store.history(sent.previous_response_id)
        return read_responses(sent, [InputItem.model_validate(item) for item in history])


def _item_json(item: InputItem, key: str) -> Json:
    """Return an item of a request as it is kept: with an id, and its content as parts."""
    found: Json = {"type": "message", **item.model_dump(exclude_none=True)}
    found.setdefault("id", f"item_{key}")
    if found["type"] == "message" and isinstance(found.get("content"), str):
        kind = "output_text" if found.get("role") == "assistant" else "input_text"
        found["content"] = [{"type": kind, "text": found["content"]}]
    return found


def _page(items: Sequence[Json], request: Request) -> Json:
    """Return the part of ``items`` that the request's query asks for.

    Raises:
        ApiError: 422 for a query that is out of range.
    """
    query = request.query_params
    limit, order = query.get("limit", str(PAGE)), query.get("order", "desc")
    is_number = limit.isdecimal() and limit.isascii() and len(limit) <= len(str(MAX_PAGE))
    if not is_number or not 1 <= int(limit) <= MAX_PAGE:
        raise ApiError(422, f"limit: 1 to {MAX_PAGE}", param="limit")
    if order not in ("asc", "desc"):
        raise ApiError(422, "order: asc or desc", param="order")
    ordered = list(items) if order == "asc" else list(reversed(items))
    ids = [item.get("id") for item in ordered]
    after = query.get("after")
    begin = ids.index(after) + 1 if after in ids else 0
    shown = ordered[begin : begin + int(limit)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0].get("id") if shown else None,
        "last_id": shown[-1].get("id") if shown else None,
        "has_more": begin + len(shown) < len(ordered),
    }
