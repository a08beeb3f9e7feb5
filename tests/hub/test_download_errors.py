"""End every failure of a hub in one line that says what happened and what would help."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.hub.hub_runs import LIMIT_S, REPO, Rig
from support.hub.local_hub import MEMBER, STRANGER
from support.ports import closed_port

LONG_ENOUGH_S = 50  # of waiting between tries, all together
AT_A_TIME = 8  # requests, each with patience of its own


class Failure(NamedTuple):
    """What is done to the hub, who asks, and what comes of it.

    ``waits`` is how often it is tried again.
    """

    code: int
    words: tuple[str, ...]
    waits: int = 0
    fault: Mapping[str, Any] | None = None
    token: str = ""
    kept: str = ""  # private, gated
    name: str = REPO
    revision: str = ""
    url: str = ""


API = f"/api/models/{REPO}*"
ANY = "/*"
FILES = "*.safetensors"
DATE = "Wed, 21 Oct 2099 07:28:00 GMT"
TOKEN = "set HF_TOKEN to a token with access to it, or run hf auth login)"
AGAIN = "repeat the command to continue)"


def status(code: int, pattern: str = ANY, **more: Any) -> Mapping[str, Any]:
    """Return a fault of the hub: requests about ``pattern`` get this status code."""
    return {"pattern": pattern, "kind": "status", "status": code, **more}


FAILURES = {
    "gated": Failure(
        1,
        (
            "config.json: its owner requires you to accept terms first (accept its terms on its "
            "page, then ",
            TOKEN,
        ),
        kept="gated",
    ),
    "gated, a stranger": Failure(
        1,
        ("its owner requires you to accept terms first (accept its terms", TOKEN),
        kept="gated",
        token=STRANGER,
    ),
    "private": Failure(
        3,
        (f"hf:{REPO}: no such repository, or a private one (if it is private, ", TOKEN),
        kept="private",
    ),
    "private, a stranger": Failure(
        3, ("no such repository, or a private one", TOKEN), kept="private", token=STRANGER
    ),
    "an expired token": Failure(1, (f"hf:{REPO}: not allowed (401) (", TOKEN), token="hf_expired"),
    "no repository": Failure(
        3, ("hf:test/none: no such repository, or a private one",), name="test/none"
    ),
    "no revision": Failure(
        3, (f"hf:{REPO}@nope: has no such revision, or no longer has it",), revision="nope"
    ),
    "429": Failure(1, ("too many requests (wait; ", AGAIN), 6, status(429)),
    "429, wait 3 s": Failure(
        1, ("too many requests (wait 3 s; ", AGAIN), 6, status(429, retry_after=3)
    ),
    "429, wait for ever": Failure(
        1,
        ("too many requests (wait 999,999,999 s; ", AGAIN),
        0,
        status(429, retry_after=999_999_999),
    ),
    "429, wait till the stars go out": Failure(
        1, ("too many requests (wait 100,000,000 s", AGAIN), 0, status(429, retry_after=10**30)
    ),
    "429, wait till some day": Failure(
        1, ("too many requests (wait; ", AGAIN), 6, status(429, retry_after=DATE)
    ),
    "429, the hub's own way": Failure(
        1, ("too many requests (wait 5 s; ", AGAIN), 6, status(429, ratelimit=5)
    ),
    "429, nonsense": Failure(
        1, ("too many requests (wait; ", AGAIN), 6, status(429, headers={"RateLimit": ";;r=x"})
    ),
    "500": Failure(1, ("127.0.0.1 answers 500 (", AGAIN), 6, status(500)),
    "503": Failure(1, ("127.0.0.1 answers 503 (", AGAIN), 6, status(503)),
    "500 for files": Failure(
        1, (".safetensors: 127.0.0.1 answers 500 (", AGAIN), 6, status(500, FILES)
    ),
    "403 for files": Failure(
        1, (".safetensors: not allowed (403) (", TOKEN), 0, status(403, FILES)
    ),
    "404 for files": Failure(3, (".safetensors: not found",), 0, status(404, FILES)),
    "418": Failure(1, ("127.0.0.1 answers 418",), 0, status(418)),
    "a loop": Failure(1, ("is redirected in a circle",), 0, {"pattern": API, "kind": "loop"}),
    "a loop for files": Failure(
        1, (".safetensors: is redirected in a circle",), 0, {"pattern": FILES, "kind": "loop"}
    ),
    "silence": Failure(
        1, (f"hf:{REPO}: nothing arrived for 0 s (", AGAIN), 6, {"pattern": API, "kind": "stall"}
    ),
    "hung up": Failure(
        1, (f"hf:{REPO}: RemoteProtocolError: ", AGAIN), 6, {"pattern": API, "kind": "cut"}
    ),
    "reset": Failure(1, (f"hf:{REPO}: ReadError: ", AGAIN), 6, {"pattern": API, "kind": "reset"}),
    "nobody there": Failure(
        1,
        (f"hf:{REPO}: no connection: ", "check the network; the models that dslocal models lists"),
        1,
        url="http://{free}",
    ),
    "no such host": Failure(
        1, (f"hf:{REPO}: no connection: ", "check the network"), 1, url="http://hub.invalid"
    ),
    "no such protocol": Failure(
        1, (f"hf:{REPO}: HF_ENDPOINT is 'gopher://hub.invalid'",), url="gopher://hub.invalid"
    ),
    "no hub": Failure(
        1,
        (
            f"hf:{REPO}: the hub's description of it is not JSON (is HF_ENDPOINT the address of a "
            "hub?)",
        ),
        0,
        {"pattern": API, "kind": "body", "body": b"<html>"},
    ),
}


SLOW = ("silence", "nobody there")  # and the same for both


ROWS = [
    (name, stream) for name in FAILURES for stream in (False, True) if not (stream and name in SLOW)
]


@pytest.fixture
def unused_port() -> Iterator[int]:
    with closed_port() as port:
        yield port


@pytest.mark.parametrize(("name", "stream"), ROWS)
def test_a_failure(
    calm: Rig,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    unused_port: int,
    name: str,
    stream: bool,
) -> None:
    failure = FAILURES[name]
    if failure.kept:
        calm.hub.add(REPO, small, private=failure.kept == "private", gated=failure.kept == "gated")
    if failure.fault:
        calm.hub.fault(**{"times": None, **failure.fault})
    if failure.url:
        monkeypatch.setattr(socket, "getaddrinfo", without_asking(socket.getaddrinfo))
        monkeypatch.setattr(calm.hub, "url", failure.url.format(free=f"127.0.0.1:{unused_port}"))
    arguments = [
        "convert",
        failure.name,
        *(["--revision", failure.revision] if failure.revision else []),
        *(["--stream"] if stream else []),
    ]
    silence_s = 0.3 if name == "silence" else LIMIT_S
    done = calm.inside(*arguments, token=failure.token, silence_s=silence_s)
    assert (done.returncode, done.stdout) == (failure.code, b""), done.stderr
    said = done.stderr.decode().splitlines()
    assert len([line for line in said if line.startswith("dslocal: ")]) == 1
    assert all(line.startswith(("dslocal: ", "fetching ")) for line in said)
    for word in failure.words:
        assert word in said[-1]
    most = failure.waits * (AT_A_TIME if failure.fault and failure.fault["pattern"] == FILES else 1)
    assert failure.waits <= len(calm.sleeps) <= most
    assert sum(calm.sleeps) < LONG_ENOUGH_S * max(most // 6, 1)
    assert not any(MEMBER in line or "hf_expired" in line for line in said)
    assert calm.left() == []


def without_asking(getaddrinfo: Any) -> Any:
    """Names end here, as they do without a network."""

    def resolve(host: str, *args: Any, **named: Any) -> Any:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return getaddrinfo(host, *args, **named)

    return resolve


def test_a_failure_that_passes_is_not_seen(calm: Rig) -> None:
    calm.hub.fault(API, "status", times=3, status=500)
    calm.hub.fault("*.safetensors", "status", times=2, method="GET", status=429, retry_after=7)
    calm.hub.fault("config.json", "reset")
    done = calm.inside("convert", REPO)
    assert done.returncode == 0, done.stderr
    assert [
        line for line in done.stderr.decode().splitlines() if line.startswith("dslocal: ")
    ] == []
    assert sorted(calm.sleeps)[-2:] == [7, 7]
    assert len(calm.sleeps) == 6


def test_what_brings_bytes_is_worth_any_number_of_tries(calm: Rig, small: Path) -> None:
    """200 cuts, each after some bytes: none is one too many."""
    calm.hub.fault("*.safetensors", "cut", times=200, at=2000)
    done = calm.inside("convert", REPO)
    assert done.returncode == 0, done.stderr
    assert calm.hub.faults_left == []
    assert {
        shard: calm.hub.complete_fetches(shard)
        for shard in [path.name for path in small.glob("*.safetensors")]
    } == {path.name: 1 for path in small.glob("*.safetensors")}
