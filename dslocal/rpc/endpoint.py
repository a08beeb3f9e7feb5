"""Parse addresses of workers: ``HOST:PORT``, several separated by commas."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from dslocal.errors import UsageError, WorkerError
from dslocal.files import whole_number

DEFAULT_PORT = 50052
MAX_PORT = 65534  # the port after it says what a worker is
MAX_WORKERS = 16  # GGML_RPC_MAX_SERVERS of ggml-rpc.h
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class Endpoint(NamedTuple):
    """Where a worker listens: a name or an IPv4 address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as llama.cpp takes it."""
        return f"{self.host}:{self.port}"

    @property
    def card_port(self) -> int:
        """Return the port at which a worker says what it is."""
        return self.port + 1

    def address(self) -> str:
        """Return the IPv4 address of the host.

        Raises:
            WorkerError: nobody knows the name.
        """
        try:
            return socket.gethostbyname(self.host)
        except (OSError, UnicodeError) as e:
            raise WorkerError(
                "no such host", endpoint=str(self), hint="its IPv4 address works, too"
            ) from e


def parse_endpoints(text: str, source: str = "--rpc") -> tuple[Endpoint, ...]:
    """Return the endpoints of a text such as ``10.0.0.2:50052,10.0.0.3``.

    Args:
        text: the endpoints; without a port, ``DEFAULT_PORT`` is meant.
        source: what errors call the setting.

    Raises:
        UsageError: one of them is no endpoint, is there twice, or there are too many.
    """
    endpoints = tuple(_parse(part.strip(), source) for part in text.split(",") if part.strip())
    if not endpoints:
        raise UsageError(f"{source}: no machine is named", hint="HOST:PORT,HOST:PORT")
    if len(endpoints) > MAX_WORKERS:
        raise UsageError(
            f"{source}: {len(endpoints)} machines are too many; {MAX_WORKERS} is the most"
        )
    if len(set(endpoints)) != len(endpoints):
        raise UsageError(f"{source}: a machine is named twice")
    return endpoints


def _parse(text: str, source: str) -> Endpoint:
    host, *rest = text.split(":", 1)
    port = rest[0] if rest else str(DEFAULT_PORT)
    if ":" in port or text.startswith("["):
        raise UsageError(
            f"{source}: {text!r:.60} is an IPv6 address, which llama.cpp's RPC does not support",
            hint="use an IPv4 address or a host name",
        )
    if not _HOST.fullmatch(host):
        raise UsageError(f"{source}: {text!r:.60} is not HOST:PORT", hint="such as 10.0.0.2:50052")
    number = whole_number(port)
    if number is None or not 0 < number <= MAX_PORT:
        raise UsageError(
            f"{source}: {port!r:.20} is not a port", hint=f"1 to {MAX_PORT}, such as {DEFAULT_PORT}"
        )
    return Endpoint(host, number)
