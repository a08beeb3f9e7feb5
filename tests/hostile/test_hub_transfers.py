"""Proves that bytes on their way from a hub can lie about themselves as they like, and that planted
links lead nowhere.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from support.hub.hub_lies import OUT, READ_AHEAD, SHARD, convert, refuse
from support.hub.hub_runs import REPO, Rig, converted, listing, real_download, sha256

from dslocal.hub.repository import HubRepository

WAYS = pytest.mark.parametrize("more", [(), ("--stream",)], ids=["whole", "stream"])
Fault = tuple[str, dict[str, Any]]


@pytest.fixture(scope="session")
def expected(small: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of what becomes of an honest download."""
    from support.hub.hub_runs import downloaded

    folder = tmp_path_factory.mktemp("honest")
    return sha256(converted(downloaded(small, folder), folder / OUT))


HARMLESS: dict[str, Fault] = {
    "Content-Length: PB": ("length", {"length": 10**15}),
    "Content-Length: a little": ("length", {"length": 10_000}),
    "no Content-Length": ("chunked", {}),
    "no Content-Length, and no end": ("chunked", {"extra": 10**9}),
    "everything, whatever is asked": ("no_range", {}),
    "no Content-Range": ("headers", {"headers": {"Content-Range": None}}),
    "an invalid Content-Range": ("headers", {"headers": {"Content-Range": "x\x01\xff"}}),
    "other names in the answer": (
        "headers",
        {"headers": {"Content-Disposition": 'attachment; filename="../../x"', "ETag": '"../x"'}},
    ),
    "cookies": (
        "headers",
        {
            "headers": {
                "Content-Type": "text/html",
                "Set-Cookie": "a=b; Path=/",
                "ETag": "x" * 10_000,
            }
        },
    ),
}


@WAYS
@pytest.mark.parametrize("case", HARMLESS)
def test_lies_that_do_not_matter(
    liar: Rig, small: Path, expected: str, case: str, more: tuple[str, ...]
) -> None:
    kind, parameters = HARMLESS[case]
    liar.hub.fault(SHARD, kind, times=None, origin="cdn", **parameters)
    liar.hub.fault("config.json", kind, times=None, **parameters)
    done = convert(liar, *more)
    assert done.returncode == 0, done.stderr
    assert (sha256(liar.out / OUT), liar.left()) == (expected, [OUT])
    if not more:
        found = real_download(liar.hub, liar.hf / "hub", local_files_only=True)
        assert {
            file: (found / file).read_bytes() == (small / file).read_bytes()
            for file in (SHARD, "config.json")
        } == {
            SHARD: True,
            "config.json": True,
        }
    assert max(one.sent for one in liar.hub.requests) < READ_AHEAD


REFUSED: dict[str, tuple[str, Fault, str]] = {
    "another place": (
        SHARD,
        ("headers", {"headers": {"Content-Range": "bytes 5-10/11"}}),
        ": 127.0.0.1 sends 'bytes 5-10/11' where byte 0",
    ),
    "no place": (
        SHARD,
        ("headers", {"headers": {"Content-Range": "bytes */\x9b5"}}),
        ": 127.0.0.1 sends 'bytes */",
    ),
    "to a file": (
        SHARD,
        ("headers", {"headers": {"Location": "file:///etc/passwd"}}),
        "UnsupportedProtocol",
    ),
    "to nobody": (
        SHARD,
        ("headers", {"headers": {"Location": "http://127.0.0.1:1/x"}}),
        "no connection",
    ),
    "to nowhere": (
        SHARD,
        ("headers", {"headers": {"Location": None}}),
        f"{SHARD}: 127.0.0.1 answers 302 without a file",
    ),
    "to nonsense": (SHARD, ("headers", {"headers": {"Location": "http://[::1/\x01"}}), SHARD),
    "another hash": (
        SHARD,
        ("headers", {"headers": {"X-Linked-Etag": f'"{"ab" * 32}"'}}),
        "the hub now gives another hash for it than it listed",
    ),
    "another commit": (
        SHARD,
        ("headers", {"headers": {"X-Repo-Commit": "\x1b[31m"}}),
        "comes from commit '",
    ),
    "nothing at all": (
        "config.json",
        ("status", {"status": 204}),
        "config.json: 127.0.0.1 answers 204 without a file",
    ),
    "an answer with a bell": (
        "config.json",
        ("status", {"status": 400, "headers": {"X-Error-Message": "\x1b]0;x\x07"}}),
        "config.json",
    ),
    "another file": (
        "config.json",
        ("body", {"body": b'{"a": "file of another kind"}' * 100}),
        "config.json: is damaged",
    ),
    "compressed to nothing": ("config.json", ("gzip", {}), ""),
}


@WAYS
@pytest.mark.parametrize("case", REFUSED)
def test_lies_that_do(liar: Rig, case: str, more: tuple[str, ...]) -> None:
    file, (kind, parameters), words = REFUSED[case]
    liar.hub.fault(file, kind, times=None, **parameters)
    if case == "compressed to nothing":  # which is said, and undone
        assert convert(liar, *more).returncode == 0
        return
    refuse(liar, more, words)
    if file == "config.json":
        assert liar.left() == []


def test_an_endless_file_ends_where_it_was_listed_to(liar: Rig, small: Path) -> None:
    """Byte by byte, below everything else."""
    remote = HubRepository(REPO, endpoint=liar.hub.url)
    manifest = remote.manifest()
    file = manifest.file(SHARD)
    liar.hub.fault(SHARD, "chunked", times=None, extra=10**9)
    for start, stop in ((0, file.size), (5, 6), (file.size - 1, file.size), (7, 7)):
        assert (
            b"".join(remote.read_range(manifest, file, start, stop))
            == (small / SHARD).read_bytes()[start:stop]
        )
    liar.hub.forget()
    liar.hub.fault(SHARD, "no_range", times=None)
    for start, stop in ((0, 10), (100_000, 100_003), (file.size - 1, file.size)):
        assert (
            b"".join(remote.read_range(manifest, file, start, stop))
            == (small / SHARD).read_bytes()[start:stop]
        )
    liar.hub.forget()
    liar.hub.fault(SHARD, "headers", headers={"Content-Range": "bytes 1-2/3"})
    with pytest.raises(Exception, match="where byte 5 was asked for"):
        list(remote.read_range(manifest, file, 5, 6))


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


STREAM_LINKS = [
    "pieces.jsonl",
    "resume.json",
    "resume.json.new",
    "lock",
    "config.json",
    "config.json.partial",
    SHARD,
    f"{SHARD}.partial",
]
STREAM_LINKS += [f"{SHARD}.damaged", f"{SHARD}.partial.quick", "model.safetensors"]


@pytest.mark.parametrize("target", ["canary.json", "inner", "not/there"])
def test_links_in_the_folder_of_a_stream(
    liar: Rig, outside: Path, expected: str, target: str
) -> None:
    for name in STREAM_LINKS:
        link(liar.out / f"{OUT}.stream" / name, outside / target)
    done = convert(liar, "--stream")
    assert done.returncode == 0, done.stderr
    assert (sha256(liar.out / OUT), liar.left()) == (expected, [OUT])


def test_a_link_instead_of_that_folder(liar: Rig, outside: Path) -> None:
    link(liar.out / f"{OUT}.stream", outside)
    refuse(liar, ["--stream"], f"{OUT}.stream: is a link", (1,))


def sha1_of(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


CACHE_LINKS = [
    "blobs/{blob}",
    "blobs/{blob}.partial",
    "blobs/{blob}.damaged",
    "blobs/{blob}.partial.quick",
    "refs/main",
]
CACHE_LINKS += [
    "blobs/{small}",
    "blobs/{small}.partial",
    "snapshots/{commit}/config.json",
    "snapshots/{commit}/" + SHARD,
]


@pytest.mark.parametrize("target", ["canary.json", "inner", "not/there"])
def test_links_in_the_cache(
    liar: Rig, small: Path, outside: Path, expected: str, target: str
) -> None:
    named = {
        "blob": sha256(small / SHARD),
        "small": sha1_of((small / "config.json").read_bytes()),
        "commit": commit_of(liar),
    }
    for name in CACHE_LINKS:
        link(liar.cached / name.format(**named), outside / target)
    done = convert(liar)
    assert done.returncode == 0, done.stderr
    assert sha256(liar.out / OUT) == expected
    assert all((liar.hf / name).resolve().is_relative_to(liar.hf) for name in listing(liar.hf))


def commit_of(it: Rig) -> str:
    return HubRepository(REPO, endpoint=it.hub.url).manifest().commit


@pytest.mark.parametrize("folder", ["blobs", "snapshots", "snapshots/{commit}"])
def test_folders_of_the_cache_that_lead_out(liar: Rig, outside: Path, folder: str) -> None:
    link(liar.cached / folder.format(commit=commit_of(liar)), outside / "inner")
    refuse(liar, [], "is a link to a place outside the cache", (1,))


def test_a_model_that_was_moved_elsewhere_by_its_owner(liar: Rig, expected: str) -> None:
    """A link to a larger disk in place of the whole model is common, and is followed."""
    moved = liar.root / "larger disk" / liar.cached.name
    moved.mkdir(parents=True)
    link(liar.cached, moved)
    assert convert(liar).returncode == 0
    assert sha256(liar.out / OUT) == expected
    assert listing(moved / "snapshots")


REVISIONS = [
    "/etc/x",
    "../../../x",
    "a/../b",
    "a//b",
    "",
    "x\x1b[31m",
    "a b",
    "x" * 201,
    ".",
    "refs/../../x",
]


@pytest.mark.parametrize("revision", REVISIONS)
def test_revisions_that_lead_out(liar: Rig, revision: str) -> None:
    refuse(liar, ["--revision", revision], "--revision ", (2,))
    assert liar.hub.requests == []
