"""The server's process: its socket, its signals and its shutdown.

The first SIGINT or SIGTERM ends it gracefully: no more requests are taken, streams and answers of
the chat page may finish within a time. Then streams are sent an error and cut, and the page's
answers are kept as far as they came. The second signal does that at once.
"""

from __future__ import annotations

import asyncio
import errno
import math
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
from .middleware import Log

HEAD_TIMEOUT_S = 5.0  # in which the head of a request must arrive
KEEP_ALIVE_S = 75  # that a connection is kept for its next request
LAST_WORDS_S = 2.0  # for sending the error to streams that are cut, and for writing to disk
START_POLL_S = 0.005
# After so long a computing thread lets another run. Python's 5 ms would delay every token, which
# passes through several threads.
SWITCH_INTERVAL_S = 0.0005
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SAY_AGAIN_S = 60.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to ``host`` and ``port`` and does not listen yet.

    Raises:
        DslocalError: The address is not to be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named: where it is 0, asyncio leaves Nagle's algorithm on, which delays
        # responses by 40 ms.
        listener = socket.socket(*found[:3])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
    except (OSError, UnicodeError, OverflowError) as e:
        raise DslocalError(
            f"{host}:{port}: {getattr(e, 'strerror', None) or e}",
            hint="use another --port or --host",
        ) from None
    return listener


class HeadTimeoutProtocol(H11Protocol):
    """uvicorn's protocol, which also closes a connection whose request head does not arrive.

    uvicorn (0.54) has no option for that: ``timeout_keep_alive`` runs only after a response. Nor
    does its public interface say whether a head is complete, so this class reads the attribute
    ``cycle``, the request being answered. It is not documented; tests/server/test_access.py notices
    if it changes (a head that does not end).
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_nothing()
        elif self._deadline is None:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None


class DescriptorWatch:
    """Says once a minute that no more connections can be accepted, where asyncio says it always.

    asyncio tries as often as the backlog is long, each time with a traceback, and again after a
    second. The connections that wait are accepted when others have ended.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._last_said = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in OUT_OF_RESOURCES:
            loop.default_exception_handler(context)
            return
        if loop.time() - self._last_said >= SAY_AGAIN_S:
            self._last_said = loop.time()
            self._log(
                f"connections wait: {error.strerror} (ulimit -n raises the number of files that a "
                "process may open)"
            )


class SignalFreeServer(uvicorn.Server):
    """uvicorn's server, which leaves signals to :func:`run_server`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle no signals."""
        yield


def run_server(
    server: Server, listener: socket.socket, *, grace_s: float, on_ready: Callable[[], None]
) -> None:
    """Answer requests until a signal ends it.

    Args:
        server: The application.
        listener: A socket of :func:`bind_socket`.
        grace_s: Seconds for answers to finish after the first signal.
        on_ready: Called when requests are taken.
    """
    config = uvicorn.Config(
        server.build_app(),
        http=HeadTimeoutProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(grace_s + LAST_WORDS_S) + 1,
        backlog=256,
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    http = SignalFreeServer(config)
    asyncio.run(_serve(http, server, listener, grace_s, on_ready))


async def _serve(
    http: uvicorn.Server,
    server: Server,
    listener: socket.socket,
    grace_s: float,
    on_ready: Callable[[], None],
) -> None:
    models, log = server.models, server.log
    stop_requested = asyncio.Event()

    def on_signal() -> None:
        if stop_requested.is_set():
            models.cancel_running()
        elif models.busy:
            answers = "answer" if models.busy == 1 else "answers"
            log(f"stopping: {models.busy} {answers} may finish within {grace_s:g} s")
        stop_requested.set()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(DescriptorWatch(log))
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    while not http.started and not serving.done():
        await asyncio.sleep(START_POLL_S)
    if not serving.done():
        on_ready()
    stopping = asyncio.create_task(stop_requested.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    models.stop()
    http.should_exit = True
    # The chat page's answers go on without a request.
    page_answers = asyncio.create_task(server.wait_for_page_answers())
    _, late = await asyncio.wait({serving, page_answers}, timeout=grace_s)
    if late:
        models.cancel_running()
    await serving
    await asyncio.wait({page_answers}, timeout=LAST_WORDS_S)
    stopping.cancel()
