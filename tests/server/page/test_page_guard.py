"""Proves that conversations are the page's alone, and that the key covers all but its files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server.serving import Serving, serving

from dslocal.server.page.peer_user import find_uid

KEY = "correct-horse-battery"
NOBODY = 65534
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


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_of_this_machine_is_refused(served: Serving, guarded: Serving) -> None:
    def status(server: Serving, *options: str) -> str:
        url = f"http://127.0.0.1:{server.port}/dslocal/conversations"
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, url]
        return subprocess.run(
            command, user=NOBODY, capture_output=True, text=True, check=True
        ).stdout

    assert status(served) == "403"
    assert status(guarded, "-H", f"Authorization: Bearer {KEY}") == "200"
    assert served.http.get("/dslocal/conversations").status_code == 200


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2CAB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0
   1: 0100007F:D431 0100007F:2CAB 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0
   2: 0100007F:2CAB 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0
"""
TABLE_6 = """\
   0: 00000000000000000000000001000000:D432 00000000000000000000000001000000:2CAB 01 0:0 0:0 0 1002
   1: 0000000000000000FFFF00000100007F:D433 0000000000000000FFFF00000100007F:2CAB 01 0:0 0:0 0 1003
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the tables were printed so")
@pytest.mark.parametrize(
    ("table", "host", "port", "uid"),
    [
        (TABLE, "127.0.0.1", 0xD431, 1001),
        (TABLE, "127.0.0.1", 0xD430, None),
        (TABLE, "127.0.0.2", 0xD431, None),
        (TABLE, "nonsense", 0xD431, None),
        (TABLE_6, "::1", 0xD432, 1002),
        (TABLE_6, "127.0.0.1", 0xD433, 1003),
        ("", "127.0.0.1", 0xD431, None),
    ],
)
def test_the_table_of_connections(table: str, host: str, port: int, uid: int | None) -> None:
    assert find_uid(table.splitlines(), (host, port), (host, 0x2CAB)) == uid


@pytest.mark.parametrize(("method", "path"), [("PUT", "/dslocal/state"), ("POST", "/page/x.js")])
def test_other_methods(served: Serving, method: str, path: str) -> None:
    assert served.http.request(method, path).status_code == 405


def test_a_body_too_large(served: Serving) -> None:
    answer = served.http.post("/dslocal/conversations", content=b"x" * (2 << 20))
    assert answer.status_code == 413
