"""The ASGI middleware between a connection and the routes, one class for each subject.

From the outside in: :class:`PathNormaliser`, :class:`RequestLog`, :class:`CrossOriginHeaders`,
:class:`ErrorResponses`, :class:`AccessControl`. They are plain ASGI classes, since
Starlette's BaseHTTPMiddleware puts a queue between a stream and its client, and hides when the
client leaves.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.exceptions import HTTPException

from .access import (
    AMBIGUOUS_LENGTH,
    AccessPolicy,
    App,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    drain,
    header_values,
)
from .ignored_fields import HEADER
from .metrics import Metrics
from .queue import RETRY_AFTER_S
from .sse import StreamFailed
from .wire.encoding import json_bytes
from .wire.error_bodies import error_body
from .wire.errors import ApiError, to_api_error

Log = Callable[[str], None]

CLIENT_LEFT = 499  # the status that nginx logs when a client closes the connection
UNLOGGED_PATHS = ("/health", "/ready", "/metrics")
MAX_SHOWN_PATH = 200
MAX_SHOWN_METHOD = 20
USUAL_HEADERS = b"Authorization, Content-Type, X-Api-Key"
ALLOWED_METHODS = b"GET, POST, DELETE"
# OpenAI's client obeys it (_base_client.py, _should_retry), and else repeats what failed with 5xx.
SHOULD_RETRY = b"x-should-retry"
EXPOSED_HEADERS = b"retry-after, " + SHOULD_RETRY + b", " + HEADER
HEADER_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: *, *[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
MAX_HEADER_NAMES = 4096  # bytes of Access-Control-Request-Headers
PREFLIGHT_LIFE_S = 600  # for which a browser remembers the answer
WHAT_IS_HERE = (
    "the base URL of OpenAI's API here ends in /v1: /v1/chat/completions, /v1/completions and "
    "/v1/models; Anthropic's has no path, or /anthropic"
)
NOT_LLAMA_SERVER = "of llama-server's own API, this server has /infill and /health"
# What clients ask for that is not here, by the beginning of its path.
OTHER_APIS = {
    "/api/v0": "LM Studio's own API is not spoken here",
    "/api/v1": "LM Studio's own API is not spoken here",
    "/api": "of Ollama's API, this server has /api/chat, /api/generate, /api/tags, /api/show and "
    "/api/ps",
    "/openai": "this server does not have Azure's addresses of deployments",
    "/completion": NOT_LLAMA_SERVER,
    "/tokenize": NOT_LLAMA_SERVER,
    "/detokenize": NOT_LLAMA_SERVER,
    "/apply-template": NOT_LLAMA_SERVER,
    "/props": NOT_LLAMA_SERVER,
    "/slots": NOT_LLAMA_SERVER,
    "/v1/embeddings": "DeepSeek's models make text, no embeddings",
    "/embeddings": "DeepSeek's models make text, no embeddings",
    "/v1/rerank": "DeepSeek's models make text, no rankings",
    "/v1/moderations": "DeepSeek's models make text, no moderation",
    "/v1/audio": "DeepSeek's models read and write text alone",
    "/v1/images": "DeepSeek's models read and write text alone",
}
SLASHES = re.compile("/{2,}")


def shown_path(scope: Scope) -> str:
    """Return the path of a request, no longer than a message may show it, and on one line."""
    path = str(scope["path"][:MAX_SHOWN_PATH])
    return "".join(c if c.isprintable() else quote(c, errors="replace") for c in path)


@dataclass
class RequestLog:
    """Count every request by route and status, and write a line for it unless ``log`` is None.

    Exceptions that leave nobody to respond to end here.
    """

    app: App
    log: Log | None
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.monotonic()
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except ConnectionError:
            status = status or CLIENT_LEFT
        except StreamFailed as e:
            status = e.error.status
        finally:
            self._record(scope, status, time.monotonic() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(status)).inc()
        if self.log is None or scope["path"] in UNLOGGED_PATHS:
            return
        client = scope["client"][0] if scope.get("client") else "-"
        self.log(f"{client} {scope['method']} {shown_path(scope)} {status} {seconds:.3f} s")


@dataclass
class PathNormaliser:
    """Read doubled slashes as one, and leave out slashes at the end.

    A base URL that ends in a slash makes clients ask for ``/v1//chat/completions``.
    """

    app: App

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = SLASHES.sub("/", scope["path"])
            scope["path"] = path.rstrip("/") or "/"
        await self.app(scope, receive, send)


@dataclass
class CrossOriginHeaders:
    """Let a browser show responses to pages of the allowed origins."""

    app: App
    access: AccessPolicy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self._headers(scope)
        if not headers:
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _headers(self, scope: Scope) -> Headers:
        """Return the headers to add; none where the request names no allowed origin."""
        request = dict(scope["headers"])
        origin = request.get(b"origin", b"")
        host = request.get(b"host", b"")
        if not origin or not self.access.allows_origin(
            origin.decode("latin-1"), host.decode("latin-1")
        ):
            return []
        headers = [
            (b"access-control-allow-origin", origin),
            (b"vary", b"Origin"),
            (b"access-control-expose-headers", EXPOSED_HEADERS),
        ]
        if scope["method"] == "OPTIONS":
            headers += self._preflight(request)
        return headers

    def _preflight(self, request: dict[bytes, bytes]) -> Headers:
        """Return what a preflight request is answered, whose origin is allowed.

        Which headers a client sends is its own affair (OpenAI's SDK has a dozen x-stainless-*):
        those that it asks for are allowed. A page of the public web needs a permission of its own
        to reach a private network (Private Network Access); an allowed origin has it.
        """
        asked = request.get(b"access-control-request-headers", b"")
        is_list = bool(HEADER_NAMES.fullmatch(asked)) and len(asked) <= MAX_HEADER_NAMES
        headers = [
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", asked if is_list else USUAL_HEADERS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_LIFE_S),
        ]
        if request.get(b"access-control-request-private-network") == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
        return headers


@dataclass
class ErrorResponses:
    """Turn exceptions into error objects; log those that are the server's own."""

    app: App
    log: Log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body_was_read = response_was_started = False

        async def receive_and_note() -> Message:
            nonlocal body_was_read
            message = await receive()
            body_was_read = body_was_read or not message.get("more_body")
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal response_was_started
            response_was_started = True
            await send(message)

        try:
            await self.app(scope, receive_and_note, send_and_note)
            return
        except ConnectionError:
            raise
        except StreamFailed as e:
            self._log_server_error(e.error)
            raise
        except HTTPException as e:
            error = _routing_error(e, scope)
        except Exception as e:
            self._log_server_error(e)
            error = to_api_error(e)
        if response_was_started:
            return
        if not body_was_read and not header_values(scope["headers"], b"expect"):
            await drain(receive)
        await send_error(error, scope["path"], send)

    def _log_server_error(self, error: BaseException) -> None:
        if to_api_error(error).status == 500:
            self.log("".join(traceback.format_exception(error)))


@dataclass
class AccessControl:
    """Refuse who may not send requests, and answer OPTIONS for who may."""

    app: App
    access: AccessPolicy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.access.check(scope)
        if scope["method"] != "OPTIONS":
            scope["app"] = self  # has the router raise for an unknown route, not respond itself
            await self.app(scope, receive, send)
            return
        headers = [(b"allow", ALLOWED_METHODS + b", OPTIONS")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def send_error(error: ApiError, path: str, send: Send) -> None:
    """Send an error object as the response, in the format of ``path``."""
    body = json_bytes(error_body(error, path))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if error.code == AMBIGUOUS_LENGTH:
        headers.append((b"connection", b"close"))
    if error.status == 501:
        headers.append((SHOULD_RETRY, b"false"))
    if error.status == 429:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _routing_error(error: HTTPException, scope: Scope) -> ApiError:
    """Return the API error for a route or a method that does not exist."""
    path = scope["path"]
    if error.status_code == 404:
        for beginning, message in OTHER_APIS.items():
            if f"{path}/".startswith(f"{beginning}/"):
                return ApiError(501, f"{message}; {WHAT_IS_HERE}", code="not_implemented")
    messages = {
        404: f"there is nothing at {shown_path(scope)}; {WHAT_IS_HERE}",
        405: f"{scope['method'][:MAX_SHOWN_METHOD]} is not allowed for {shown_path(scope)}",
    }
    return ApiError(error.status_code, messages.get(error.status_code, "no"))
