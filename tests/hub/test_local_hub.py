"""Show that the real client takes the local hub for Hugging Face's, and that the local hub counts
requests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from support.cli.running import python
from support.hub import local_hub
from support.hub.hub_clients import (
    CONFIG,
    CONFIG_ID,
    FILES,
    REPO,
    SHA,
    WEIGHTS,
    Fetch,
    api,
    ask,
    cdn,
    hub_for_the_real_client,
    resolve,
)
from support.hub.local_hub import MEMBER, STRANGER, LocalHub
from support.waiting import exit_code_of


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A hub for the real client."""
    with hub_for_the_real_client() as running:
        yield running


@pytest.fixture
def fetch(hub: LocalHub, tmp_path: Path) -> Fetch:
    """Download a file with the real client, and return its content."""
    return Fetch(hub, tmp_path / "cache")


def test_model_info(hub: LocalHub) -> None:
    info = api(hub).model_info(REPO, files_metadata=True)
    named = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    assert sorted(named) == sorted(FILES)
    assert (named["config.json"].size, named["config.json"].blob_id, named["config.json"].lfs) == (
        len(CONFIG),
        CONFIG_ID,
        None,
    )
    lfs = named["model.safetensors"].lfs
    assert lfs is not None
    assert (lfs.sha256, lfs.size, lfs.pointer_size) == (SHA, len(WEIGHTS), 131)
    assert {sibling.size for sibling in api(hub).model_info(REPO).siblings or ()} == {None}


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_tree(hub: LocalHub, page: int) -> None:
    hub.page = page
    shallow, deep = (
        list(api(hub).list_repo_tree(REPO, recursive=recursive)) for recursive in (False, True)
    )
    assert [entry.path for entry in shallow] == [
        "config.json",
        "empty.txt",
        "model.safetensors",
        "sub",
    ]
    assert [entry.path for entry in deep] == [
        "config.json",
        "empty.txt",
        "model.safetensors",
        "sub",
        "sub/notes.txt",
    ]
    assert [entry.path for entry in api(hub).list_repo_tree(REPO, "sub")] == ["sub/notes.txt"]
    assert len(hub.requests) == sum(-(-entries // page) for entries in (4, 5, 1))


def test_metadata(hub: LocalHub) -> None:
    commit = api(hub).model_info(REPO).sha
    large, small = (
        get_hf_file_metadata(resolve(hub, file), token=False)
        for file in ("model.safetensors", "config.json")
    )
    assert (large.commit_hash, large.etag, large.size) == (commit, SHA, len(WEIGHTS))
    assert large.location.startswith(cdn(hub))
    assert (small.commit_hash, small.etag, small.size) == (commit, CONFIG_ID, len(CONFIG))
    assert small.location.startswith(
        f"{hub.url}/api/resolve-cache/models/{REPO}/{commit}/config.json"
    )
    assert large.xet_file_data is None
    reply = ask(resolve(hub, "model.safetensors"))
    assert (reply.status, reply.headers["x-linked-size"]) == (302, str(len(WEIGHTS)))
    assert 0 < len(reply.body) == int(reply.headers["content-length"])


@pytest.mark.parametrize("resolve_cache", [True, False])
def test_downloads(hub: LocalHub, fetch: Fetch, tmp_path: Path, resolve_cache: bool) -> None:
    hub.resolve_cache = resolve_cache
    assert [fetch(file) for file in FILES] == list(FILES.values())
    assert [fetch(file) for file in FILES] == list(FILES.values())  # from the cache
    assert [hub.sent(file) for file in FILES] == [len(data) for data in FILES.values()]
    assert [hub.complete_fetches(file) for file in FILES] == [
        1,
        1,
        1,
        0,
    ]  # the client asks for no empty file's content
    local = hf_hub_download(
        REPO, "sub/notes.txt", endpoint=hub.url, local_dir=tmp_path / "local", token=False
    )
    assert Path(local).read_bytes() == b"ab\n"
    assert hub.complete_fetches("sub/notes.txt") == 2
    folder = Path(
        snapshot_download(
            REPO, endpoint=hub.url, cache_dir=tmp_path / "other", token=False, max_workers=2
        )
    )
    assert {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    } == FILES
    assert {
        one.origin
        for one in hub.requests
        if one.file == "model.safetensors" and one.method == "GET"
    } == {"cdn"}


def test_a_token_stays_at_the_hub(hub: LocalHub, fetch: Fetch) -> None:
    fetch("model.safetensors", token=MEMBER)
    fetch("config.json", token=MEMBER)
    assert {(one.origin, one.authorized) for one in hub.requests} == {("hub", True), ("cdn", False)}


def test_the_environment_of_a_process(hub: LocalHub, tmp_path: Path) -> None:
    program = (
        f"import huggingface_hub as h; print(h.hf_hub_download('{REPO}', 'config.json',"
        f" token=False))"
    )
    done = python(
        program,
        env={
            "HF_ENDPOINT": hub.url,
            "HF_HUB_CACHE": str(tmp_path),
            "NO_PROXY": "*",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
    )
    assert Path(done.stdout.strip()).read_bytes() == CONFIG, done.stderr
    assert all("hf_hub/" in one.headers["user-agent"] for one in hub.requests)


@pytest.mark.parametrize(
    ("repo", "token", "error", "status"),
    [
        ("test/none", False, RepositoryNotFoundError, 401),
        ("test/none", STRANGER, RepositoryNotFoundError, 404),
        ("test/private", False, RepositoryNotFoundError, 401),
        ("test/private", STRANGER, RepositoryNotFoundError, 404),
        ("test/private", "hf_expired", HfHubHTTPError, 401),
        ("test/gated", False, GatedRepoError, 401),
        ("test/gated", STRANGER, GatedRepoError, 403),
    ],
)
def test_no_access(
    hub: LocalHub,
    tmp_path: Path,
    repo: str,
    token: str | bool,
    error: type[HfHubHTTPError],
    status: int,
) -> None:
    hub.add("test/private", FILES, private=True)
    hub.add("test/gated", FILES, gated=True)
    for file in ("config.json", "model.safetensors"):
        with pytest.raises(error) as caught:
            hf_hub_download(repo, file, endpoint=hub.url, cache_dir=tmp_path, token=token)
        assert (type(caught.value), caught.value.response.status_code) == (error, status)
    if repo == "test/gated":  # which files it has is not secret
        assert api(hub, token).model_info(repo).gated == "manual"
    else:
        with pytest.raises(error):
            api(hub, token).model_info(repo)
    assert hub.sent("config.json") == 0


@pytest.mark.parametrize("repo", ["test/private", "test/gated"])
def test_access(hub: LocalHub, tmp_path: Path, repo: str) -> None:
    hub.add(repo, FILES, private=repo == "test/private", gated=repo == "test/gated")
    folder = Path(
        snapshot_download(repo, endpoint=hub.url, cache_dir=tmp_path, token=MEMBER, max_workers=1)
    )
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_revisions(hub: LocalHub, fetch: Fetch) -> None:
    first = str(api(hub).model_info(REPO).sha)
    second = hub.commit(REPO, {"config.json": b"{}", "empty.txt": None})
    for name in ("v1", "refs/pr/7"):
        hub.ref(REPO, name, first)
        assert fetch("config.json", revision=name) == CONFIG
        assert api(hub).model_info(REPO, revision=name).sha == first
    assert (fetch("config.json"), fetch("config.json", revision=first)) == (b"{}", CONFIG)
    assert api(hub).model_info(REPO).sha == second != first
    assert re.fullmatch("[0-9a-f]{40}", second)
    with pytest.raises(RemoteEntryNotFoundError) as gone:
        fetch("empty.txt")
    assert gone.value.response.headers["X-Repo-Commit"] == second
    hub.drop_commit(REPO, first)
    for revision in (first, "v1", "never"):
        with pytest.raises(RevisionNotFoundError):
            api(hub).model_info(REPO, revision=revision)
        with pytest.raises(RevisionNotFoundError):
            get_hf_file_metadata(resolve(hub, "config.json", revision), token=False)
    assert ask(f"{hub.url}/no/such/way/at/all").status == 404
    assert ask(cdn(hub, sha="0" * 64)).status == 403


def test_a_big_file_is_not_read(hub: LocalHub, tmp_path: Path) -> None:
    big = tmp_path / "big.gguf"
    with big.open("wb") as file:
        file.truncate(1 << 40)
    hub.commit(REPO, {"big.gguf": big}, sha256={"big.gguf": "ab" * 32})
    assert get_hf_file_metadata(resolve(hub, "big.gguf"), token=False).size == 1 << 40
    reply = ask(cdn(hub, "big.gguf", "ab" * 32), Range=f"bytes={(1 << 40) - 10}-")
    assert (reply.status, reply.headers["content-range"]) == (
        206,
        f"bytes {(1 << 40) - 10}-{(1 << 40) - 1}/{1 << 40}",
    )
    assert reply.body == bytes(10)


@pytest.mark.parametrize(
    ("header", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=255990-", 206, 255990, 256000),
        ("bytes=-5", 206, 255995, 256000),
        ("bytes=100-999999999", 206, 100, 256000),
        ("bytes=1-2,5-6", 200, 0, 256000),
        ("lines=1-2", 200, 0, 256000),
        ("bytes=256000-", 416, 0, 0),
        ("bytes=5-2", 416, 0, 0),
    ],
)
def test_ranges(hub: LocalHub, header: str, status: int, start: int, stop: int) -> None:
    reply = ask(cdn(hub), Range=header)
    assert reply.status == status
    if status == 416:
        assert reply.headers["content-range"] == "bytes */256000"
        return
    assert reply.body == WEIGHTS[start:stop]
    assert hub.requests[-1].range == ((start, stop) if status == 206 else None)
    assert hub.complete_fetches("model.safetensors") == (status == 200)
    assert ask(cdn(hub), Range="bytes=1-", If_Range='"other"').status == 200
    assert ask(cdn(hub), Range="bytes=1-", If_Range=f'"{SHA}"').status == 206


def test_fetches_are_counted_by_their_least_sent_byte(hub: LocalHub) -> None:
    counts = []
    for header in ("bytes=0-99", "bytes=100-199999", "bytes=200000-", "bytes=50-", "bytes=0-49"):
        ask(cdn(hub), Range=header)
        counts.append(hub.complete_fetches("model.safetensors"))
    assert counts == [0, 0, 1, 1, 2]
    assert hub.sent("model.safetensors") == hub.sent() == 2 * len(WEIGHTS)
    ask(cdn(hub), "HEAD")
    assert hub.complete_fetches("model.safetensors") == 2
    assert [ask(f"{hub.url}/x").status, hub.complete_fetches("config.json")] == [404, 0]
    hub.forget()
    assert (hub.requests, hub.sent()) == ([], 0)


def test_a_plain_folder(hub: LocalHub, tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    base = hub.serve_folder("/files/v3-like/", tmp_path)
    assert base == f"{hub.url}/files/v3-like"
    reply = ask(f"{base}/model.safetensors", Range="bytes=5-9")
    assert (reply.status, reply.body, reply.headers["accept-ranges"]) == (
        206,
        WEIGHTS[5:10],
        "bytes",
    )
    assert not [name for name in reply.headers if name.startswith("x-")]
    assert (
        ask(f"{base}/model.safetensors", Range="bytes=5-9", If_Range=reply.headers["etag"]).status
        == 206
    )
    sums = ask(f"{base}/SHA256SUMS").body.decode().splitlines()
    assert sums == [f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}" for name in sorted(FILES)]
    assert [
        ask(f"{base}/{name}").status for name in ("none", "", "../v3-like/config.json", "sub")
    ] == [404] * 4
    hub.fault("sub/notes.txt", "flip", at=0)
    assert [ask(f"{base}/sub/notes.txt").body for _ in range(2)] == [b"\x9eb\n", b"ab\n"]
    (tmp_path / "SHA256SUMS").write_bytes(b"its own\n")
    hub.serve_folder("/files/v3-like", tmp_path)
    assert ask(f"{base}/SHA256SUMS", "HEAD").headers["content-length"] == "8"
    assert ask(f"{base}/SHA256SUMS").body == b"its own\n"


@pytest.mark.timeout(60)
def test_it_stops_while_clients_wait() -> None:
    with LocalHub() as other:
        other.add(REPO, FILES)
        other.fault("config.json", "stall", origin="hub", at=5)
        parts = urlsplit(other.url)
        with contextlib.closing(HTTPConnection(parts.netloc, timeout=120)) as connection:
            connection.request("GET", f"/api/resolve-cache/models/{REPO}/main/config.json")
            answer = connection.getresponse()
            assert answer.read(5) == CONFIG[:5]
            other.__exit__(None)
            with pytest.raises((HTTPException, ConnectionError)):
                answer.read()


def test_in_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(CONFIG)
    command = [sys.executable, str(local_hub.__file__), str(tmp_path), REPO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
        plain = process.stdout.readline().strip()
        assert json.loads(ask(f"{url}/api/models/{REPO}").body)["siblings"] == [
            {"rfilename": "config.json"}
        ]
        assert ask(f"{plain}/config.json").body == CONFIG
        process.send_signal(signal.SIGINT)
        assert exit_code_of(process) == 0
