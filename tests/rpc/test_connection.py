"""Proves what is asked of workers before llama.cpp connects, and which one is named when lost."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.rpc.fake_server import CARD, GIB, FakeWorker, Script, fake_worker
from support.waiting import wait_until

from dslocal.errors import UsageError, WorkerError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType
from dslocal.rpc import connection, identity, library, sockets
from dslocal.rpc.card import DeviceCard, parse_card
from dslocal.rpc.endpoint import Endpoint
from dslocal.rpc.inquiry import DeviceMemory, ServerAnswer


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with a library, of which nothing is opened here, and no worker known."""
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    monkeypatch.setattr(connection, "_known", connection._Known())
    file = library.cached_library()
    file.parent.mkdir(parents=True)
    file.touch()


@contextlib.contextmanager
def alike(**changes: object) -> Iterator[FakeWorker]:
    """A worker with this machine's llama.cpp."""
    card = replace(CARD, identity=identity.own_identity())
    script = replace(Script(card=card), **changes)  # type: ignore[arg-type]
    with fake_worker(script) as worker:
        yield worker


def test_a_worker_is_asked_once_and_its_memory_again() -> None:
    with alike() as worker:
        (first,) = connection.ask_workers([worker.endpoint])
        card = replace(CARD, identity=identity.own_identity())
        less = replace(card.devices[0], free=1 * GIB)
        worker.script = Script(silent=True, card=replace(card, devices=(less,)))
        (second,) = connection.ask_workers([worker.endpoint])
    assert (first.free, first.kind, first.rate) == (48 * GIB, "cpu", 20e9)
    assert second.free == 1 * GIB
    assert second.round_trip == first.round_trip > 0


def test_a_worker_of_another_llama_cpp_is_refused_by_name() -> None:
    with fake_worker() as worker, pytest.raises(WorkerError) as raised:
        connection.ask_workers([worker.endpoint])
    assert str(raised.value).startswith(f"{worker.endpoint}: runs another llama.cpp")
    assert "llama-cpp-python 0.3.36 (ggml 0.25.3, tables 01234567)" in str(raised.value)
    assert "dslocal build-rpc" in raised.value.hint


def test_llama_cpps_own_server_is_used_and_named() -> None:
    with alike(card=None) as worker:
        (device,) = connection.ask_workers([worker.endpoint])
        assert (device.free, device.kind) == (48 * GIB, "other")
        assert str(worker.endpoint) in connection.unchecked([device.endpoint])[0]
        assert connection.unchecked(["another:1"]) == []


def test_without_the_library_nobody_is_asked() -> None:
    library.cached_library().unlink()
    with pytest.raises(UsageError, match="lacks the RPC backend") as raised:
        connection.ask_workers([Endpoint("no-such-host.invalid", 1)])
    assert raised.value.exit_code == 2


def test_all_workers_that_are_missing_are_named_at_once() -> None:
    with alike() as there, alike(silent=True) as silent:
        gone = Endpoint("127.0.0.1", 1)
        with pytest.raises(WorkerError, match="refuses the connection") as raised:
            connection.ask_workers([there.endpoint, gone, silent.endpoint])
    assert str(raised.value).startswith(str(gone))
    assert f"{silent.endpoint} cannot be used either" in str(raised.value)
    assert raised.value.missing == (str(gone), str(silent.endpoint))


def test_every_device_of_a_worker_is_one() -> None:
    cards = (DeviceCard("GPU A", "cuda", 24 * GIB, 20 * GIB), DeviceCard("GPU B", "cuda", 1, 1))
    card = replace(CARD, identity=identity.own_identity(), devices=cards)
    with alike(memory=((1, 2), (1, 2)), card=card) as worker:
        found = connection.ask_workers([worker.endpoint])
    assert [(device.number, device.name) for device in found] == [(0, "GPU A"), (1, "GPU B")]


def test_a_worker_says_how_fast_it_reads_each_type() -> None:
    cpu = DeviceCard("a CPU", "cpu", 64 * GIB, 48 * GIB, 20e9, {"Q4_K": 12e9, "Q9_X": 1e9})
    card = replace(CARD, identity=identity.own_identity(), devices=(cpu,))
    with alike(card=card) as worker:
        (device,) = connection.ask_workers([worker.endpoint])
    assert (device.rate, device.type_rates) == (20e9, ((GgmlType.Q4_K, 12e9),))


@pytest.mark.parametrize("types", [[], "Q4_K", {"Q4_K": "fast"}, {"Q4_K": -1.0}, {"Q4_K": None}])
def test_rates_that_are_none_make_no_card(types: object) -> None:
    fields = json.loads(CARD.as_bytes())
    fields["devices"][0]["types"] = types
    assert parse_card(json.dumps(fields).encode()) is None


def test_a_rate_that_nothing_has_is_not_known() -> None:
    fields = json.loads(CARD.as_bytes())
    fields["devices"][0] |= {"rate": 1e-300, "types": {"Q4_K": 1e-300}}
    card = parse_card(json.dumps(fields).encode())
    assert card is not None
    assert (card.devices[0].rate, card.devices[0].types) == (0.0, {"Q4_K": 0.0})


def test_the_machine_whose_connection_broke_is_named() -> None:
    with alike() as one, alike() as other:
        connection.ask_workers([one.endpoint, other.endpoint])
        connections = [socket.create_connection(each.endpoint) for each in (one, other)]
        with connections[0], connections[1] as b:
            connection.guard_connections()
            assert connection.lost_worker() is None
            assert b.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            b.shutdown(socket.SHUT_RDWR)
            assert connection.lost_worker() == other.endpoint
            reason = connection._explain("ggml-rpc.cpp:460: Remote RPC server crashed")
    assert reason is not None
    assert str(other.endpoint) in reason.text
    assert not reason.is_out_of_memory
    assert reason.hint


def test_another_connection_of_a_closed_ones_descriptor_is_no_workers() -> None:
    """Proves it for one that is lost itself: no worker is blamed for it."""
    with alike() as worker, socket.create_server(("127.0.0.1", 0)) as elsewhere:
        connection.ask_workers([worker.endpoint])
        with socket.create_connection(worker.endpoint) as guarded:
            connection.guard_connections()
            descriptor = guarded.fileno()
            with socket.create_connection(elsewhere.getsockname()) as other:
                os.dup2(other.fileno(), descriptor)
            elsewhere.accept()[0].close()
            wait_until(lambda: sockets.is_lost(guarded))
            assert connection.lost_worker() is None


def test_workers_are_looked_through_while_others_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proves it for two models that are loaded at once."""
    card = replace(CARD, identity=identity.own_identity())
    monkeypatch.setattr(connection, "ask", lambda _: ServerAnswer((DeviceMemory(1, 2),), 0, card))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            all_asked = pool.submit(
                connection.ask_workers, [Endpoint("10.0.0.1", port) for port in range(1, 2000)]
            )
            while not all_asked.done():
                assert connection.unchecked(["10.0.0.1:1"]) == []
            assert len(all_asked.result()) == 1999
    finally:
        sys.setswitchinterval(before)


def test_another_end_of_llama_cpp_is_not_about_a_worker() -> None:
    assert connection._explain("ggml.c:12: GGML_ASSERT(n > 0) failed") is None


def test_a_lost_connection_is_distinguished_from_one_that_waits() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not sockets.is_lost(ours)
        theirs.send(b"x")
        assert not sockets.is_lost(ours)
        assert ours.recv(1) == b"x"
        theirs.close()
        assert sockets.is_lost(ours)


def test_the_identity_is_that_of_the_installed_package() -> None:
    own = identity.own_identity()
    assert own.package == libraries.version()
    assert own.ggml
    assert own.tables == "" or len(own.tables) == 16
    assert os.fspath(library.cached_library()).find(own.package) > 0


def test_a_worker_that_was_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, 7])
    monkeypatch.setattr(library, "function", lambda *_: lambda _: next(answers))
    monkeypatch.setattr(connection, "_registries", {})
    assert [connection._registry("10.0.0.9:50052") for _ in range(3)] == [None, 7, 7]
