"""Proves that paths, names of models and headers that real clients send are understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.server.client_bodies import CHAT, asked
from support.server.serving import MODEL, Serving, serving

ORIGIN = "http://localhost:5174"


@pytest.fixture(scope="module")
def named(new_home: Callable[[str], Path]) -> Iterator[Serving]:
    options = ("--alias", "gpt-4o", "--alias", "deepseek-chat", "--allow-origin", ORIGIN)
    with serving(new_home("named"), *options, "--parallel", "1", "--ctx", "1024") as server:
        yield server


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1//chat/completions"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat//completions///"),
        ("POST", "/chat/completions"),
        ("POST", "/beta/chat/completions"),
        ("GET", "/models"),
        ("GET", "/v1/models/"),
        ("GET", "//models//"),
        ("GET", f"/v1//models/{MODEL}/"),
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
    ],
)
def test_slashes_and_missing_prefixes(served: Serving, method: str, path: str) -> None:
    body = None if method == "GET" else asked(max_tokens=1)
    response = served.http.request(method, f"http://127.0.0.1:{served.port}{path}", json=body)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/embeddings", 501),
        ("/v1/audio/speech", 501),
        ("/v1/v1/chat/completions", 404),
        ("/apis", 404),
        ("/api/v0/models", 501),
        ("/openai/deployments/nano/chat/completions", 501),
        ("/completion", 501),
        ("/tokenize", 501),
        ("/props", 501),
    ],
)
def test_what_is_not_here_says_what_is(served: Serving, path: str, status: int) -> None:
    for response in (served.http.get(path), served.post(path, {})):
        assert response.status_code == status
        assert "/v1/chat/completions" in response.json()["error"]["message"]
        assert response.headers.get("x-should-retry") == ("false" if status == 501 else None)


def test_a_page_may_read_that_a_retry_is_in_vain(named: Serving) -> None:
    url = f"http://127.0.0.1:{named.port}/v1/embeddings"
    response = named.http.post(url, json={}, headers={"Origin": ORIGIN})
    assert response.headers["x-should-retry"] == "false"
    assert "x-should-retry" in response.headers["access-control-expose-headers"].split(", ")


def test_the_base_urls_say_what_this_is(served: Serving) -> None:
    for path in ("/", "/v1", "/beta"):
        facts = served.http.get(path).json()
        assert facts["model"] == MODEL
        assert "/v1/chat/completions" in facts["routes"]


@pytest.mark.parametrize(
    ("name", "status"),
    [(MODEL, 200), ("gpt-4o", 200), ("deepseek-chat", 200), ("gpt-4", 404), ("", 404), (None, 200)],
)
def test_an_alias_is_a_name(named: Serving, name: str | None, status: int) -> None:
    response = named.post(CHAT, asked(model=name, max_tokens=1))
    assert response.status_code == status
    if status == 404:
        assert "--alias" in response.json()["error"]["message"]


def test_aliases_are_listed(named: Serving) -> None:
    listed = [each["id"] for each in named.http.get("/v1/models").json()["data"]]
    assert listed == [MODEL, "gpt-4o", "deepseek-chat"]
    assert named.http.get("/v1/models/gpt-4o").json()["id"] == "gpt-4o"


@pytest.mark.parametrize(
    "headers",
    [
        "authorization,content-type",
        "authorization,content-type,x-stainless-os,x-stainless-helper-method",
        "anthropic-version, x-api-key, anthropic-dangerous-direct-browser-access",
        "openai-organization,openai-project,openai-beta",
        "http-referer,x-title",
    ],
)
def test_a_preflight_allows_the_headers_that_it_asks_for(named: Serving, headers: str) -> None:
    response = named.http.options(
        CHAT,
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": headers,
            "Access-Control-Request-Private-Network": "true",
        },
    )
    assert response.status_code == 204
    assert response.headers["access-control-allow-headers"] == headers
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-private-network"] == "true"


def test_a_preflight_of_another_origin_is_refused(named: Serving) -> None:
    asked_for = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Headers": "x-stainless-os",
    }
    response = named.http.options(CHAT, headers=asked_for)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_headers_that_are_not_lists_of_names_are_not_repeated(named: Serving) -> None:
    asked_for = {"Origin": ORIGIN, "Access-Control-Request-Headers": "a b<script>, c"}
    response = named.http.options(CHAT, headers=asked_for)
    assert "script" not in response.headers["access-control-allow-headers"]
