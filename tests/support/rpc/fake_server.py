"""Servers on a socket that behave as llama.cpp's RPC server does, or as it should not."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from dslocal.rpc.card import DeviceCard, WorkerCard
from dslocal.rpc.endpoint import Endpoint
from dslocal.rpc.identity import PROTOCOL, Identity

GIB = 1 << 30
IDENTITY = Identity("0.3.36", "0.25.3", "0123456789abcdef")
CPU = DeviceCard("a CPU, 8 threads", "cpu", 64 * GIB, 48 * GIB, 20e9)
CARD = WorkerCard(IDENTITY, (CPU,))

Handler = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Script:
    """What a fake server says.

    Attributes:
        version: of the protocol.
        memory: free and total bytes of each device.
        hello: what is sent instead of a hello; None for a proper one.
        silent: whether it takes connections and says nothing.
        card: what it says of itself; None for llama.cpp's own server, which has no card.
    """

    version: tuple[int, int, int] = PROTOCOL
    memory: tuple[tuple[int, int], ...] = ((48 * GIB, 64 * GIB),)
    hello: bytes | None = None
    silent: bool = False
    card: WorkerCard | None = CARD


@dataclass
class FakeWorker:
    """A server and its card, at two ports that follow each other."""

    script: Script
    endpoint: Endpoint
    held: list[socket.socket] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        """Answer one client until it leaves."""
        if self.script.silent:
            self.held.append(connection)
            return
        with contextlib.suppress(OSError, struct.error), connection:
            while header := connection.recv(9, socket.MSG_WAITALL):
                command = header[0]
                payload = connection.recv(struct.unpack("<Q", header[1:])[0], socket.MSG_WAITALL)
                answer = self._answer(command, payload)
                if self.script.hello is not None:
                    connection.sendall(self.script.hello)
                    return
                connection.sendall(struct.pack("<Q", len(answer)) + answer)

    def tell(self, connection: socket.socket) -> None:
        """Send the card."""
        with contextlib.suppress(OSError), connection:
            if self.script.card is not None:
                connection.sendall(self.script.card.as_bytes())

    def _answer(self, command: int, payload: bytes) -> bytes:
        if command == 14:
            return bytes(self.script.version) + bytes(25)
        if command == 15:
            return struct.pack("<I", len(self.script.memory))
        return struct.pack("<QQ", *self.script.memory[struct.unpack("<I", payload)[0]])


@contextlib.contextmanager
def fake_worker(script: Script | None = None) -> Iterator[FakeWorker]:
    """Yield a server at two free ports; it is gone afterwards."""
    script = script or Script()
    with _two_ports() as (server, card):
        worker = FakeWorker(script, Endpoint("127.0.0.1", server.getsockname()[1]))
        for listener, handler in ((server, worker.serve), (card, worker.tell)):
            threading.Thread(target=_accept, args=(listener, handler), daemon=True).start()
        yield worker
        for connection in worker.held:
            connection.close()


def busy(script: Script, client: str) -> Script:
    """Return ``script`` of a worker that works for ``client``."""
    assert script.card is not None
    return replace(script, silent=True, card=replace(script.card, client=client))


@contextlib.contextmanager
def _two_ports() -> Iterator[tuple[socket.socket, socket.socket]]:
    for _ in range(50):
        server = socket.create_server(("127.0.0.1", 0))
        try:
            card = socket.create_server(("127.0.0.1", server.getsockname()[1] + 1))
        except OSError:
            server.close()
            continue
        with server, card:
            try:
                yield server, card
            finally:
                for listener in (server, card):
                    with contextlib.suppress(OSError):
                        listener.shutdown(socket.SHUT_RDWR)
        return
    raise AssertionError("no two free ports follow each other")


def _accept(listener: socket.socket, handler: Handler) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection = listener.accept()[0]
            threading.Thread(target=handler, args=(connection,), daemon=True).start()
