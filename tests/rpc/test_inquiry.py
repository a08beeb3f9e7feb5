"""Proves that every kind of server that is no worker is recognized within seconds."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from support.ports import closed_port
from support.rpc.fake_server import CARD, GIB, Script, busy, fake_worker

from dslocal.errors import UsageError, WorkerError
from dslocal.rpc import inquiry
from dslocal.rpc.card import MAX_BYTES, WorkerCard, parse_card
from dslocal.rpc.endpoint import Endpoint, parse_endpoints

OWN_SERVER = Script(card=None)
HELLO = struct.pack("<Q", 28)
FAULTS = [
    ("an older protocol", Script(version=(6, 0, 0)), "version 6.0.0"),
    ("another patch of it", Script(version=(7, 0, 1)), "version 7.0.1"),
    ("a web server", Script(hello=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not an RPC server"),
    ("another length", Script(hello=struct.pack("<Q", 1 << 62)), "not an RPC server"),
    ("cut in the answer", Script(hello=HELLO + b"\7\0"), "closed the connection"),
    ("nothing but an end", Script(hello=b""), "closed the connection"),
    ("no device", Script(memory=()), "0 devices"),
    ("far too much memory", Script(memory=((1 << 63, 1 << 63),)), "out of range"),
    ("silence", Script(silent=True), "does not answer"),
    ("work for another", busy(Script(), "10.0.0.9"), "works for 10.0.0.9"),
]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "ANSWER_S", 1.0)
    monkeypatch.setattr(inquiry, "CARD_S", 1.0)


@pytest.mark.parametrize(
    ("script", "said"), [row[1:] for row in FAULTS], ids=[r[0] for r in FAULTS]
)
def test_each_fault_is_named_with_the_machine(script: Script, said: str) -> None:
    with fake_worker(script) as worker, pytest.raises(WorkerError) as raised:
        inquiry.ask(worker.endpoint)
    assert said in str(raised.value)
    assert str(worker.endpoint) in str(raised.value)
    assert raised.value.exit_code == 1
    assert raised.value.hint or "version" not in said


def test_a_worker_says_its_devices_and_its_llama_cpp() -> None:
    with fake_worker(Script(memory=((1 * GIB, 2 * GIB), (3 * GIB, 4 * GIB)))) as worker:
        answer = inquiry.ask(worker.endpoint)
    assert [(device.free, device.total) for device in answer.devices] == [
        (1 * GIB, 2 * GIB),
        (3 * GIB, 4 * GIB),
    ]
    assert answer.card == CARD
    assert 0 < answer.round_trip < 1


def test_llama_cpps_own_server_has_no_card() -> None:
    with fake_worker(OWN_SERVER) as worker:
        assert inquiry.ask(worker.endpoint).card is None


def test_a_port_without_a_listener_is_named() -> None:
    with closed_port() as port, pytest.raises(WorkerError, match="refuses") as raised:
        inquiry.ask(Endpoint("127.0.0.1", port))
    assert f"--port {port}" in raised.value.hint


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(WorkerError, match="no such host"):
        inquiry.ask(Endpoint("no-such-host.invalid", 50052))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.2:50052", [("10.0.0.2", 50052)]),
        ("box", [("box", 50052)]),
        (" a:1 , b:2,", [("a", 1), ("b", 2)]),
    ],
)
def test_endpoints_as_people_write_them(text: str, found: list[tuple[str, int]]) -> None:
    assert parse_endpoints(text) == tuple(Endpoint(*one) for one in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no machine"),
        (",", "no machine"),
        ("a,a:50052", "twice"),
        ("a:0", "not a port"),
        ("a:65535", "not a port"),
        ("a:port", "not a port"),
        ("a:٣", "not a port"),
        ("a:00008099999", "not a port"),
        ("[::1]:50052", "IPv6"),
        ("fe80::1", "IPv6"),
        ("a b:1", "not HOST:PORT"),
        ("-x:1", "not HOST:PORT"),
        (",".join(f"h{n}" for n in range(17)), "17 machines"),
    ],
)
def test_what_is_no_endpoint_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        parse_endpoints(text, "DSLOCAL_RPC")
    assert str(raised.value).startswith("DSLOCAL_RPC: ")


def test_a_card_comes_back_as_it_was_sent() -> None:
    assert parse_card(CARD.as_bytes()) == CARD


HOSTILE_CARDS = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b"[" * 100_000,
    CARD.as_bytes().replace(b"dslocal-worker-1", b"another"),
    CARD.as_bytes().replace(b'"total": 68719476736', b'"total": -1'),
    CARD.as_bytes().replace(b'"total": 68719476736', b'"total": 1e400'),
    CARD.as_bytes().replace(b'"total": 68719476736', b'"total": NaN'),
    CARD.as_bytes().replace(b'"total": 68719476736', b'"total": true'),
    CARD.as_bytes().replace(b'"devices": [', b'"devices": [1, '),
    CARD.as_bytes().replace(b'"package"', b'"other"'),
]


@pytest.mark.parametrize("data", HOSTILE_CARDS, ids=range(len(HOSTILE_CARDS)))
def test_what_is_no_card_is_none(data: bytes) -> None:
    assert parse_card(data) is None


def test_a_card_brings_no_escapes_to_the_terminal() -> None:
    data = CARD.as_bytes().replace(b"a CPU", b"a \\u001b[31mCPU\\n")
    card = parse_card(data)
    assert card is not None
    assert card.devices[0].name == "a [31mCPU , 8 threads"


def test_a_card_without_end_is_not_waited_for(tmp_path: Path) -> None:
    class Endless(WorkerCard):
        def as_bytes(self) -> bytes:
            return b" " * (4 * MAX_BYTES)

    script = Script(card=Endless(CARD.identity, CARD.devices))
    with fake_worker(script) as worker:
        assert inquiry.read_card(worker.endpoint) is None
