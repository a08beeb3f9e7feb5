"""The process's side of the server: its socket, its signals, its end.

The first SIGINT or SIGTERM ends it gracefully: nobody else is let in, streams may finish for a
while, then they are told and cut. The second cuts them at once.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dslocal.errors import DslocalError

from .app import Server

HEADER_S = 5.0  # in which the head of a request has to come
IDLE_S = 75  # that a connection is kept for its next request
LAST_S = 2.0  # that is left for telling those that were cut
SWITCH_S = 0.0005  # a thread that computes hands over after so long: tokens pass through several


def bound(host: str, port: int) -> socket.socket:
    """A socket at ``host`` and ``port``, which nobody can connect to yet. Raises DslocalError where
    that is not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(
            family, kind, protocol
        )  # named, or asyncio leaves Nagle's algorithm on: 40 ms a response
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError, OverflowError) as e:
        raise DslocalError(
            f"{host}:{port}: {getattr(e, 'strerror', None) or e}",
            hint="another --port, or another --host",
        ) from None
    return listener


class _Protocol(H11Protocol):
    """uvicorn's own, which also ends a connection whose request does not begin in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._relax()
        elif self._deadline is None:
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._relax()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(HEADER_S, self.transport.close)

    def _relax(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None


class _Uvicorn(uvicorn.Server):
    """uvicorn's own, which leaves signals to :func:`serve`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    server: Server, listener: socket.socket, *, grace_s: float, ready: Callable[[], None]
) -> None:
    """Answers requests until a signal ends it; ``ready`` is called when it does. Streams have
    ``grace_s`` seconds to finish then.
    """
    config = uvicorn.Config(
        server.app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(grace_s + LAST_S) + 1,
        backlog=256,
    )
    sys.setswitchinterval(SWITCH_S)
    asyncio.run(_serve(_Uvicorn(config), server, listener, grace_s, ready))


async def _serve(
    http: uvicorn.Server,
    server: Server,
    listener: socket.socket,
    grace_s: float,
    ready: Callable[[], None],
) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        if stopped.is_set():
            server.desk.cut()
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    while not http.started and not serving.done():
        await asyncio.sleep(0.005)
    if not serving.done():
        ready()
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.desk.stop()
    http.should_exit = True
    done, _ = await asyncio.wait({serving}, timeout=grace_s)
    if not done:
        server.desk.cut()
    await serving
    stopping.cancel()
