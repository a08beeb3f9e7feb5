"""Show that the local hub's faults are what they say, and how the real client takes them."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import constants, get_hf_file_metadata
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError
from support.hub.hub_clients import (
    CONFIG,
    REPO,
    WEIGHTS,
    Fetch,
    api,
    ask,
    cdn,
    hub_for_the_real_client,
    resolve,
)
from support.hub.local_hub import LocalHub


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A hub for the real client."""
    with hub_for_the_real_client() as running:
        yield running


@pytest.fixture
def fetch(hub: LocalHub, tmp_path: Path) -> Fetch:
    """Download a file with the real client, and return its content."""
    return Fetch(hub, tmp_path / "cache")


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client has waited between its attempts, without its waiting."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("at", [0, 1000, 100_000])
def test_a_body_that_breaks_off(hub: LocalHub, kind: str, at: int) -> None:
    hub.fault("*.safetensors", kind, at=at)
    reply = ask(cdn(hub))
    assert reply.broke is (EOFError if kind == "cut" else ConnectionResetError)
    assert reply.body == WEIGHTS[:at]
    assert (
        hub.sent("model.safetensors"),
        hub.complete_fetches("model.safetensors"),
        hub.faults_left,
    ) == (at, 0, [])
    assert ask(cdn(hub), Range=f"bytes={at}-").body == WEIGHTS[at:]
    assert hub.complete_fetches("model.safetensors") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
def test_no_answer_at_all(hub: LocalHub, kind: str, method: str) -> None:
    hub.fault(f"/{REPO}/resolve/*", kind)
    with pytest.raises(TimeoutError if kind == "stall" else ConnectionError):
        ask(resolve(hub, "config.json"), method, timeout=0.2)
    assert [(one.status, one.sent, one.fault) for one in hub.requests] == [(0, 0, kind)]
    assert ask(resolve(hub, "config.json"), method).status == 307


def test_a_client_resumes(
    hub: LocalHub, fetch: Fetch, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        constants, "DOWNLOAD_CHUNK_SIZE", 1000
    )  # what breaks off inside a piece of this size is fetched again
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.fault("model.safetensors", "cut", at=1500)
    hub.fault("model.safetensors", "stall", at=2000)
    hub.fault("model.safetensors", "short", by=10)
    assert fetch("model.safetensors") == WEIGHTS
    bodies = [(one.start, one.sent) for one in hub.requests if one.origin == "cdn"]
    assert bodies == [(0, 1500), (1000, 2000), (3000, 252990), (255000, 1000)]
    assert [one.range for one in hub.requests if one.origin == "cdn"][1:2] == [(1000, 256000)]
    assert (hub.complete_fetches("model.safetensors"), sleeps) == (1, [1, 1, 1])
    assert [kind for kind, _ in hub.faults_done] == ["cut", "stall", "short"]


def test_a_range_that_is_ignored(
    hub: LocalHub, fetch: Fetch, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.fault("model.safetensors", "no_range")
    hub.fault("model.safetensors", "cut", at=5000)
    assert fetch("model.safetensors") == WEIGHTS
    assert [
        (one.status, one.start, one.sent, one.range) for one in hub.requests if one.origin == "cdn"
    ] == [
        (200, 0, 5000, None),
        (200, 0, 256000, None),
    ]


@pytest.mark.parametrize(
    ("parameters", "waits"),
    [
        ({"status": 429, "retry_after": 7}, [8.0]),
        ({"status": 429, "ratelimit": 55}, [56.0]),
        ({"status": 429}, [1.0]),
        *[({"status": status}, [1.0]) for status in (500, 502, 503)],
    ],
)
def test_statuses(
    hub: LocalHub, fetch: Fetch, sleeps: list[float], parameters: dict[str, Any], waits: list[float]
) -> None:
    hub.fault("config.json", "status", 2, method="HEAD", **parameters)
    assert fetch("config.json") == CONFIG  # the first attempt is one without retries
    assert sleeps == waits
    assert [one.status for one in hub.requests[:3]] == [307, parameters["status"], 307]
    hub.fault("model.safetensors", "status", origin="cdn", **parameters)
    if parameters["status"] == 429:
        assert fetch("model.safetensors") == WEIGHTS
    else:
        with pytest.raises(HfHubHTTPError, match=str(parameters["status"])):
            fetch("model.safetensors")


def test_a_status_with_a_code(hub: LocalHub, fetch: Fetch, sleeps: list[float]) -> None:
    hub.fault("config.json", "status", status=404, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(RemoteEntryNotFoundError):
        fetch("config.json")
    hub.fault("config.json", "status", None, status=503)
    with pytest.raises(LocalEntryNotFoundError):
        fetch("config.json")
    assert (sleeps, hub.faults_left) == ([1, 2, 4, 8, 8], [("status", "config.json")])


def test_wrong_bytes(hub: LocalHub, fetch: Fetch) -> None:
    hub.fault("model.safetensors", "flip", at=70_000)
    assert ask(cdn(hub), Range="bytes=0-69999").body == WEIGHTS[:70_000]
    assert ask(cdn(hub), Range="bytes=70000-70001").body == bytes(
        [WEIGHTS[70_000] ^ 255, WEIGHTS[70_001]]
    )
    hub.fault("model.safetensors", "flip", at=70_000)
    got = fetch("model.safetensors")  # the client does not notice
    assert [
        at for at, (ours, theirs) in enumerate(zip(WEIGHTS, got, strict=True)) if ours != theirs
    ] == [70_000]


def test_lengths(hub: LocalHub, fetch: Fetch) -> None:
    hub.fault("*.safetensors", "short", by=7, honest=True)
    assert ask(cdn(hub)).body == WEIGHTS[:-7]
    hub.fault("*.safetensors", "short", by=7, honest=True)
    with pytest.raises(OSError, match="should be of size 256000 but has size 255993"):
        fetch("model.safetensors")
    hub.fault("*.safetensors", "length", length=1 << 60)
    reply = ask(cdn(hub))
    assert (reply.headers["content-length"], reply.body, reply.broke) == (
        str(1 << 60),
        WEIGHTS,
        EOFError,
    )
    hub.fault("*.safetensors", "chunked", extra=100_000)
    reply = ask(cdn(hub))
    assert (reply.status, reply.headers.get("content-length"), reply.body[:256000]) == (
        200,
        None,
        WEIGHTS,
    )
    assert (len(reply.body), reply.broke) == (356_000, None)
    hub.fault("config.json", "gzip", method="GET")
    assert (
        gzip.decompress(ask(f"{hub.url}/api/resolve-cache/models/{REPO}/main/config.json").body)
        == CONFIG
    )
    hub.fault("config.json", "gzip", method="GET")
    assert fetch("config.json") == CONFIG


def test_slow(hub: LocalHub) -> None:
    hub.fault("model.safetensors", "slow", rate=100_000)
    started = time.monotonic()
    assert ask(cdn(hub), Range="bytes=0-19999").body == WEIGHTS[:20_000]
    assert time.monotonic() - started > 0.15


def test_headers(hub: LocalHub, fetch: Fetch) -> None:
    hub.fault(
        "model.safetensors",
        "headers",
        headers={
            "X-Linked-Etag": f'"{"0" * 64}"',
            "x-linked-size": "12",
            "X-Repo-Commit": "1" * 40,
        },
    )
    assert ask(cdn(hub), "HEAD").status == 200  # has none of them
    wrong = get_hf_file_metadata(resolve(hub, "model.safetensors"), token=False)
    assert (wrong.etag, wrong.size, wrong.commit_hash) == ("0" * 64, 12, "1" * 40)
    hub.fault("config.json", "headers", headers={"ETag": None})
    with pytest.raises(LocalEntryNotFoundError, match="does not have an ETag"):
        fetch("config.json")


def test_redirects_without_end(hub: LocalHub) -> None:
    hub.fault("config.json", "loop", skip=1)
    get_hf_file_metadata(resolve(hub, "config.json"), token=False)
    with pytest.raises(httpx2.TooManyRedirects):
        get_hf_file_metadata(resolve(hub, "config.json"), token=False)
    assert len(hub.requests) > 20


@pytest.mark.parametrize("body", [b"<html>", b'["a"]', b"null", b"\xff\xfe", b'{"siblings": [1]}'])
def test_an_api_that_makes_no_sense(hub: LocalHub, body: bytes) -> None:
    hub.fault("/api/models/*", "body", body=body)
    assert ask(f"{hub.url}/api/models/{REPO}").body == body
    hub.fault("/api/models/*", "body", body=body)
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        api(hub).model_info(REPO)


def test_an_api_that_says_too_much(hub: LocalHub) -> None:
    hub.fault("/api/models/*", "huge", megabytes=3)
    assert len(json.loads(ask(f"{hub.url}/api/models/{REPO}").body)["padding"]) == 3_000_000
    names = ["../../etc/passwd", "/etc/passwd", "\x1b[31mred", "", 7, None, {"a": []}, "\ud800"]
    hub.fault("/api/models/*", "listing", 2, entries=[{"rfilename": name} for name in names])
    assert [
        one["rfilename"] for one in json.loads(ask(f"{hub.url}/api/models/{REPO}").body)["siblings"]
    ] == names
    assert [one.rfilename for one in api(hub).model_info(REPO).siblings or ()] == names
    hub.fault(
        "/api/models/*/tree/*", "listing", entries=({"rfilename": f"{i}"} for i in range(10_000))
    )
    assert len(json.loads(ask(f"{hub.url}/api/models/{REPO}/tree/main").body)) == 10_000


@pytest.mark.parametrize(
    ("kind", "parameters"), [("nonsense", {}), ("flip", {}), ("cut", {"bytes": 1})]
)
def test_faults_that_do_not_exist(hub: LocalHub, kind: str, parameters: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        hub.fault("*", kind, **parameters)


def test_many_clients_at_once(hub: LocalHub) -> None:
    hub.fault("model.safetensors", "flip", 3, at=100)
    hub.fault("model.safetensors", "cut", 2, at=100)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: ask(cdn(hub)), range(24)))
    assert sorted(len(reply.body) for reply in replies) == [100] * 2 + [len(WEIGHTS)] * 22
    assert sum(len(reply.body) == len(WEIGHTS) and reply.body != WEIGHTS for reply in replies) == 3
    assert (hub.complete_fetches("model.safetensors"), len(hub.faults_done), hub.faults_left) == (
        22,
        5,
        [],
    )
    assert hub.sent("model.safetensors") == sum(len(reply.body) for reply in replies)
