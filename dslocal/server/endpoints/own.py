"""The route of dslocal's own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.routing import Route

from dslocal.server.preparation.ask_requests import prepare_ask
from dslocal.server.wire.ask.ask_response import AskResponse
from dslocal.server.wire.ask.schemas import AskRequest

if TYPE_CHECKING:
    from dslocal.server.request_handling import RequestHandler

ASK_PATH = "/dslocal/ask"


def own_routes(handler: RequestHandler) -> list[Route]:
    """Return the routes that ``handler`` keeps for dslocal's own commands."""

    async def ask(request: Request) -> Any:
        """Answer ``dslocal ask`` as a process of its own would."""
        handler.access.require_own_token(request.scope)
        incoming = await handler.read(request, AskRequest, lambda sent: sent, prepare_ask)
        return handler.respond_streaming(incoming, AskResponse())

    return [Route(ASK_PATH, ask, methods=["POST"])]
