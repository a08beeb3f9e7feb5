"""The files of the page, all in the package: nothing is loaded from elsewhere.

The page shows text of models, files and terminals, all of it hostile. Its content security policy
allows no script, style or request besides its own, and no string to become HTML unless the
sanitizer made it (trusted types).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from dslocal.server.wire.errors import ApiError

FOLDER = "/page"  # where the files are, but for the page itself
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "font-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "dompurify",
}
SECURITY_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
PAGE = "index.html"


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    content_type: str
    tag: str


@cache
def load_assets() -> dict[str, Asset]:
    """Return the files by the path that they are asked for by, below :data:`FOLDER`."""
    return dict(_walk(resources.files(__package__) / "assets", ""))


def asset_response(request: Request, path: str) -> Response:
    """Return a file of the page, or that the browser has it already.

    Raises:
        ApiError: 404.
    """
    asset = load_assets().get(path)
    if asset is None:
        raise ApiError(404, "the page has no such file", code="not_found")
    headers = {
        **SECURITY_HEADERS,
        "content-type": asset.content_type,
        "cache-control": "no-cache",  # it is asked for again, by its tag
        "etag": asset.tag,
    }
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers)


def _walk(folder: Traversable, path: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        suffix = entry.name[entry.name.rfind(".") :]
        if entry.is_dir():
            found += _walk(entry, f"{path}{entry.name}/")
        elif suffix in CONTENT_TYPES:
            content = entry.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found.append((f"{path}{entry.name}", Asset(content, CONTENT_TYPES[suffix], tag)))
    return found
