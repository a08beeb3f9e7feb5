"""Host names and origins of dslocal serve: what no client can send is refused."""

from __future__ import annotations

import pytest

from dslocal.cli.serving.api_access import access_policy
from dslocal.cli.serving.serve_options import ServeOptions
from dslocal.errors import UsageError

HOSTS = ["box.example", "Box.Example", "box", "10.0.0.7", "::1", "my_box"]
NO_HOSTS = ["", "a b", "http://box", "box:80", "box/", "user@box", "*.example/x", "box\n"]
ORIGINS = [
    ("http://localhost:3000", "http://localhost:3000"),
    ("http://localhost:3000/", "http://localhost:3000"),
    ("HTTPS://Box.Example", "https://box.example"),
    ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ("null", "null"),
]
NO_ORIGINS = ["", "*", "foo", "localhost:3000", "http://", "http://a/b", "http://a?b", "http://a b"]


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_is_accepted(name: str) -> None:
    assert name.lower() in access_policy(ServeOptions(allow_host=[name]), "token").hosts


@pytest.mark.parametrize("name", NO_HOSTS)
def test_what_no_host_header_has_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"--allow-host: .* is not the name of a host"):
        access_policy(ServeOptions(allow_host=[name]), "token")


@pytest.mark.parametrize(("text", "origin"), ORIGINS)
def test_an_origin_is_kept_as_browsers_send_it(text: str, origin: str) -> None:
    assert access_policy(ServeOptions(allow_origin=[text]), "token").origins == {origin}


@pytest.mark.parametrize("text", [*NO_ORIGINS, "http://user@a", "http://[::1", "http://a#b"])
def test_what_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--allow-origin: .* is not the origin of a web page"):
        access_policy(ServeOptions(allow_origin=[text]), "token")
