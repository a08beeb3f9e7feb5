"""The routes of the page: its files, the models, the conversations and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dslocal import __version__, chat
from dslocal.chat.storage import StoredConversation
from dslocal.errors import NotFoundError
from dslocal.server.access import AccessPolicy, Receive, Scope, Send
from dslocal.server.middleware import Log
from dslocal.server.models.model_set import ModelSet
from dslocal.server.sse import STREAM_HEADERS, EventStream, until_disconnect
from dslocal.server.wire.encoding import DONE, KEEP_ALIVE, sse_event
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.request_parsing import parse_request

from .answers import Answers
from .assets import FOLDER, PAGE, SECURITY_HEADERS, asset_response
from .conversation_json import message_json, statistics_json, summary_json
from .guard import require_own_page, require_own_user
from .live_answer import LiveAnswer
from .model_json import machine_json, model_json
from .requests import AnswerRequest

STATE = "/dslocal/state"
CONVERSATIONS = "/dslocal/conversations"
ONE = CONVERSATIONS + "/{id}"
MAX_SEARCH = 200  # characters
PRIVATE_HEADERS = {**SECURITY_HEADERS, "cache-control": "no-store"}
Endpoint = Callable[[Request], Awaitable[Any]]


@dataclass
class PageRoutes:
    """What the page asks for.

    Attributes:
        models: The models that answer.
        answers: The answers on their way.
        access: Reads request bodies within their limits.
        prompt_log: Writes what was sent to the log; None where that is not wanted.
    """

    models: ModelSet
    answers: Answers
    access: AccessPolicy
    prompt_log: Log | None = None

    def routes(self) -> list[Route]:
        """Return all routes but the page's own address."""
        return [
            Route(FOLDER + "/{path:path}", self.asset),
            self._route(STATE, self.state),
            self._route(CONVERSATIONS, self.list_all),
            self._route(CONVERSATIONS, self.begin, "POST"),
            self._route(ONE, self.show),
            self._route(ONE, self.delete, "DELETE"),
            self._route(ONE + "/answers", self.answer, "POST"),
            self._route(ONE + "/answer", self.follow),
            self._route(ONE + "/answer/stop", self.stop, "POST"),
            self._route(ONE + "/answer/end-reasoning", self.end_reasoning, "POST"),
        ]

    def _route(self, path: str, endpoint: Endpoint, method: str = "GET") -> Route:
        """Return a route for this page alone, and the user whose conversations it shows."""

        async def guarded(request: Request) -> Any:
            require_own_page(request.scope)
            if self.access.api_key is None:
                require_own_user(request.scope)
            return await endpoint(request)

        return Route(path, guarded, methods=[method])

    def page(self, request: Request) -> Response:
        """Return the page itself."""
        return asset_response(request, PAGE)

    async def asset(self, request: Request) -> Response:
        """Return a file of the page."""
        return asset_response(request, request.path_params["path"])

    async def state(self, request: Request) -> Response:
        """Describe the models, and how busy the server is."""
        models = []
        for entry in self.models.entries:
            loaded = self.models.loaded(entry)
            models.append(
                model_json(loaded.served) if loaded else {"name": entry.name, "is_loaded": False}
            )
        state = {
            "version": __version__,
            "models": models,
            "running": self.models.busy,
            "waiting": self.models.waiting,
            "slots": self.models.n_slots,
            "machine": machine_json(),
        }
        return _private(state)

    async def list_all(self, request: Request) -> Response:
        """List the conversations that are kept, or those with a text in them."""
        search = request.query_params.get("search", "")[:MAX_SEARCH]

        def find() -> list[dict[str, Any]]:
            found = []
            for stored in chat.list_conversations():
                line = chat.matching_line(stored, search) if stored.questions else None
                if line is not None:
                    found.append(summary_json(stored, line))
            return found

        return _private({"conversations": await self.answers.in_thread(find)})

    async def begin(self, request: Request) -> Response:
        """Begin a conversation with its first question."""
        sent = await self._sent(request)
        name = self.models.find(sent.model).name
        return _started(await self.answers.begin(chat.new_conversation(name), sent))

    async def show(self, request: Request) -> Response:
        """Return a conversation, and what has come of an answer on its way."""
        live = self.answers.find(request.path_params["id"])
        if live is not None and not live.is_done:
            shown = live.messages
            stored = live.stored
        else:
            stored = await self._stored(request)
            shown = stored.history
        return _private(
            {
                **summary_json(stored),
                "system": stored.system,
                "thinking": stored.thinking,
                "effort": stored.effort,
                "messages": [message_json(message) for message in shown],
                "answer": _answer_json(live) if live else None,
            }
        )

    async def delete(self, request: Request) -> Response:
        """Delete a conversation."""
        stored = await self._stored(request)
        self.answers.forget(stored.id)
        if stored.file.is_file():
            await self.answers.in_thread(stored.remove)
        return _private({"deleted": stored.id})

    async def answer(self, request: Request) -> Response:
        """Begin another turn of a conversation."""
        sent = await self._sent(request)
        self.answers.require_idle(request.path_params["id"])
        return _started(await self.answers.begin(await self._stored(request), sent))

    async def follow(self, request: Request) -> Any:
        """Send what has come of an answer, and what comes, as server-sent events."""
        live = self.answers.find(request.path_params["id"])
        if live is None:
            raise ApiError(404, "no answer is being generated", code="no_answer")
        return _AnswerStream(live)

    async def stop(self, request: Request) -> Response:
        """End an answer, and keep what has come of it."""
        self.answers.stop(request.path_params["id"])
        return _private({"stopped": request.path_params["id"]})

    async def end_reasoning(self, request: Request) -> Response:
        """Have the model answer now."""
        self.answers.end_reasoning(request.path_params["id"])
        return _private({"ended": request.path_params["id"]})

    async def _sent(self, request: Request) -> AnswerRequest:
        body = await self.access.read_body(request.receive)
        if self.prompt_log:
            self.prompt_log(f"asked: {body.decode('utf-8', 'replace')}")
        return parse_request(AnswerRequest, body).sent

    async def _stored(self, request: Request) -> StoredConversation:
        """Return the conversation of the path, which need not be on disk if its question failed.

        Raises:
            ApiError: 404.
        """
        wanted = request.path_params["id"]
        try:
            return await self.answers.in_thread(lambda: chat.load_by_id(wanted))
        except NotFoundError as e:
            live = self.answers.find(wanted)
            if live is not None:
                return live.stored
            raise ApiError(404, str(e), code="conversation_not_found") from None


@dataclass
class _AnswerStream:
    """Sends an answer as it comes. An ASGI application; the answer goes on without it."""

    live: LiveAnswer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive, self._respond(send))

    async def _respond(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), *STREAM_HEADERS]
        stream = EventStream(send, headers, KEEP_ALIVE)
        keeping_alive = asyncio.create_task(stream.keep_alive())
        try:
            async with aclosing(self.live.events()) as events:
                async for event in events:
                    await stream.send(sse_event(event))
        finally:
            keeping_alive.cancel()
            with suppress(asyncio.CancelledError):
                await keeping_alive
        await stream.send(sse_event(_answer_json(self.live)) + DONE, is_last=True)


def _answer_json(live: LiveAnswer) -> dict[str, Any]:
    figures = statistics_json(live.turn) if live.turn else None
    return {**live.snapshot(), "type": "end" if live.is_done else "snapshot", "figures": figures}


def _started(live: LiveAnswer) -> Response:
    body = {"id": live.stored.id, "answer": _answer_json(live)}
    return JSONResponse(body, 202, headers=PRIVATE_HEADERS)


def _private(body: dict[str, Any]) -> Response:
    return JSONResponse(body, headers=PRIVATE_HEADERS)
