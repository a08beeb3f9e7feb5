"""TCP connections of this process that llama.cpp opened: found among its file descriptors.

llama.cpp sets no timeout on them, so it would wait for ever for a machine that lost its power. So
this module turns on the kernel's keepalive for them.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

# A peer that is silent is asked after 5 seconds, and given up 6 seconds later.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S = (5, 2)
KEEPALIVE_PROBES = 3
UNANSWERED_MS = 15_000  # that sent data may stay unacknowledged (Linux)
FOLDER = "/dev/fd"


class ConnectionKey(NamedTuple):
    """What tells a connection from others: a descriptor alone is soon another connection's."""

    descriptor: int
    address: str
    port: int


class TcpConnection(NamedTuple):
    """A connection of this process.

    Attributes:
        key: its file descriptor and this end's address.
        peer: the other end's address and port; None where the connection is lost.
        socket: a duplicate of it.
    """

    key: ConnectionKey
    peer: tuple[str, int] | None
    socket: socket.socket


@contextmanager
def tcp_connections() -> Iterator[list[TcpConnection]]:
    """Yield all connections of this process over IPv4; the duplicates are closed afterwards."""
    duplicates = [(fd, duplicate) for fd in _descriptors() if (duplicate := _connection(fd))]
    found = [
        TcpConnection(ConnectionKey(fd, *duplicate.getsockname()), _peer(duplicate), duplicate)
        for fd, duplicate in duplicates
    ]
    try:
        yield found
    finally:
        for connection in found:
            connection.socket.close()


def _descriptors() -> list[int]:
    """Return the file descriptors of this process; none where the system does not list them."""
    try:
        return [int(name) for name in os.listdir(FOLDER) if name.isdecimal()]  # noqa: PTH208
    except OSError:
        return []


def _connection(fd: int) -> socket.socket | None:
    """Return a duplicate of a descriptor that is a connection; None for all others."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        connection = socket.socket(fileno=os.dup(fd))
    except OSError:
        return None
    is_tcp = connection.family == socket.AF_INET and connection.type == socket.SOCK_STREAM
    if is_tcp and _has_peer(connection):
        return connection
    connection.close()
    return None


def _peer(connection: socket.socket) -> tuple[str, int] | None:
    """Return the address of the other end; None where the connection is lost."""
    try:
        address, port = connection.getpeername()
    except OSError:
        return None
    return str(address), int(port)


def _has_peer(connection: socket.socket) -> bool:
    """Return whether a socket is connected, or was until its peer was lost."""
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    return bool(connection.getsockname()[1])


def keep_alive(connection: socket.socket) -> None:
    """Have the kernel notice within seconds that the peer is gone."""
    options = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
        "TCP_KEEPALIVE": KEEPALIVE_IDLE_S,  # its name on a Mac
        "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": KEEPALIVE_PROBES,
        "TCP_USER_TIMEOUT": UNANSWERED_MS,
    }
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        number = getattr(socket, name, None)
        if number is not None:
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, number, value)


def is_lost(connection: socket.socket) -> bool:
    """Return whether the peer has closed a connection, or was lost."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
