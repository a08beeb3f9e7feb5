"""A worker: this machine's memory and processors, for a model that another machine runs.

llama.cpp's own server listens at one port, and works for one machine at a time. At the port after
it, this worker describes itself (:mod:`.card`). Neither port has encryption or a key: see
:func:`checked_address`.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from dslocal.errors import DslocalError, UsageError, WorkerError
from dslocal.files import binary_size
from dslocal.gguf import libraries
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Machine
from dslocal.plan.speed import Rates

from . import library
from .card import DeviceCard, WorkerCard
from .endpoint import Endpoint
from .identity import own_identity
from .inquiry import ask
from .sockets import keep_alive, tcp_connections

CPU_DEVICE = 0  # enum ggml_backend_dev_type
START_S = 20.0
LOOK_S = 1.0  # between two looks at who is connected
SEND_S = 2.0
STDOUT, STDERR = (1, 2)


def checked_address(host: str, *, public: bool) -> str:
    """Return the address to listen at.

    Args:
        host: the address, or a name of this machine.
        public: whether an address that strangers may reach is allowed.

    Raises:
        UsageError: it is no IPv4 address of this machine, or a public one that is not allowed.
    """
    try:
        address = ipaddress.IPv4Address(socket.gethostbyname(host))
    except (OSError, ValueError) as e:
        raise UsageError(f"--host: {host!r:.60} is not an IPv4 address", hint=_own_hint()) from e
    if (address.is_unspecified or address.is_global) and not public:
        where = "every network" if address.is_unspecified else "the internet"
        raise UsageError(
            f"--host {address}: {where} could connect. A worker has no encryption and no key: "
            "every machine that connects can use and crash it",
            hint=f"{_own_hint()}; or add --public if a firewall protects the port",
        )
    return str(address)


def private_addresses() -> list[str]:
    """Return this machine's own addresses in private networks."""
    import psutil

    found = []
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family == socket.AF_INET:
                address = ipaddress.IPv4Address(entry.address)
                if not (address.is_global or address.is_loopback or address.is_unspecified):
                    found.append(str(address))
    return found


def _own_hint() -> str:
    own = private_addresses()
    return "this machine's are " + ", ".join(own) if own else "this machine has no private address"


class RpcServer:
    """llama.cpp's RPC server in a thread of this process, and what is said of it."""

    def __init__(self, endpoint: Endpoint, machine: Machine, rates: Rates, threads: int) -> None:
        """Prepare a worker; :meth:`start` starts it.

        Args:
            endpoint: where it listens.
            machine: this machine.
            rates: what it reads a second.
            threads: CPU threads to compute with.
        """
        self.endpoint = endpoint
        self._machine = machine
        self._rates = rates
        self._threads = threads
        self._devices = _offered_devices()
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Listen at both ports. What llama.cpp prints meanwhile and later is dropped.

        Raises:
            DslocalError: a port is taken, or the address is not this machine's.
            UsageError: the library is not there.
        """
        library.open_library()
        _bind(self.endpoint.host, self.endpoint.port).close()
        self._listener = _bind(self.endpoint.host, self.endpoint.card_port)
        self._listener.listen(8)
        self._listener.settimeout(LOOK_S)
        _silence_stdout()
        threading.Thread(target=self._serve, name="rpc-server", daemon=True).start()
        _wait_until_it_answers(self.endpoint)

    def answer_until_stopped(self, say: Callable[[str], None]) -> None:
        """Tell whoever asks what this worker is, and say who comes and goes.

        Args:
            say: receives a line about each machine that connects or leaves.

        Raises:
            KeyboardInterrupt: somebody wants it to end.
        """
        listener = self._listener
        if listener is None:
            raise DslocalError("the worker has not been started")
        known = ""
        while True:
            with suppress(OSError):
                connection = listener.accept()[0]
                with connection:
                    connection.settimeout(SEND_S)
                    connection.sendall(self.card().as_bytes())
            client = self.client()
            if client != known:
                free = binary_size(sum(device.free for device in self.card().devices))
                say(f"working for {client}" if client else f"{known} has left; {free} free")
                known = client

    def card(self) -> WorkerCard:
        """Return what this worker is, with the memory that is free now."""
        return WorkerCard(own_identity(), tuple(self._device_cards()), self.client())

    def client(self) -> str:
        """Return the address of the machine that is connected; empty without one."""
        with tcp_connections() as connections:
            for connection in connections:
                with suppress(OSError):
                    if connection.socket.getsockname()[1] == self.endpoint.port:
                        keep_alive(connection.socket)
                        peer: str = connection.socket.getpeername()[0]
                        return peer
        return ""

    def _device_cards(self) -> list[DeviceCard]:
        machine = probe.probe_machine()
        if not machine.gpus:
            name = f"{machine.cpu}, {self._threads} threads"
            types = {entry.type.name: entry.rate for entry in self._rates.ram_types}
            ram = self._rates.ram
            return [DeviceCard(name, "cpu", machine.ram, machine.available, ram, types)]
        return [
            DeviceCard(
                gpu.name,
                gpu.kind,
                gpu.total,
                min(gpu.free, machine.available) if machine.unified else gpu.free,
                self._rates.gpu,
            )
            for gpu in machine.gpus
        ]

    def _serve(self) -> None:
        """Run llama.cpp's server, which returns only when it cannot listen."""
        size = ctypes.c_size_t
        start = library.function(
            "ggml_backend_rpc_start_server",
            None,
            ctypes.c_char_p,
            ctypes.c_char_p,
            size,
            size,
            ctypes.POINTER(ctypes.c_void_p),
        )
        handles = (ctypes.c_void_p * len(self._devices))(*self._devices)
        start(str(self.endpoint).encode(), None, self._threads, len(handles), handles)


def _offered_devices() -> Sequence[int]:
    """Return ggml's handles of the GPUs that llama.cpp would use, or of the CPU without any."""
    handle: Any = ctypes.c_void_p
    listed = libraries.devices()
    used = probe.used_devices(listed)[0]
    get = libraries.symbol("ggml_backend_dev_get", handle, ctypes.c_size_t)
    numbers = [number for number, device in enumerate(listed) if device in used]
    if numbers:
        return [get(number) for number in numbers]
    return [libraries.symbol("ggml_backend_dev_by_type", handle, ctypes.c_int)(CPU_DEVICE)]


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to a port. Raises DslocalError where that cannot be."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as e:
        listener.close()
        raise DslocalError(
            f"cannot listen at {host}:{port}: {e.strerror}",
            hint="a worker takes two ports, --port and the one after it",
        ) from e
    return listener


def _silence_stdout() -> None:
    """Send what C prints to nowhere: llama.cpp's server reports every connection on stdout."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def _wait_until_it_answers(endpoint: Endpoint) -> None:
    """Return when the server answers. Raises WorkerError if it does not."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            ask(endpoint)
        except WorkerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
