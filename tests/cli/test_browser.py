"""Proves when ``serve --open`` opens a browser, and that it says the address where it does not."""

from __future__ import annotations

import pytest

from dslocal.cli.serving import messages
from dslocal.cli.serving.browser import why_no_browser


@pytest.mark.parametrize(
    ("env", "platform", "is_opened"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "a 1 b 22"}, "linux", False),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", False),
        ({"SSH_TTY": "/dev/pts/1", "BROWSER": "/opt/editor/browser.sh"}, "linux", True),
        ({"BROWSER": "firefox"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
    ],
)
def test_where_a_browser_can_be_opened(env: dict[str, str], platform: str, is_opened: bool) -> None:
    assert (why_no_browser(env, platform) is None) is is_opened


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
    ],
)
def test_the_address_of_the_page(host: str, url: str) -> None:
    assert messages.page_url(host, 80) == url


def test_the_address_is_said_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    messages.print_page("http://127.0.0.1:80/", "there is no display")
    messages.print_page("http://127.0.0.1:80/", None)
    with_reason, without = capsys.readouterr().err.splitlines()
    assert "http://127.0.0.1:80/" in with_reason
    assert "there is no display" in with_reason
    assert without == "dslocal: the chat page is at http://127.0.0.1:80/"
