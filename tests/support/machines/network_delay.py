"""Delay what goes between namespaces: by ``tc netem``, or by a relay where the kernel has none.

As a program it is the relay: ``python network_delay.py LISTEN ADDRESS PORT SECONDS``.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

RELAY_PORT = 51000  # of the first worker; others follow in steps of 10
RELAY_START_S = 1.5
Address = tuple[str, int]


def netem(names: list[str], milliseconds: float) -> bool:
    """Delay each direction by half of a round trip; False where the kernel has no netem."""
    for number, name in enumerate(names[1:], 1):
        for namespace, link in ((names[0], f"c{number}"), (name, f"w{number}")):
            command = ["ip", "netns", "exec", namespace, "tc", "qdisc", "replace", "dev", link]
            command += ["root", "netem", "delay", f"{milliseconds / 2}ms"]
            if subprocess.run(command, check=False, capture_output=True).returncode:
                return False
    return True


def relay_connection(ours: socket.socket, theirs: socket.socket, delay: float) -> None:
    """Pass bytes on, in order, each piece ``delay`` seconds after it came."""
    pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = pieces.get()
                left = due - time.monotonic()
                if left > 0:
                    time.sleep(left)
                if not data:
                    theirs.shutdown(socket.SHUT_WR)
                    return
                theirs.sendall(data)

    threading.Thread(target=send, daemon=True).start()
    with contextlib.suppress(OSError):
        while data := ours.recv(1 << 20):
            pieces.put((time.monotonic() + delay, data))
    pieces.put((time.monotonic() + delay, b""))


def run_relay(listen: int, address: str, port: int, delay: float) -> None:
    """Relay a port of 127.0.0.1 until killed."""
    with socket.create_server(("127.0.0.1", listen)) as server:
        while True:
            client = server.accept()[0]
            try:
                worker = socket.create_connection((address, port))
            except OSError:
                client.close()
                continue
            for one in (client, worker):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((client, worker), (worker, client)):
                threading.Thread(target=relay_connection, args=(*pair, delay), daemon=True).start()


@contextlib.contextmanager
def delayed(
    names: list[str], direct: list[Address], milliseconds: float
) -> Iterator[tuple[list[Address], str]]:
    """Yield the addresses to use for workers, and how they are delayed.

    Args:
        names: The namespaces, the client's first.
        direct: The workers' own addresses; at the next port is the card, which is relayed too.
        milliseconds: A round trip takes so much longer.
    """
    if not milliseconds:
        yield direct, "none"
        return
    if netem(names, milliseconds):
        yield direct, "netem"
        return
    relays = []
    for number, (host, port) in enumerate(direct):
        for more in (0, 1):
            command = ["ip", "netns", "exec", names[0], sys.executable, __file__]
            command += [f"{RELAY_PORT + 10 * number + more}", host, f"{port + more}"]
            relays.append(subprocess.Popen([*command, f"{milliseconds / 2000}"]))
    time.sleep(RELAY_START_S)
    try:
        yield [("127.0.0.1", RELAY_PORT + 10 * n) for n in range(len(direct))], "relay"
    finally:
        for relay in relays:
            relay.kill()
            relay.wait()


if __name__ == "__main__":
    run_relay(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
