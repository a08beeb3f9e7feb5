"""What tests of a local hub's clients share: a small model, the real client, dslocal as a client,
and plain requests.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, hf_hub_url
from huggingface_hub.utils import close_session
from support.hub.local_hub import LocalHub

REPO = "test/v3-like"
CONFIG = b'{"model_type": "deepseek_v3"}\n'
WEIGHTS = bytes(range(256)) * 1000
FILES = {
    "config.json": CONFIG,
    "model.safetensors": WEIGHTS,
    "sub/notes.txt": b"ab\n",
    "empty.txt": b"",
}
SHA = hashlib.sha256(WEIGHTS).hexdigest()
CONFIG_ID = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()


@contextlib.contextmanager
def hub_for_the_real_client() -> Iterator[LocalHub]:
    """Yield a hub with ``FILES``, for a client that asks no other host.

    The client leaves no connection behind.
    """
    with pytest.MonkeyPatch.context() as patch, LocalHub() as hub:
        patch.setenv("NO_PROXY", "127.0.0.1")
        for name, value in {
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }.items():
            patch.setattr(constants, name, value)
        hub.add(REPO, FILES)
        close_session()
        try:
            yield hub
        finally:
            close_session()


@contextlib.contextmanager
def hub_for_dslocal(cache: Path) -> Iterator[LocalHub]:
    """Yield a hub, with Hugging Face's cache at ``cache`` and no token.

    Waits between tries take no time.
    """
    with hub_for_the_real_client() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setenv("HF_TOKEN", "")
        patch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        patch.setattr("dslocal.hub.http.time.sleep", lambda seconds: None)
        yield hub


@dataclass(frozen=True)
class Fetch:
    """Gets a file of ``REPO`` as the real client does."""

    hub: LocalHub
    cache: Path

    def __call__(self, file: str, token: str | bool = False, **more: Any) -> bytes:
        return Path(
            hf_hub_download(
                REPO, file, endpoint=self.hub.url, cache_dir=self.cache, token=token, **more
            )
        ).read_bytes()


def api(hub: LocalHub, token: str | bool = False) -> HfApi:
    """Return the real client of the hub's API."""
    return HfApi(endpoint=hub.url, token=token)


def resolve(hub: LocalHub, file: str, revision: str = "main") -> str:
    """Return the URL of a file."""
    return hf_hub_url(REPO, file, revision=revision, endpoint=hub.url)


def cdn(hub: LocalHub, file: str = "model.safetensors", sha: str = SHA) -> str:
    """Return the URL of a file's content at the second origin."""
    return f"{hub.cdn_url}/lfs/{REPO}/{sha}/{file}"


@dataclass
class Reply:
    """What came for one request: all of it, or what there was before it ``broke`` off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    broke: type[Exception] | None = None


def ask(url: str, method: str = "GET", timeout: float = 5, **headers: str) -> Reply:
    """One request, no retries, no redirects. Raises only where no answer begins."""
    parts = urlsplit(url)
    with contextlib.closing(HTTPConnection(parts.netloc, timeout=timeout)) as connection:
        connection.request(
            method,
            f"{parts.path}?{parts.query}",
            headers={k.replace("_", "-"): v for k, v in headers.items()},
        )
        answer = connection.getresponse()
        reply = Reply(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, b""
        )
        body = bytearray()
        try:
            while piece := answer.read1(1 << 20):
                body += piece
        except (OSError, HTTPException) as error:
            reply.broke = type(error)
        reply.body = bytes(body)
        if (
            reply.broke is None
            and method == "GET"
            and len(reply.body) < int(reply.headers.get("content-length", 0))
        ):
            reply.broke = EOFError
        return reply
