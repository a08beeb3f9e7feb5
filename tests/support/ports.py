"""Ports of 127.0.0.1 that no other process is given meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "127.0.0.1"
TRIES = 50


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port at which nothing listens. It is bound, so that nothing will."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]


def free_ports(count: int) -> int:
    """Return the first of ``count`` ports in a row, for a program that is started next.

    A connection to each of them has just ended. For a minute the kernel gives such a port to a
    program that names it and sets SO_REUSEADDR, and to nobody who takes any port.

    Raises:
        AssertionError: No such ports were found.
    """
    for _ in range(TRIES):
        with closed_port() as first:
            pass
        try:
            for port in range(first, first + count):
                _use(port)
        except (OSError, OverflowError):
            continue
        return first
    raise AssertionError(f"no {count} free ports follow each other")


def _use(port: int) -> None:
    """Listen at a port, and end a connection to it from this side."""
    with (
        socket.create_server((HOST, port)) as listener,
        socket.create_connection((HOST, port)) as client,
    ):
        listener.accept()[0].close()
        client.recv(1)
