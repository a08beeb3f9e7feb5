"""Who may ask, and how much: hosts, origins, keys, the size of a body and the time that it takes to
come.

A page in a browser can send requests to this machine under any name that it makes resolve here, so
the names in Host and Origin are looked at. A key is compared in constant time and never shown.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dslocal.server.wire.errors import ApiError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPEN = ("/health", "/ready")  # whoever can connect may know that there is a server
DRAINED = (
    1 << 30
)  # bytes of a body too large that are read, so that its sender gets to read the answer
DRAIN_S = 10.0


@dataclass(frozen=True)
class Guard:
    """``hosts`` and ``origins`` are allowed besides this machine's own names. ``exposed`` says that
    others can connect: then any address in figures is as good as a name, which nobody can make
    resolve elsewhere."""

    key: str | None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    exposed: bool = False
    max_body: int = 8 << 20
    body_s: float = 30.0
    own: str = field(
        default="", repr=False
    )  # the token of those who found the server by its beacon

    def check(self, scope: Scope) -> None:
        """Raises Fault for a request that may not be answered, before its body is read."""
        headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._knows_host(_text(hosts[0])):
            raise ApiError(
                403,
                "this server is not known by that Host (--allow-host adds one)",
                code="host_not_allowed",
            )
        for origin in (_text(value) for name, value in headers if name == b"origin"):
            if not self.knows_origin(origin, _text(hosts[0])):
                raise ApiError(
                    403,
                    "pages of that Origin may not ask here (--allow-origin adds one)",
                    code="origin_not_allowed",
                )
        if self.key is not None and scope["path"] not in OPEN and scope["method"] != "OPTIONS":
            given = _bearer(headers)
            if given is None or not (same(given, self.key) or (self.own and same(given, self.own))):
                raise ApiError(
                    401, "a key is needed: Authorization: Bearer …", code="invalid_api_key"
                )
        for length in (_text(value) for name, value in headers if name == b"content-length"):
            if not length.isdecimal() or len(length) > 18 or int(length) > self.max_body:
                raise self.too_large()

    def require_own(self, scope: Scope) -> None:
        """Raises Fault for whoever does not know this server's own token."""
        given = _bearer(scope["headers"])
        if given is None or not self.own or not same(given, self.own):
            raise ApiError(401, "this is for dslocal's own commands", code="invalid_api_key")

    def knows_origin(self, origin: str, host: str) -> bool:
        return origin in self.origins or origin == f"http://{host}"

    def too_large(self) -> ApiError:
        return ApiError(
            413, f"the body is larger than {self.max_body:,} bytes", code="body_too_large"
        )

    async def body(self, receive: Receive) -> bytes:
        """The whole body. Raises Fault when it is too large or takes too long, and ConnectionError
        when the client leaves.
        """
        found, size = [], 0
        try:
            async with asyncio.timeout(self.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    found.append(message.get("body", b""))
                    size += len(found[-1])
                    if size > self.max_body:
                        raise self.too_large()
                    if not message.get("more_body"):
                        return b"".join(found)
        except TimeoutError:
            raise ApiError(
                408, f"the body did not come within {self.body_s:g} seconds", code="timeout"
            ) from None

    def _knows_host(self, host: str) -> bool:
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
        return self.exposed or address.is_loopback


async def drain(receive: Receive) -> None:
    """Reads what is left of a body, up to a bound."""
    size = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            while size < DRAINED:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _bearer(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = _text(value).partition(" ")
            return key.strip() if scheme.lower() == "bearer" else None
    return None


def _text(value: bytes) -> str:
    return value.decode("latin-1")
