"""Proves that only those who may are answered: names in Host and Origin, keys, sizes, slow senders,
and where it listens.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import Run
from support.server.serving import SUM, Serving, serving

KEY = "correct-horse-battery"
ASKED = {"messages": [{"role": "user", "content": SUM}], "max_tokens": 1}


@pytest.fixture(scope="module")
def guarded(home: Path, nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that others may connect to, with a key in a file."""
    file = tmp_path_factory.mktemp("key") / "key"
    file.touch(mode=0o600)
    file.write_text(KEY + "\n")
    options = [
        "--host",
        "0.0.0.0",
        "--api-key",
        str(file),
        "--allow-host",
        "box.example",
        "--allow-origin",
        "http://page.example",
        "--open-webui",
    ]
    with serving(home, "--parallel", "1", "--ctx", "1024", *options) as server:
        yield server


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 200, None),
        ({"Host": "localhost:11435"}, 200, None),
        ({"Host": "[::1]:80"}, 200, None),
        ({"Host": "evil.example"}, 403, "host_not_allowed"),
        ({"Host": "localhost.evil.example"}, 403, "host_not_allowed"),
        ({"Host": "192.168.1.7"}, 403, "host_not_allowed"),
        ({"Host": "127.0.0.1@evil.example"}, 403, "host_not_allowed"),
        ({"Host": "["}, 403, "host_not_allowed"),
        ({"Origin": "http://evil.example"}, 403, "origin_not_allowed"),
        ({"Origin": "null"}, 403, "origin_not_allowed"),
        ({"Authorization": "Bearer whatever"}, 200, None),
    ],
)
def test_names_on_this_machine(
    served: Serving, headers: dict[str, str], status: int, code: str | None
) -> None:
    answer = served.http.get("/v1/models", headers=headers)
    assert answer.status_code == status, answer.text
    if code:
        assert answer.json()["error"]["code"] == code
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_its_own(served: Serving) -> None:
    answer = served.http.get("/v1/models", headers={"Origin": f"http://127.0.0.1:{served.port}"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
        200,
        f"http://127.0.0.1:{served.port}",
    )


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/models", {}, 401),
        ("/v1/models", {"Authorization": f"Bearer {KEY}"}, 200),
        ("/v1/models", {"Authorization": f"bearer {KEY}"}, 200),
        ("/v1/models", {"Authorization": f"Basic {KEY}"}, 401),
        ("/v1/models", {"Authorization": f"Bearer {KEY}x"}, 401),
        ("/v1/models", {"Authorization": "Bearer"}, 401),
        ("/v1/models", {"Authorization": "Bearer ü".encode("latin-1")}, 401),
        ("/v1/models", {"x-api-key": KEY}, 200),
        ("/v1/models", {"x-api-key": KEY, "Authorization": "Bearer other"}, 200),
        ("/v1/models", {"x-api-key": "other"}, 401),
        ("/v1/models", {"x-api-key": ""}, 401),
        ("/metrics", {}, 401),
        ("/openapi.json", {}, 401),
        ("/health", {}, 200),
        ("/v1/models", {"Host": "box.example", "Authorization": f"Bearer {KEY}"}, 200),
        ("/v1/models", {"Host": "192.168.1.7", "Authorization": f"Bearer {KEY}"}, 200),
        ("/v1/models", {"Host": "evil.example", "Authorization": f"Bearer {KEY}"}, 403),
        ("/v1/models", {"Origin": "http://page.example", "Authorization": f"Bearer {KEY}"}, 200),
        ("/v1/models", {"Origin": "http://other.example", "Authorization": f"Bearer {KEY}"}, 403),
    ],
)
def test_a_key_is_needed_where_others_can_connect(
    guarded: Serving, path: str, headers: Any, status: int
) -> None:
    answer = guarded.http.get(path, headers=headers)
    assert answer.status_code == status, answer.text
    assert KEY not in answer.text


def test_every_route_is_guarded(guarded: Serving) -> None:
    key = {"x-api-key": KEY}
    document = guarded.http.get("/openapi.json", headers=key).json()
    routes = [
        (method.upper(), path.replace("{name}", "nano").replace("{id}", "resp_none"))
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters" and path != "/health"
    ]
    assert len(routes) > 30
    refused: list[tuple[dict[str, str], int]] = [
        ({}, 401),
        ({**key, "Host": "evil.example"}, 403),
        ({**key, "Origin": "http://evil.example"}, 403),
    ]
    for method, path in routes:
        for headers, status in refused:
            answer = guarded.http.request(method, path, headers=headers)
            assert answer.status_code == status, (method, path, answer.text)
            assert "error" in answer.json()
        if method == "POST":
            large = guarded.http.post(path, headers=key, content=b"x" * (9 << 20))
            assert large.status_code == 413, (path, large.text)


def test_an_allowed_page_may_ask_beforehand(guarded: Serving) -> None:
    asked = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    answer = guarded.http.options("/v1/chat/completions", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
        204,
        "http://page.example",
    )
    assert (
        guarded.http.options(
            "/v1/chat/completions", headers={**asked, "Origin": "http://evil.example"}
        ).status_code
        == 403
    )


def test_nothing_secret_is_logged_and_open_webui_is_explained(guarded: Serving, home: Path) -> None:
    guarded.http.post(
        "/v1/chat/completions", json=ASKED, headers={"Authorization": f"Bearer {KEY}"}
    )
    guarded.wait_for_log("POST /v1/chat/completions 200")
    assert KEY not in guarded.log
    assert SUM not in guarded.log
    assert guarded.process.stdout is not None
    lines = [guarded.process.stdout.readline().decode() for _ in range(3)]
    assert lines[0] == f"export OPENAI_API_BASE_URL=http://127.0.0.1:{guarded.port}/v1\n"
    assert lines[1].startswith('export OPENAI_API_KEY="$(cat ')
    assert lines[2] == "open-webui serve\n"
    assert "the tools of Open WebUI fill this context" in guarded.log
    assert KEY not in "".join(lines)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "needs a key"),
        (["--host", "::"], 2, "needs a key"),
        (["--host", "box.example"], 2, "needs a key"),
        (["--api-key", "/nowhere/key"], 3, "/nowhere/key"),
        (["--port", "70000"], 2, "--port: 70000 is out of range"),
        (["--port", "12345678"], 2, "--port: 12345678 is out of range"),
        (["--parallel", "0"], 2, "--parallel: 0 is out of range"),
        (
            ["--port", "0", "--parallel", "2", "--mtp", "on"],
            2,
            "--mtp on drafts for one conversation only",
        ),
        (["--host", "127.0.0.1", "--max-body", "nonsense"], 2, "is not a size"),
    ],
)
def test_what_is_refused(run: Run, options: list[str], code: int, said: str) -> None:
    done = run("serve", "nano", *options)
    assert (done.returncode, done.stderr.count(b"\n")) == (code, 1), done.stderr
    assert said in done.stderr.decode()


@pytest.mark.parametrize(
    ("mode", "content", "said"),
    [(0o644, KEY, "other users can read this file"), (0o600, "short", "at least 8 characters")],
    ids=["readable by others", "too few characters"],
)
def test_an_invalid_key(run: Run, tmp_path: Path, mode: int, content: str, said: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)
    done = run("serve", "nano", "--api-key", file)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert content not in done.stderr.decode()


def test_a_port_that_is_taken(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "nano", "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert "another --port" in done.stderr.decode()


def head(path: str, length: int, more: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


def test_a_body_of_100_mb(served: Serving) -> None:
    answer = served.http.post("/v1/chat/completions", content=b"x" * 100_000_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_body_that_says_no_length(served: Serving) -> None:
    answer = served.http.post("/v1/chat/completions", content=(b"x" * 65536 for _ in range(40)))
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_announced_and_not_sent(served: Serving) -> None:
    assert served.raw(
        head("/v1/chat/completions", 10**12, "Expect: 100-continue\r\nConnection: close\r\n")
    ).startswith(b"HTTP/1.1 413")


@pytest.mark.slow  # the server's patience, 5 seconds
@pytest.mark.timeout(120)
def test_a_head_that_does_not_end_is_given_up(served: Serving) -> None:
    assert served.raw(b"GET /v1/models HTTP/1.1\r\nHost: loc", timeout=600) == b""


def test_others_are_served_while_bodies_are_slow(served: Serving) -> None:
    slow = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.sendall(head("/v1/chat/completions", 1000) + b"{")
        slow.append(connection)
    assert served.post("/v1/chat/completions", ASKED).status_code == 200
    for connection in slow:
        connection.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        head("/v1/chat/completions", 5).replace(b"5", b"-5"),
        head("/v1/chat/completions", 5, "Content-Length: 6\r\n"),
    ],
    ids=range(7),
)
def test_what_is_not_http(served: Serving, data: bytes) -> None:
    assert served.raw(data, timeout=3)[9:12] in (b"400", b"403", b"431", b"")
    assert served.http.get("/health").status_code == 200


def test_its_own_route_is_for_its_own(served: Serving) -> None:
    for headers in ({}, {"Authorization": "Bearer guess"}):
        answer = served.http.post("/dslocal/ask", json={}, headers=headers)
        assert (answer.status_code, json.loads(answer.text)["error"]["type"]) == (
            401,
            "authentication_error",
        )
