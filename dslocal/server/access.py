"""Access control: hosts, origins and keys, and how large and how slow a request body may be.

A page in a browser can send requests to this machine under any name that it makes resolve here (DNS
rebinding), so the names in Host and Origin are checked. Keys are compared in constant time and
never shown.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .wire.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# Need no key: a connection tells as much. The page's files are the same everywhere; what it shows
# it asks for with the key.
PUBLIC_PATHS = ("/health", "/ready", "/")
PUBLIC_FOLDER = "/page/"
# RFC 9112, 6.1: where two lengths are sent, what follows may be another client's request, so the
# connection is closed.
AMBIGUOUS_LENGTH = "ambiguous_length"
MAX_LENGTH_DIGITS = 18  # of Content-Length
# An error is often sent before the body has been read. Clients that send all of it first read the
# response only then, so the rest of the body is read and thrown away, within these limits.
MAX_DRAINED_BYTES = 1 << 30
MAX_DRAIN_S = 10.0


@dataclass(frozen=True)
class AccessPolicy:
    """Who may send requests, and how large.

    Attributes:
        api_key: The key that clients must send, if any.
        hosts: Names for this server, besides this machine's loopback names.
        origins: Origins of web pages that may send requests.
        is_exposed: Whether other machines can connect. Then any IP address is accepted as Host:
            nobody can make an address resolve elsewhere.
        max_body_bytes: The largest request body.
        body_timeout_s: Seconds in which a body must arrive.
        own_token: The key of dslocal's own commands, which find it in the discovery file.
    """

    api_key: str | None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    is_exposed: bool = False
    max_body_bytes: int = 8 << 20
    body_timeout_s: float = 30.0
    own_token: str = field(default="", repr=False)

    def check(self, scope: Scope) -> None:
        """Refuse a request that may not be answered, before its body is read.

        Raises:
            ApiError: 400, 401, 403 or 413.
        """
        headers = scope["headers"]
        host = self._checked_host(headers)
        for origin in header_values(headers, b"origin"):
            if not self.allows_origin(origin, host):
                raise ApiError(
                    403,
                    "web pages of this Origin may not send requests (allow it with --allow-origin)",
                    code="origin_not_allowed",
                )
        is_public = scope["path"] in PUBLIC_PATHS or scope["path"].startswith(PUBLIC_FOLDER)
        if not is_public and scope["method"] != "OPTIONS":
            self.require_key(scope)
        if len(header_values(headers, b"transfer-encoding")) and any(
            header_values(headers, b"content-length")
        ):
            raise ApiError(
                400,
                "Content-Length and Transfer-Encoding cannot be combined",
                code=AMBIGUOUS_LENGTH,
            )
        for length in header_values(headers, b"content-length"):
            is_number = length.isdecimal() and len(length) <= MAX_LENGTH_DIGITS
            if not is_number or int(length) > self.max_body_bytes:
                raise self._body_too_large()

    def require_key(self, scope: Scope) -> None:
        """Refuse a request without the key, where there is one.

        Raises:
            ApiError: 401.
        """
        if self.api_key is None:
            return
        keys = sent_keys(scope["headers"])
        if not any(is_same_key(key, self.api_key) or self._is_own(key) for key in keys):
            raise ApiError(
                401,
                "this server needs a key: Authorization: Bearer …, or x-api-key: …",
                code="invalid_api_key",
            )

    def require_own_token(self, scope: Scope) -> None:
        """Refuse a request that does not come from one of dslocal's own commands.

        Raises:
            ApiError: 401.
        """
        if not self._is_own(bearer_key(scope["headers"])):
            raise ApiError(
                401, "only dslocal's own commands may use this address", code="invalid_api_key"
            )

    def allows_origin(self, origin: str, host: str) -> bool:
        """Return whether pages of ``origin`` may send requests to ``host``."""
        return origin in self.origins or origin == f"http://{host}"

    async def read_body(self, receive: Receive) -> bytes:
        """Read the whole body of a request.

        Raises:
            ApiError: 413 for a body that is too large, 408 for one that is too slow.
            ConnectionError: The client has left.
        """
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    chunk = message.get("body", b"")
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > self.max_body_bytes:
                        raise self._body_too_large()
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            raise ApiError(
                408,
                f"the body did not come within {self.body_timeout_s:g} seconds",
                code="timeout",
            ) from None

    def _checked_host(self, headers: Headers) -> str:
        hosts = header_values(headers, b"host")
        if len(hosts) != 1 or not self._allows_host(hosts[0]):
            raise ApiError(
                403,
                "this Host is not a name of this server (allow it with --allow-host)",
                code="host_not_allowed",
            )
        return hosts[0]

    def _allows_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.is_exposed or address.is_loopback

    def _is_own(self, key: str | None) -> bool:
        return key is not None and bool(self.own_token) and is_same_key(key, self.own_token)

    def _body_too_large(self) -> ApiError:
        return ApiError(
            413, f"the body is larger than {self.max_body_bytes:,} bytes", code="body_too_large"
        )


async def drain(receive: Receive) -> None:
    """Read and drop what is left of a body, within MAX_DRAINED_BYTES and MAX_DRAIN_S."""
    size = 0
    try:
        async with asyncio.timeout(MAX_DRAIN_S):
            while size < MAX_DRAINED_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def is_same_key(one: str, other: str) -> bool:
    """Compare two keys in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def header_values(headers: Headers, name: bytes) -> list[str]:
    """Return the values of all headers called ``name``, which is in lower case."""
    return [value.decode("latin-1") for key, value in headers if key == name]


def sent_keys(headers: Headers) -> list[str]:
    """Return the keys of a request: the bearer's, and those in Anthropic's header."""
    bearer = bearer_key(headers)
    return [*([] if bearer is None else [bearer]), *header_values(headers, b"x-api-key")]


def bearer_key(headers: Headers) -> str | None:
    """Return the key of the first Authorization header, or None where it is not a bearer key."""
    for value in header_values(headers, b"authorization"):
        scheme = value.split(" ", 1)[0]
        return value[len(scheme) :].strip() if scheme.lower() == "bearer" else None
    return None
