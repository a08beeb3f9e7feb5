"""Send an answer to a client, complete as JSON or as a stream.

Generation ends as soon as the client leaves. A stream's status is sent with its first event, so
that what fails before gets an error status, or with the first sign of life after a silence.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .access import Headers, Receive, Scope, Send
from .request_run import RequestRun
from .wire.encoding import json_bytes
from .wire.errors import ApiError, to_api_error
from .wire.stream_format import StreamFormat, WholeFormat

T = TypeVar("T")
F = TypeVar("F", WholeFormat, StreamFormat)
KEEP_ALIVE_S = 5.0  # of silence, after which a comment says that the connection lives
STREAM_HEADERS = [
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class StreamFailed(Exception):
    """An error that was sent within a stream, whose status was 200 already."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass
class RunResponse(ABC, Generic[F]):
    """Sends what one request generates, as long as its client is there. An ASGI application.

    Attributes:
        run: The request at work.
        format: Makes bytes of its events.
        headers: What the response has besides the usual headers.
    """

    run: RequestRun
    format: F
    headers: Headers = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_disconnect(receive, self._respond(send))
        finally:
            self.run.close()

    @abstractmethod
    async def _respond(self, send: Send) -> None:
        """Send everything."""


class WholeResponse(RunResponse[WholeFormat]):
    """Sends the answers as one JSON object when they are complete."""

    async def _respond(self, send: Send) -> None:
        async with aclosing(self.run.events()) as events:
            async for some in events:
                self.format.collect(some)
        body = json_bytes(self.format.body())
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += self.headers
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class EventStreamResponse(RunResponse[StreamFormat]):
    """Sends what happens as it happens."""

    async def _respond(self, send: Send) -> None:
        media_type = (b"content-type", self.format.media_type)
        stream = EventStream(
            send, [media_type, *STREAM_HEADERS, *self.headers], self.format.keep_alive
        )
        keeping_alive = asyncio.create_task(stream.keep_alive())
        try:
            async with aclosing(self.run.events()) as events:
                async for some in events:
                    data = b"".join(self.format.chunks(some))
                    if data:
                        await stream.send(data)
        except Exception as e:
            if not stream.has_started:
                raise
            keeping_alive.cancel()
            error = to_api_error(e)
            await stream.send(self.format.error(error), is_last=True)
            raise StreamFailed(error) from e
        finally:
            keeping_alive.cancel()
            with suppress(asyncio.CancelledError):
                await keeping_alive
        await stream.send(self.format.end(), is_last=True)


class EventStream:
    """A stream of events to one client."""

    def __init__(self, send: Send, headers: Headers, keep_alive: bytes) -> None:
        self._keep_alive = keep_alive
        self._headers = headers
        self.has_started = False
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._last_sent = self._loop.time()

    async def send(self, data: bytes, *, is_last: bool = False) -> None:
        """Send ``data``, and the status and headers before it if it is the first."""
        if not self.has_started:
            self.has_started = True
            start = {"type": "http.response.start", "status": 200, "headers": self._headers}
            await self._send(start)
        self._last_sent = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})

    async def keep_alive(self) -> None:
        """Send a sign of life whenever nothing was sent for KEEP_ALIVE_S, until cancelled."""
        while True:
            await asyncio.sleep(max(0.01, self._last_sent + KEEP_ALIVE_S - self._loop.time()))
            if self._loop.time() - self._last_sent >= KEEP_ALIVE_S:
                await self.send(self._keep_alive)


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns, and cancel it when the client leaves.

    Raises:
        ConnectionError: The client has left before the work was done.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ConnectionError("the client has left")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
