"""Proves that the page is whole, from the package alone, and that its policy is strict."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources
from pathlib import Path

import pytest
from support.server.serving import Serving

from dslocal.server.page import assets

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FOLDER = Path(str(resources.files("dslocal.server.page"))) / "assets"
VENDOR = FOLDER / "vendor"


def own_files(pattern: str) -> list[Path]:
    return [file for file in FOLDER.rglob(pattern) if VENDOR not in file.parents]


def test_a_browser_gets_the_page_and_a_program_the_facts(served: Serving) -> None:
    page = served.http.get("/", headers=HTML)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>dslocal</title>" in page.text
    facts = served.http.get("/")
    assert facts.json()["base_url"] == f"http://127.0.0.1:{served.port}/v1"


def test_everything_that_the_page_names_is_there(served: Serving) -> None:
    seen: set[str] = set()
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = served.http.get(path, headers=HTML)
        assert answer.status_code == 200, path
        base = path.rsplit("/", 1)[0] + "/"
        if path == "/":
            waiting += re.findall(r'(?:href|src)="(/page/[^"]+)"', answer.text)
        elif "/vendor/" not in path and path.endswith(".js"):
            for found in re.findall(r'(?:from|import) "([^"]+)"', answer.text):
                waiting.append(str(served.http.base_url.copy_with(path=base).join(found).path))
        elif "/vendor/" not in path and path.endswith(".css"):
            waiting += re.findall(r'url\("([^"]+)"\)', answer.text)
    assert {"/page/app/main.js", "/page/styles/tokens.css", "/page/icon.svg"} <= seen
    assert any("katex.min.js" in path for path in seen)


@pytest.mark.parametrize("path", ["/", "/page/app/main.js", "/page/vendor/katex/katex.min.css"])
def test_the_policy(served: Serving, path: str) -> None:
    headers = served.http.get(path, headers=HTML).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    for name in ("script-src", "style-src", "font-src", "img-src", "connect-src"):
        assert policy[name] == "'self'"
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_has_nothing_inline_and_nothing_remote() -> None:
    html = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    assert not re.search(r"<script(?![^>]*\ssrc=\"/page/)", html)
    for file in [*own_files("*.html"), *own_files("*.css"), *own_files("*.js")]:
        text = file.read_text()
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text), file
        assert not re.search(r"url\(\"?(?:https?:)?//", text), file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), file
        assert not re.search(r"\beval\(|new Function", text), file


def test_a_file_that_the_browser_has_is_not_sent_again(served: Serving) -> None:
    first = served.http.get("/page/app/main.js")
    again = served.http.get("/page/app/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["none.js", "..%2froutes.py", "%2e%2e%2froutes.py", "app", "app/", "vendor/LICENSE", ""]
)
def test_nothing_else_is_served(served: Serving, path: str) -> None:
    answer = served.http.get(f"/page/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


def test_vendored_files_are_those_of_their_release() -> None:
    listed = json.loads((VENDOR / "libraries.json").read_text())
    hashes = {
        f"{library['folder']}/{name}": value
        for library in listed
        for name, value in library["sha256"].items()
    }
    found = {
        str(file.relative_to(VENDOR)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in VENDOR.rglob("*")
        if file.is_file() and file.parent != VENDOR
    }
    assert found == hashes
    for library in listed:
        assert {"name", "version", "licence", "source"} <= set(library)
        assert (VENDOR / library["folder"] / "LICENSE").is_file()


def test_every_kind_of_file_has_a_type() -> None:
    unserved = {
        file.name
        for file in FOLDER.rglob("*")
        if file.is_file() and file.suffix not in assets.CONTENT_TYPES
    }
    licences = {name for name in unserved if name.startswith("LICENSE")}
    assert unserved - licences == {"libraries.json", "OFL.txt"}
