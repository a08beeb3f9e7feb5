"""Query the workers of a model, compare them with this machine, connect and watch them.

llama.cpp ends its process when a connection breaks. The sockets tell which machine it was.
"""

from __future__ import annotations

import ctypes
import functools
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from dslocal.errors import WorkerError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.remote import RemoteDevice, RemoteKind

from . import library
from .card import WorkerCard
from .endpoint import Endpoint
from .identity import own_identity
from .inquiry import ServerAnswer, ask, read_card
from .sockets import ConnectionKey, is_lost, keep_alive, tcp_connections

REACH_S = 1.0  # within which a machine that is there takes a connection
LOST_HINT = "a chat is kept with this part of the answer; repeat the command to see what fits now"


@dataclass
class _Known:
    """What this process knows of workers.

    Attributes:
        answers: what each said when it was first asked; later ones are for llama.cpp alone.
        connections: llama.cpp's, by what tells a connection from others of this process.
        lock: is held while one of these is changed or read; never while a worker is waited for.
    """

    answers: dict[Endpoint, ServerAnswer] = field(default_factory=dict)
    connections: dict[ConnectionKey, Endpoint] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def all_answers(self) -> dict[Endpoint, ServerAnswer]:
        """Return a copy of the answers."""
        with self.lock:
            return dict(self.answers)


_known = _Known()


def ask_workers(endpoints: Sequence[Endpoint]) -> tuple[RemoteDevice, ...]:
    """Return the devices of all workers, with the memory that is free there now.

    All are asked at once, so that several that are silent take no longer than one.

    Raises:
        UsageError: the RPC library is not there.
        WorkerError: a worker cannot be reached, or runs another llama.cpp; it names all such.
    """
    library.require_library()
    own_identity()  # loads llama_cpp, in this thread
    with ThreadPoolExecutor(max(1, len(endpoints))) as pool:
        asked = [pool.submit(_devices_of, endpoint) for endpoint in endpoints]
    errors = [error for one in asked if (error := one.exception()) is not None]
    if errors:
        raise _joined(errors)
    return tuple(device for one in asked for device in one.result())


def _joined(errors: Sequence[BaseException]) -> BaseException:
    """Return the error that says of all workers what is wrong; the first one's reason is given."""
    first = next((error for error in errors if not isinstance(error, WorkerError)), errors[0])
    others = tuple(
        error.endpoint for error in errors if isinstance(error, WorkerError) and error is not first
    )
    if not others or not isinstance(first, WorkerError):
        return first
    return WorkerError(first.reason, endpoint=first.endpoint, hint=first.hint, others=others)


def unchecked(endpoints: Sequence[str]) -> list[str]:
    """Return a line for each server that does not say which llama.cpp it is."""
    silent = {
        str(endpoint)
        for endpoint, answer in _known.all_answers().items()
        if answer.card is None and str(endpoint) in endpoints
    }
    return [
        f"{endpoint} does not report its version of llama.cpp, so only the version of the protocol "
        "was compared (dslocal worker reports it)"
        for endpoint in sorted(silent)
    ]


def device_handle(endpoint: str, number: int) -> int:
    """Return ggml's handle of a device of a worker that has been asked; llama.cpp connects.

    Raises:
        WorkerError: the worker does not offer it any more.
    """
    _watch_aborts()
    registry = _registry(endpoint)
    get: Any = libraries.symbol(
        "ggml_backend_reg_dev_get", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
    )
    handle: int | None = get(registry, number) if registry else None
    if not handle:
        raise WorkerError("no longer offers a device", endpoint=endpoint)
    return handle


_registries: dict[str, int] = {}  # of workers that have answered, by endpoint


def _registry(endpoint: str) -> int | None:
    """Return llama.cpp's handle of a worker; None while it is away, which is asked again."""
    if endpoint not in _registries:
        add = library.function("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
        if (registry := add(endpoint.encode())) is None:
            return None
        _registries[endpoint] = registry
    return _registries[endpoint]


def guard_connections() -> None:
    """Have the kernel notice lost machines within seconds, on all connections that llama.cpp has
    now."""
    known = _known.all_answers()
    if not known:
        return
    by_address = {(endpoint.address(), endpoint.port): endpoint for endpoint in known}
    found: dict[ConnectionKey, Endpoint] = {}
    with tcp_connections() as connections, _known.lock:
        for connection in connections:
            endpoint = by_address.get(connection.peer) if connection.peer else None
            if endpoint is not None:
                keep_alive(connection.socket)
            elif connection.peer is None:  # it has none any more
                endpoint = _known.connections.get(connection.key)
            if endpoint is not None:
                found[connection.key] = endpoint
        _known.connections = found


def lost_worker() -> Endpoint | None:
    """Return the worker whose connection broke; None where all are there."""
    with _known.lock:
        guarded = dict(_known.connections)
    with tcp_connections() as connections:
        for connection in connections:
            endpoint = guarded.get(connection.key)
            if endpoint is not None and is_lost(connection.socket):
                return endpoint
    known = _known.all_answers()
    return next((endpoint for endpoint in known if not _is_reachable(endpoint)), None)


def _is_reachable(endpoint: Endpoint) -> bool:
    try:
        address = (endpoint.address(), endpoint.port)
        with socket.create_connection(address, timeout=REACH_S):
            return True
    except (OSError, WorkerError):
        return False


def _devices_of(endpoint: Endpoint) -> list[RemoteDevice]:
    """Return the devices of one worker. Raises WorkerError."""
    known = _known.all_answers().get(endpoint)
    if known is None:
        known = ask(endpoint)
        _compare(endpoint, known.card)
        with _known.lock:
            _known.answers[endpoint] = known
        card = known.card
    else:
        # llama.cpp may be connected by now, and a server answers one connection at a time
        card = read_card(endpoint) or known.card
    return [_device(endpoint, number, known, card) for number in range(len(known.devices))]


def _device(
    endpoint: Endpoint, number: int, answer: ServerAnswer, card: WorkerCard | None
) -> RemoteDevice:
    said = answer.devices[number]
    if card is None or len(card.devices) != len(answer.devices):
        return RemoteDevice(
            str(endpoint),
            number,
            f"device {number}",
            "other",
            said.total,
            said.free,
            round_trip=answer.round_trip,
        )
    more = card.devices[number]
    return RemoteDevice(
        str(endpoint),
        number,
        more.name,
        cast(RemoteKind, more.kind),
        more.total,
        more.free,
        more.rate,
        answer.round_trip,
        type_rates=tuple((GgmlType[name], rate) for name, rate in more.types.items() if rate),
    )


def _compare(endpoint: Endpoint, card: WorkerCard | None) -> None:
    """Refuse a worker of another llama.cpp. Raises WorkerError."""
    own = own_identity()
    if card is not None and card.identity != own:
        raise WorkerError(
            f"runs another llama.cpp: {card.identity}, and this machine runs {own}",
            endpoint=str(endpoint),
            hint=f"pip install llama-cpp-python=={own.package} there, then dslocal build-rpc",
        )


@functools.cache
def _watch_aborts() -> None:
    """Have llama.cpp's end explained, where it is about a worker."""
    libraries.explain_aborts(_explain)


def _explain(text: str) -> libraries.AbortReason | None:
    if "ggml-rpc" not in text:
        return None
    lost = lost_worker()
    who = str(lost) if lost else "a worker"
    return libraries.AbortReason(
        f"the connection to {who} broke: that machine or its worker has stopped",
        is_out_of_memory=False,
        hint=LOST_HINT,
    )
