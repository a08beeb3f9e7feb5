"""Proves that conversations are the page's alone, and that the key covers all but its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server.serving import Serving, serving

KEY = "correct-horse-battery"
HTML = {"accept": "text/html"}
PATHS = (
    ("GET", "/dslocal/state"),
    ("GET", "/dslocal/conversations"),
    ("POST", "/dslocal/conversations"),
    ("GET", "/dslocal/conversations/20260101-000000-0000"),
    ("DELETE", "/dslocal/conversations/20260101-000000-0000"),
    ("POST", "/dslocal/conversations/20260101-000000-0000/answers"),
    ("GET", "/dslocal/conversations/20260101-000000-0000/answer"),
    ("POST", "/dslocal/conversations/20260101-000000-0000/answer/stop"),
    ("POST", "/dslocal/conversations/20260101-000000-0000/answer/end-reasoning"),
)


@pytest.fixture(scope="module")
def guarded(served: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with a key, and an origin that may use its API."""
    file: Path = tmp_path_factory.mktemp("key") / "key"
    file.touch(mode=0o600)
    file.write_text(KEY + "\n")
    options = ("--api-key", str(file), "--allow-origin", "http://page.example")
    with serving(served.home, "--parallel", "1", "--ctx", "1024", *options) as server:
        yield server


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},  # another port of this machine
    ],
)
def test_other_pages_are_refused(
    served: Serving, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = served.http.request(method, path, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_an_origin_of_the_api_is_no_reader_of_conversations(
    guarded: Serving, method: str, path: str
) -> None:
    key = {"authorization": f"Bearer {KEY}"}
    answer = guarded.http.request(method, path, headers={**key, "origin": "http://page.example"})
    assert answer.status_code == 403
    models = guarded.http.get("/v1/models", headers={**key, "origin": "http://page.example"})
    assert models.status_code == 200


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_the_key_is_needed(guarded: Serving, method: str, path: str) -> None:
    assert guarded.http.request(method, path).status_code == 401
    wrong = {"authorization": "Bearer correct-horse-batterz"}
    assert guarded.http.request(method, path, headers=wrong).status_code == 401
    right = {"authorization": f"Bearer {KEY}"}
    assert guarded.http.request(method, path, headers=right).status_code not in (401, 403)


def test_the_page_itself_asks_for_the_key(guarded: Serving) -> None:
    assert guarded.http.get("/", headers=HTML).status_code == 200
    assert guarded.http.get("/page/app/main.js").status_code == 200
    assert guarded.http.get("/").status_code == 401  # the facts name the model


@pytest.mark.parametrize("path", ["/", "/page/app/main.js"])
def test_the_pages_files_have_hosts_too(served: Serving, path: str) -> None:
    answer = served.http.get(path, headers={**HTML, "host": "evil.example"})
    assert answer.status_code == 403


def test_the_own_page_is_answered(served: Serving) -> None:
    own = {"origin": f"http://127.0.0.1:{served.port}", "sec-fetch-site": "same-origin"}
    answer = served.http.get("/dslocal/conversations", headers=own)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("method", "path"), [("PUT", "/dslocal/state"), ("POST", "/page/x.js")])
def test_other_methods(served: Serving, method: str, path: str) -> None:
    assert served.http.request(method, path).status_code == 405


def test_a_body_too_large(served: Serving) -> None:
    answer = served.http.post("/dslocal/conversations", content=b"x" * (2 << 20))
    assert answer.status_code == 413
