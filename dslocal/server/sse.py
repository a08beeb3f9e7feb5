"""An answer on its way to a client: whole or as server-sent events, given up as soon as the client
leaves.

A stream begins with its first event, so that what goes wrong before has a status of its own, or
when it has kept silent for a while.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass

from dslocal.server.wire.errors import ApiError, fault_of
from dslocal.server.wire.responses import DONE, KEEP_ALIVE, Reply, encoded, sse

from .access import Receive, Scope, Send
from .queue import RequestRun

SILENCE_S = 5.0  # after which a comment says that the connection lives
JSON = [(b"content-type", b"application/json")]
EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass
class ResponseStream:
    """A response, for Starlette to call. ``usage`` asks for the chunk that has it."""

    run: RequestRun
    reply: Reply
    stream: bool
    usage: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task, over = asyncio.current_task(), False
        gone = asyncio.create_task(_gone(receive))

        def leave(left: asyncio.Task[None]) -> None:
            if task and not over and not left.cancelled():
                task.cancel()

        gone.add_done_callback(leave)
        try:
            await (self._stream(send) if self.stream else self._whole(send))
            over = True
        except asyncio.CancelledError:
            if not gone.done() or task is None:
                raise
            task.uncancel()
            raise ConnectionError from None
        finally:
            over = True
            gone.cancel()

    async def _whole(self, send: Send) -> None:
        async with aclosing(self.run.events()) as events:
            async for some in events:
                self.reply.collect(some)
        body = encoded(self.reply.whole())
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*JSON, (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Send) -> None:
        begun = False
        loop = asyncio.get_running_loop()
        last = loop.time()

        async def pass_on(data: bytes, *, more: bool = True) -> None:
            nonlocal begun, last
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
            last = loop.time()
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async def live() -> None:
            while True:
                await asyncio.sleep(max(0.01, last + SILENCE_S - loop.time()))
                if loop.time() - last >= SILENCE_S:
                    await pass_on(KEEP_ALIVE)

        living = asyncio.create_task(live())
        try:
            async with aclosing(self.run.events()) as events:
                async for some in events:
                    if data := b"".join(self.reply.chunks(some)):
                        await pass_on(data)
        except Exception as e:
            if not begun:
                raise
            living.cancel()
            fault = fault_of(e)
            await pass_on(sse(fault.body), more=False)
            raise Late(fault) from e
        finally:
            living.cancel()
            with suppress(asyncio.CancelledError):
                await living
        await pass_on((self.reply.last_chunk() if self.usage else b"") + DONE, more=False)


class Late(Exception):
    """A fault that was told in a stream that had begun with 200."""

    def __init__(self, fault: ApiError) -> None:
        super().__init__(fault.message)
        self.fault = fault


async def _gone(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
