"""The application: its routes, under ``/``, ``/v1`` and ``/beta`` alike, and what stands in front
of all of them.
"""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from dslocal.server.wire.errors import ApiError, fault_of
from dslocal.server.wire.openapi import document
from dslocal.server.wire.responses import Reply, TextReply, encoded
from dslocal.server.wire.schemas import (
    AskRequest,
    ChatRequest,
    CompletionRequest,
    Sampling,
    Wire,
    read,
)

from .access import Guard, Receive, Scope, Send, drain
from .ask_reply import AskReply
from .metrics import CONTENT_TYPE, Metrics
from .queue import RETRY_S, RequestQueue, RequestRun
from .requests import PreparedRequest, ServedModel, of_ask, of_chat, of_completion
from .sse import Late, ResponseStream

BASES = ("", "/v1", "/beta")
ASK = "/dslocal/ask"
W = TypeVar("W", bound=Wire)
Say = Callable[[str], None]


@dataclass
class Server:
    """What the routes share. ``say`` writes the log; prompts and answers are in it with
    ``log_prompts`` alone.
    """

    served: ServedModel
    desk: RequestQueue
    guard: Guard
    metrics: Metrics
    say: Say
    log_prompts: bool = False

    @property
    def app(self) -> Front:
        routes = [
            Route("/health", self.health),
            Route("/ready", self.health),
            Route("/metrics", self.show_metrics),
            Route("/openapi.json", self.show_document),
            Route(ASK, self.ask, methods=["POST"]),
        ]
        for base in BASES:
            routes += [
                Route(f"{base}/models", self.models),
                Route(f"{base}/models/{{name:path}}", self.model),
                Route(f"{base}/chat/completions", self.chat, methods=["POST"]),
                Route(f"{base}/completions", self.complete, methods=["POST"]),
            ]
        return Front(Router(routes, redirect_slashes=False), self)

    async def health(self, request: Request) -> Response:
        desk = self.desk
        state = {
            "status": "stopping" if desk.stopping else "ok",
            "running": desk.busy,
            "waiting": desk.waiting,
            "places": len(desk.places),
        }
        return JSONResponse(state, 503 if desk.stopping else 200)

    async def show_metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def show_document(self, request: Request) -> Response:
        return JSONResponse(document(BASES))

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        self.served.require(request.path_params["name"])
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        context = self.served.context
        return {
            "id": self.served.name,
            "object": "model",
            "created": 0,
            "owned_by": "dslocal",
            "context_length": context.n_ctx,
        }

    async def chat(self, request: Request) -> Any:
        wanted, asked = await self._asked(request, ChatRequest, of_chat)
        return self._send(asked, Reply(asked, *self._head()), wanted)

    async def complete(self, request: Request) -> Any:
        wanted, asked = await self._asked(request, CompletionRequest, of_completion)
        return self._send(
            asked,
            TextReply(asked, *self._head(), echo=wanted.prompt if wanted.echo else ""),
            wanted,
        )

    async def ask(self, request: Request) -> Any:
        self.guard.require_own(request.scope)
        _, asked = await self._asked(request, AskRequest, of_ask)
        return ResponseStream(
            RequestRun(self.desk, asked, self.metrics.count),
            AskReply(asked, *self._head()),
            stream=True,
        )

    def _head(self) -> tuple[Any, str, str]:
        return (
            self.served.context.model,
            self.served.name,
            f"dslocal-{self.served.fingerprint[:12]}",
        )

    async def _asked(
        self, request: Request, kind: type[W], make: Callable[[ServedModel, W], PreparedRequest]
    ) -> tuple[W, PreparedRequest]:
        """The request, and what it asks for: made in a thread, since a long prompt takes a while to
        read.
        """
        body = await self.guard.body(request.receive)
        if self.log_prompts:
            self.say(f"asked: {body.decode('utf-8', 'replace')}")

        def prepare() -> tuple[W, PreparedRequest]:
            wanted = read(kind, body)
            return wanted, make(self.served, wanted)

        return await asyncio.to_thread(prepare)

    def _send(self, asked: PreparedRequest, reply: Reply, wanted: Sampling) -> ResponseStream:
        run = RequestRun(self.desk, asked, self._count if self.log_prompts else self.metrics.count)
        usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
        return ResponseStream(run, reply, stream=bool(wanted.stream), usage=usage)

    def _count(self, turn: Any, cut: bool) -> None:
        self.metrics.count(turn, cut)
        self.say(
            f"answered: {json.dumps({'reasoning': turn.reasoning, 'answer': turn.text}, ensure_ascii=False)}"
        )


@dataclass
class Front:
    """Stands in front of the routes: lets in who may, turns what goes wrong into error objects,
    keeps the log.
    """

    routes: Any
    server: Server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began, status, path = time.monotonic(), 0, scope["path"]
        cross, heard = self._cross_origin(scope), False

        async def hear() -> MutableMapping[str, Any]:
            nonlocal heard
            message = await receive()
            heard = heard or not message.get("more_body")
            return message

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *cross]}
            await send(message)

        try:
            await self._answer(scope, hear, answer)
        except ConnectionError:
            status = status or 499  # as nginx writes of a client that left
        except Late as e:
            self._log_cause(e.fault)
            status = e.fault.status
        except HTTPException as e:  # of a route or a method
            words = {
                404: f"there is nothing at {path[:200]}",
                405: f"{scope['method'][:20]} is not for {path[:200]}",
            }
            await self._refuse(
                ApiError(e.status_code, words.get(e.status_code, "no")),
                scope,
                None if heard else hear,
                answer,
            )
        except Exception as e:
            fault = fault_of(e)
            self._log_cause(e)
            if not status:
                await self._refuse(fault, scope, None if heard else hear, answer)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.server.metrics.requests.labels(route, str(status)).inc()
            if path not in ("/health", "/ready", "/metrics"):
                client = scope["client"][0] if scope.get("client") else "-"
                self.server.say(
                    f"{client} {scope['method']} {path[:200]} {status} {time.monotonic() - began:.3f} s"
                )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.server.guard.check(scope)
        if scope["method"] == "OPTIONS":
            allowed = [(b"allow", b"GET, POST, OPTIONS")]
            await send({"type": "http.response.start", "status": 204, "headers": allowed})
            await send({"type": "http.response.body", "body": b""})
            return
        scope["app"] = self  # with which the router raises for what is not there
        await self.routes(scope, receive, send)

    async def _refuse(
        self, fault: ApiError, scope: Scope, receive: Receive | None, send: Send
    ) -> None:
        """``receive`` has what is left of the body, which some clients send before they read any
        answer.
        """
        if receive and b"expect" not in dict(scope["headers"]):  # who asks first has not sent it
            await drain(receive)
        await _tell(fault, send)

    def _cross_origin(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What lets a browser show the answer to a page of an allowed origin."""
        if scope["type"] != "http":
            return []
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"")
        if not origin or not self.server.guard.knows_origin(
            origin.decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
        ):
            return []
        allowed = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS":
            allowed += [
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", b"Authorization, Content-Type"),
            ]
        return allowed

    def _log_cause(self, error: BaseException) -> None:
        """Where an error of the server's own came from."""
        if fault_of(error).status == 500:
            self.server.say("".join(traceback.format_exception(error)))


async def _tell(fault: ApiError, send: Send) -> None:
    body = encoded(fault.body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if fault.status == 429:
        headers.append((b"retry-after", b"%d" % RETRY_S))
    if fault.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
