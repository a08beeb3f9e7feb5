"""Ask a server what it is, with a handshake of our own and limited waits.

llama.cpp itself waits for ever on a server that is silent, and ends its process over one that
answers wrongly. Source: llama.cpp, ggml/src/ggml-rpc/ggml-rpc.cpp: a request is a byte for the
command, eight bytes for a length, and that many bytes; a response is a length and so many bytes.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass

from dslocal.errors import WorkerError

from .card import MAX_BYTES, MAX_DEVICES, MAX_MEMORY, WorkerCard, parse_card
from .endpoint import Endpoint
from .identity import PROTOCOL

CONNECT_S = 3.0
ANSWER_S = 5.0  # for everything that a server is asked
CARD_S = 2.0
# enum rpc_cmd
HELLO = 14
DEVICE_COUNT = 15
DEVICE_MEMORY = 11
HELLO_BYTES = 24  # of the request: what transports the client has besides TCP, none
HELLO_ANSWER_BYTES = 28
ROUND_TRIPS = 5  # the shortest counts
NOT_A_WORKER = "use the port that dslocal worker prints"


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What a server says of one device, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a server answered.

    Attributes:
        devices: its devices.
        round_trip: seconds from a small request to its response.
        card: what a worker says of itself; None for llama.cpp's own rpc-server.
    """

    devices: tuple[DeviceMemory, ...]
    round_trip: float
    card: WorkerCard | None


def ask(endpoint: Endpoint) -> ServerAnswer:
    """Return what the server at ``endpoint`` is, within seconds.

    Raises:
        WorkerError: it cannot be reached, is silent, busy, of another version, or no such server.
    """
    card = read_card(endpoint)
    with _connect(endpoint) as connection:
        server = _Conversation(connection, endpoint, card)
        server.hello()
        round_trip = min(server.timed_count()[1] for _ in range(ROUND_TRIPS))
        count = server.timed_count()[0]
        devices = tuple(server.memory(number) for number in range(count))
    return ServerAnswer(devices, round_trip, card)


def read_card(endpoint: Endpoint) -> WorkerCard | None:
    """Return a worker's description of itself; None for a server without one, such as llama.cpp's
    own."""
    deadline = time.monotonic() + CARD_S
    data = b""
    try:
        address = (endpoint.address(), endpoint.card_port)
        with socket.create_connection(address, timeout=CARD_S) as connection:
            while len(data) <= MAX_BYTES and (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                piece = connection.recv(1 << 16)
                if not piece:
                    return parse_card(data)
                data += piece
    except OSError:
        return None
    return None


def _connect(endpoint: Endpoint) -> socket.socket:
    """Return a connection. Raises WorkerError."""
    address = (endpoint.address(), endpoint.port)
    try:
        connection = socket.create_connection(address, timeout=CONNECT_S)
    except TimeoutError as e:
        raise WorkerError(
            f"does not answer within {CONNECT_S:.0f} seconds",
            endpoint=str(endpoint),
            hint="is the machine on, and does no firewall block the port?",
        ) from e
    except ConnectionRefusedError as e:
        raise WorkerError(
            "refuses the connection: nothing listens at that port",
            endpoint=str(endpoint),
            hint=f"start dslocal worker --host {endpoint.host} --port {endpoint.port} on that "
            "machine",
        ) from e
    except OSError as e:
        raise WorkerError(f"cannot be reached: {e.strerror or e}", endpoint=str(endpoint)) from e
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class _Conversation:
    """Requests and responses on one connection, all within ``ANSWER_S``."""

    def __init__(
        self, connection: socket.socket, endpoint: Endpoint, card: WorkerCard | None
    ) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._card = card
        self._deadline = time.monotonic() + ANSWER_S

    def hello(self) -> None:
        """Compare the versions of the protocol. Raises WorkerError."""
        answer = self._request(HELLO, bytes(HELLO_BYTES), HELLO_ANSWER_BYTES)
        version = tuple(answer[:3])
        if version != PROTOCOL:
            raise WorkerError(
                f"speaks version {_dotted(version)} of llama.cpp's RPC protocol, and this machine "
                f"speaks {_dotted(PROTOCOL)}",
                endpoint=str(self._endpoint),
                hint="install the same version of llama-cpp-python on both",
            )

    def timed_count(self) -> tuple[int, float]:
        """Return the number of devices, and the seconds of the round trip."""
        began = time.perf_counter()
        answer = self._request(DEVICE_COUNT, b"", 4)
        seconds = time.perf_counter() - began
        count: int = struct.unpack("<I", answer)[0]
        if not 0 < count <= MAX_DEVICES:
            raise self._wrong(f"it has {count:,} devices")
        return count, seconds

    def memory(self, number: int) -> DeviceMemory:
        """Return the memory of a device."""
        answer = self._request(DEVICE_MEMORY, struct.pack("<I", number), 16)
        free: int = struct.unpack_from("<Q", answer)[0]
        total: int = struct.unpack_from("<Q", answer, 8)[0]
        if max(free, total) > MAX_MEMORY:
            raise self._wrong("its memory is out of range")
        return DeviceMemory(min(free, total), total)

    def _request(self, command: int, payload: bytes, answer_bytes: int) -> bytes:
        """Return the response to a command. Raises WorkerError."""
        try:
            self._connection.settimeout(self._left())
            self._connection.sendall(struct.pack("<BQ", command, len(payload)) + payload)
            nbytes: int = struct.unpack("<Q", self._receive(8))[0]
            if nbytes != answer_bytes:
                raise self._wrong("its answer is not one of that protocol")
            return self._receive(answer_bytes)
        except TimeoutError as e:
            raise self._silent() from e
        except OSError as e:
            raise self._wrong(f"it closed the connection ({e.strerror or e})") from e

    def _receive(self, nbytes: int) -> bytes:
        data = b""
        while len(data) < nbytes:
            self._connection.settimeout(self._left())
            piece = self._connection.recv(nbytes - len(data))
            if not piece:
                raise self._wrong("it closed the connection")
            data += piece
        return data

    def _left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when none are."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _silent(self) -> WorkerError:
        """Return what to say of a server that took the connection and says nothing."""
        endpoint = str(self._endpoint)
        if self._card and self._card.client:
            return WorkerError(
                f"works for {self._card.client}, and a worker serves one machine at a time",
                endpoint=endpoint,
                hint="wait until it is free, or start a second worker at another port",
            )
        return WorkerError(
            f"accepts the connection but does not answer within {ANSWER_S:.0f} seconds: it works "
            "for another machine, or is not an RPC server of llama.cpp",
            endpoint=endpoint,
            hint=NOT_A_WORKER,
        )

    def _wrong(self, what: str) -> WorkerError:
        return WorkerError(
            f"is not an RPC server of llama.cpp: {what}",
            endpoint=str(self._endpoint),
            hint=NOT_A_WORKER,
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
