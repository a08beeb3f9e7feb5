"""HTTP with one engine only: no redirect is followed.

A request that streams has a connection of its own. Closing it tells the engine to stop, and it can
be closed from any thread at any time, also while the engine reads the prompt and sends nothing.
"""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dslocal import __version__
from dslocal.errors import NotFoundError

from .address import EngineAddress
from .event_stream import EventReader
from .failures import (
    connection_error,
    nonsense_error,
    slow_error,
    stalled_error,
    status_error,
)

if TYPE_CHECKING:
    import httpx2

CONNECT_S = 10.0
REPLY_S = 30.0  # for what needs no computing, without a byte
WHOLE_REPLY_S = 60.0  # for all of that, which may come byte by byte
SILENCE_S = 1800.0  # while a long prompt is read
EVENTS = "text/event-stream"
MAX_REPLY = 64 << 20  # bytes
MAX_ERROR = 64 << 10  # bytes of an error's body that are read
# a host that is gone is noticed after 30 s + 6 × 10 s
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))


class RemoteAbort:
    """Ends what a context waits for, from any thread, by closing its connection."""

    def __init__(self) -> None:
        self._is_set = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def set(self) -> None:
        """End it, and whatever starts until :meth:`clear`."""
        self._is_set.set()
        with self._lock:
            for connected in self._sockets:
                with suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)

    def clear(self) -> None:
        """Let the context work again."""
        self._is_set.clear()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set.is_set()

    def watch(self, connected: socket.socket) -> None:
        """Close ``connected`` when this is set, which it may be already."""
        with self._lock:
            self._sockets.append(connected)
        if self.is_set():
            self.set()

    def unwatch(self) -> None:
        """Let go of all connections."""
        with self._lock:
            self._sockets.clear()


class EngineConnection:
    """Sends requests to one engine. Close it, or use it as a context manager.

    For several threads at once.

    Attributes:
        address: Where the engine is.
    """

    def __init__(self, address: EngineAddress) -> None:
        """Prepare to speak with the engine at ``address``; nothing is sent yet."""
        import httpx2

        self.address = address
        self._abort: RemoteAbort | None = None
        headers = {
            "User-Agent": f"dslocal/{__version__}",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-cache",
        }
        if address.key:
            headers["Authorization"] = f"Bearer {address.key}"
        self._client = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(REPLY_S, connect=CONNECT_S),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=not address.is_loopback,  # a proxy cannot reach this machine
            verify=httpx2.create_ssl_context() if address.is_encrypted else False,
        )

    def __enter__(self) -> EngineConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. May be called again."""
        self._client.close()

    def aborted_by(self, abort: RemoteAbort) -> EngineConnection:
        """Return this connection for requests that ``abort`` ends. Only the original is closed."""
        other = copy.copy(self)
        other._abort = abort
        return other

    def get(self, path: str) -> Any:
        """Return the JSON that a GET of ``path`` brings.

        Raises:
            DslocalError: It brings none; the message says why.
        """
        return self._request("GET", path, None)

    def find(self, path: str) -> Any:
        """Return the JSON that a GET of ``path`` brings; None where there is no such path.

        Raises:
            DslocalError: There is one, and it brings none.
        """
        try:
            return self._request("GET", path, None)
        except NotFoundError:
            return None

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that a POST of ``body`` brings.

        Raises:
            DslocalError: It brings none; the message says why.
        """
        return self._request("POST", path, body)

    @contextmanager
    def events(
        self, path: str, body: Mapping[str, Any], abort: RemoteAbort
    ) -> Iterator[EventReader]:
        """Send ``body``, and yield the events of the response. Leaving closes the connection.

        Args:
            path: Where it is sent.
            body: The request.
            abort: Ends it from another thread.

        Raises:
            KeyboardInterrupt: It was ended by ``abort``.
            DslocalError: No stream comes, or it breaks; the message says why.
        """
        import httpx2

        timeout = httpx2.Timeout(SILENCE_S, connect=CONNECT_S, write=REPLY_S)
        headers = {"Content-Type": "application/json", "Accept": EVENTS}
        too_late = RemoteAbort()
        timer = _started_timer(SILENCE_S, too_late)
        try:
            with self._client.stream(
                "POST",
                self.address.url + path,
                content=_encoded(body),
                headers=headers,
                timeout=timeout,
                extensions={"trace": _watcher(abort, too_late)},
            ) as response:
                timer.cancel()
                if response.status_code != 200:
                    raise self._status_error(response)
                pieces = self._uncompressed(response)
                self._check_media_type(response)
                yield EventReader(self.address, pieces)
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as e:
            if abort.is_set():
                raise KeyboardInterrupt from None
            if too_late.is_set():
                raise stalled_error(self.address, SILENCE_S) from e
            raise connection_error(self.address, e) from e
        finally:
            timer.cancel()
            abort.unwatch()
        if abort.is_set():
            raise KeyboardInterrupt

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        import httpx2

        content = None if body is None else _encoded(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        url = self.address.url + path
        too_late = RemoteAbort()
        timer = _started_timer(WHOLE_REPLY_S, too_late)
        aborts = [too_late] if self._abort is None else [too_late, self._abort]
        try:
            with self._client.stream(
                method,
                url,
                content=content,
                headers=headers,
                extensions={"trace": _watcher(*aborts)},
            ) as response:
                if response.status_code != 200:
                    raise self._status_error(response)
                return self._json(_read_limited(self._uncompressed(response), MAX_REPLY + 1))
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as e:
            if self._abort is not None and self._abort.is_set():
                raise KeyboardInterrupt from None
            if too_late.is_set():
                raise slow_error(self.address, WHOLE_REPLY_S) from e
            raise connection_error(self.address, e) from e
        finally:
            timer.cancel()
            for abort in aborts:
                abort.unwatch()

    def _uncompressed(self, response: httpx2.Response) -> Iterator[bytes]:
        """Return the pieces of a body as they come.

        dslocal asks for no compression: a few compressed bytes can be any number of others.

        Raises:
            RemoteEngineError: It is compressed.
        """
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise nonsense_error(self.address, "sends a compressed reply, unasked")
        return response.iter_raw()

    def _check_media_type(self, response: httpx2.Response) -> None:
        """Refuse what is not a stream of events, such as a page. Raises RemoteEngineError."""
        media_type = response.headers.get("Content-Type", EVENTS).partition(";")[0].strip()
        if media_type.lower() != EVENTS:
            shown = media_type if media_type.isprintable() else "something else"
            raise nonsense_error(self.address, f"sends {shown:.60}, not a stream of events")

    def _json(self, data: bytes) -> Any:
        if len(data) > MAX_REPLY:
            raise nonsense_error(self.address, f"sends more than {MAX_REPLY:,} bytes")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise nonsense_error(self.address, "sent a reply that is not JSON") from None

    def _status_error(self, response: httpx2.Response) -> Exception:
        body = b""
        with suppress(Exception):  # the status alone says enough
            body = _read_limited(self._uncompressed(response), MAX_ERROR)
        retry_after = response.headers.get("Retry-After", "")
        return status_error(self.address, response.status_code, body, retry_after)


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _read_limited(pieces: Iterator[bytes], max_bytes: int) -> bytes:
    """Return the beginning of a body, at most ``max_bytes``."""
    body = bytearray()
    for chunk in pieces:
        body += chunk
        if len(body) >= max_bytes:
            break
    return bytes(body[:max_bytes])


def _started_timer(seconds: float, abort: RemoteAbort) -> threading.Timer:
    """Return a timer that sets ``abort`` after so long, unless it is cancelled."""
    timer = threading.Timer(seconds, abort.set)
    timer.daemon = True
    timer.start()
    return timer


def _watcher(*aborts: RemoteAbort) -> Any:
    """Return what httpcore calls at each step of a request: it has ``aborts`` watch the socket."""

    def trace(event: str, details: dict[str, Any]) -> None:
        if event not in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            return
        stream = details.get("return_value")
        connected = stream.get_extra_info("socket") if stream is not None else None
        if isinstance(connected, socket.socket):
            _keep_alive(connected)
            for abort in aborts:
                abort.watch(connected)

    return trace


def _keep_alive(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            option = getattr(socket, name, None)
            if option is not None:
                connected.setsockopt(socket.IPPROTO_TCP, option, value)
