"""Fetch a file by Xet where the hub has it there, verified, and over HTTP when that fails.

The store itself is imitated: its protocol is hf_xet's own, in native code, and was not run against
a real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import file_download
from support.hub.hub_clients import REPO, WEIGHTS, hub_for_dslocal
from support.hub.local_hub import LocalHub

from dslocal.errors import DownloadError
from dslocal.hub.fetch import fetch_file
from dslocal.hub.repository import HubRepository

NAME = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub for dslocal, which takes every file for one of the Xet store."""
    monkeypatch.setattr(file_download, "is_xet_available", lambda: True)
    monkeypatch.setattr(
        file_download,
        "get_hf_file_metadata",
        lambda *_, **__: SimpleNamespace(xet_file_data=object()),
    )
    with hub_for_dslocal(tmp_path / "hf") as running:
        yield running


def giving(data: bytes) -> Callable[..., None]:
    """Return an imitation of xet_get that writes ``data``."""

    def xet_get(*, incomplete_path: Path, expected_size: int, **_: Any) -> None:
        assert expected_size == len(WEIGHTS)
        incomplete_path.write_bytes(data)

    return xet_get


def failing(*, incomplete_path: Path, **_: Any) -> None:
    """Imitate an xet_get that fails in the middle of a file."""
    incomplete_path.write_bytes(WEIGHTS[:1000])
    raise RuntimeError("the store is down")


def fetched(tmp_path: Path) -> bytes:
    """Fetch the weights, and return them."""
    remote, path = HubRepository(REPO), tmp_path / NAME
    manifest = remote.manifest()
    fetch_file(remote, manifest, manifest.file(NAME), path)
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(NAME)] == [NAME]
    return path.read_bytes()


@pytest.mark.parametrize(
    ("way", "over_http"),
    [(giving(WEIGHTS), 0), (failing, 1), (giving(WEIGHTS[:-1]), 1), (giving(b""), 1)],
    ids=["whole", "the store fails", "too short", "nothing"],
)
def test_the_store_is_used_where_it_works(
    hub: LocalHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[..., None],
    over_http: int,
) -> None:
    monkeypatch.setattr(file_download, "xet_get", way)
    assert fetched(tmp_path) == WEIGHTS
    assert hub.complete_fetches(NAME) == over_http


def test_what_it_gives_is_checked(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_download, "xet_get", giving(bytes(len(WEIGHTS))))
    with pytest.raises(DownloadError, match="twice"):
        fetched(tmp_path)
    assert not (tmp_path / NAME).exists()


def test_a_file_that_began_over_http_goes_on_so(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_download, "xet_get", failing)
    (tmp_path / f"{NAME}.partial").write_bytes(WEIGHTS[:200_000])
    assert fetched(tmp_path) == WEIGHTS
    assert hub.sent(NAME) == len(WEIGHTS) - 200_000
