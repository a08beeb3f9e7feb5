"""Proves that a hub that lies about its files is refused in one line, and that nothing is ever
written where it should not be.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hub.hub_answers import Blob
from support.hub.hub_lies import INDEX, READ_AHEAD, SHA1, SHARD, convert, refuse
from support.hub.hub_runs import REPO, Rig

API = f"/api/models/{REPO}/revision/*"
SHA256 = "ab" * 32
LARGEST_ALLOCATION = 64 << 20  # bytes
WAYS = pytest.mark.parametrize("more", [(), ("--stream",)], ids=["whole", "stream"])

Entry = dict[str, Any]


def entries_of(checkpoint: Path) -> list[Entry]:
    """What the hub says of these files."""
    found: list[Entry] = []
    for path in sorted(checkpoint.iterdir()):
        blob = Blob(path.name, path)
        found.append({"rfilename": path.name, "size": blob.size, "blobId": blob.blob_id})
        if blob.lfs:
            found[-1]["lfs"] = {"sha256": blob.sha256, "size": blob.size, "pointerSize": 1}
    return found


def test_what_the_hub_says_is_what_is_changed_here(liar: Rig, small: Path) -> None:
    """The tables below change something that would be accepted."""
    liar.hub.fault(API, "listing", times=None, entries=entries_of(small))
    assert convert(liar).returncode == convert(liar, "--stream", "--force").returncode == 0


UNUSABLE, OUTWARD = "lists a file with an unusable name, ", ", which leads out of the repository"
NAMES: dict[str, tuple[object, str]] = {
    **{
        name: (name, OUTWARD)
        for name in (
            "../x.json",
            "/etc/x.json",
            "a/../../x.json",
            "..",
            ".",
            "a/..",
            "a//x.json",
            "./x.json",
            "a/",
        )
    },
    **{
        repr(name): (name, UNUSABLE)
        for name in (
            "",
            "a\\x.json",
            "C:x.json",
            "\x1b[31mx.json",
            "x\n.json",
            "\u202ex.json",
            "\0.json",
        )
    },
    **{repr(name): (name, UNUSABLE) for name in (None, 5, True, 1.5, ["x.json"], {"a": "x.json"})},
    "\\ud800": ("\ud800.json", UNUSABLE),
    "too long": ("x" * 501 + ".json", UNUSABLE),
    "too long for a disk": ("x" * 300 + ".json", "with a name that is too long, "),
    "too long for a disk in bytes": ("a/" + "é" * 130 + ".json", "with a name that is too long, "),
    "twice": ("config.json", "lists 'config.json' twice"),
}


@WAYS
@pytest.mark.parametrize("case", NAMES)
def test_names(liar: Rig, small: Path, case: str, more: tuple[str, ...]) -> None:
    name, words = NAMES[case]
    liar.hub.fault(
        API,
        "listing",
        times=None,
        entries=[*entries_of(small), {"rfilename": name, "size": 5, "blobId": SHA1}],
    )
    refuse(liar, more, words, (1,))


BYTES = "the hub says that it has "
HASH = "for its hash"
SHA = "for its SHA-256"
NO_LFS: tuple[object, ...] = ({}, [], "x", True, 5)
CHANGES: dict[str, tuple[str, Entry, str]] = {
    **{
        f"size {size!r}": ("config.json", {"size": size}, BYTES)
        for size in (-1, True, None, 1.5, "5", 1 << 49, 10**30, [5], float("inf"))
    },
    **{
        f"blob {blob!r}": ("config.json", {"blobId": blob}, HASH)
        for blob in (None, "", "x" * 40, SHA1[:-1], SHA1 + "\n", SHA1.upper(), 5)
    },
    **{
        f"lfs size {size!r}": (SHARD, {"lfs": {"size": size, "sha256": SHA256}}, BYTES)
        for size in (-1, True, None, 1.5, "5", 1 << 49, 10**30, [5])
    },
    **{
        f"lfs sha {sha!r}": (SHARD, {"lfs": {"size": 5, "sha256": sha}}, SHA)
        for sha in (
            None,
            "",
            "x" * 64,
            SHA256[:-1],
            SHA256 + "\n",
            SHA256.upper(),
            "../" * 21 + "x",
            5,
            [SHA256],
        )
    },
    **{f"lfs {lfs!r}": (SHARD, {"lfs": lfs}, BYTES) for lfs in NO_LFS},
    "more than any disk": (SHARD, {"lfs": {"size": 1 << 47, "sha256": SHA256}}, "are free"),
    "a configuration of a TB": ("config.json", {"size": 1 << 40}, ""),
}


DEAR = (
    "more than any disk",
    "a configuration of a TB",
)  # which is found out when the file is wanted


@pytest.mark.parametrize(
    ("case", "more"), [*((case, ()) for case in CHANGES), *((case, ("--stream",)) for case in DEAR)]
)
def test_sizes_and_hashes(liar: Rig, small: Path, case: str, more: tuple[str, ...]) -> None:
    file, change, words = CHANGES[case]
    entries = [
        entry | change if entry["rfilename"] == file else entry for entry in entries_of(small)
    ]
    liar.hub.fault(API, "listing", times=None, entries=entries)
    if case == "more than any disk" and more:
        words = SHARD  # which has no such header
    refuse(liar, more, words, (1,))
    assert max((one.sent for one in liar.hub.requests if one.file == file), default=0) < READ_AHEAD


def test_a_configuration_of_a_hundred_megabytes(liar: Rig, small: Path) -> None:
    """For which there is room, so that it would come, were it not known to be wrong."""
    entries = [
        entry | {"size": 100 << 20} if entry["rfilename"] == "config.json" else entry
        for entry in entries_of(small)
    ]
    liar.hub.fault(API, "listing", times=None, entries=entries)
    refuse(
        liar,
        ["--stream"],
        "config.json: is 104,857,600 bytes long; more than 4,194,304 cannot be right",
        (1,),
    )
    assert [one.file for one in liar.hub.requests] == [""]
    assert liar.left() == []


def body(value: object) -> tuple[str, Entry]:
    return "body", {"body": value if isinstance(value, bytes) else json.dumps(value).encode()}


NONSENSE = "the hub's description of it is not valid"
NO_JSON = "the hub's description of it is not JSON"
ENDLESS = "is longer than 8,388,608 bytes"
ANSWERS: dict[str, tuple[tuple[str, Entry], str]] = {
    "nothing": (body(b""), NO_JSON),
    "a page": (body(b"<html>\x1b[2J</html>"), NO_JSON),
    "half an object": (body(b'{"sha": "'), NO_JSON),
    "no UTF-8": (body(b'{"sha": "\xff\xfe"}'), NO_JSON),
    "a list": (body([]), NONSENSE),
    "null": (body(None), NONSENSE),
    "an empty object": (body({}), NONSENSE),
    "no files": (body({"sha": SHA1}), NONSENSE),
    "files that are not a list": (body({"sha": SHA1, "siblings": {"config.json": 5}}), NONSENSE),
    "a commit that leads out": (body({"sha": "../" * 13 + "x", "siblings": []}), NONSENSE),
    "a commit that is a number": (body({"sha": 5, "siblings": []}), NONSENSE),
    "files without names": (
        body({"sha": SHA1, "siblings": [5]}),
        "the hub's list of its files is not valid",
    ),
    "no files at all": (body({"sha": SHA1, "siblings": []}), "config.json"),
    "so deep": (body(b"[" * 1_000_000), NO_JSON),
    "a long number": (body(b'{"sha": ' + b"9" * 100_000 + b"}"), NO_JSON),
    "400 MB": (("huge", {"megabytes": 400}), ENDLESS),
    "400 MB, as was said": (("huge", {"megabytes": 400, "chunked": False}), ENDLESS),
    "a million files": (
        (
            "listing",
            {
                "entries": (
                    {"rfilename": f"{n}.json", "size": 1, "blobId": SHA1} for n in range(10**6)
                )
            },
        ),
        ENDLESS,
    ),
    "thirty thousand files": (
        ("listing", {"entries": [{"rfilename": f"{n}"} for n in range(30_000)]}),
        "lists 30,000 files",
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers(liar: Rig, case: str) -> None:
    (kind, parameters), words = ANSWERS[case]
    liar.hub.fault(API, kind, times=None, **parameters)
    tracemalloc.start()
    try:
        refuse(liar, ["--stream"] if "no files" in case else [], words)
        assert tracemalloc.get_traced_memory()[1] < LARGEST_ALLOCATION
    finally:
        tracemalloc.stop()
    assert sum(one.sent for one in liar.hub.requests) < READ_AHEAD


def weight_map(small: Path, change: Callable[[dict[str, str]], object]) -> bytes:
    return json.dumps(
        {"weight_map": change(json.loads((small / INDEX).read_bytes())["weight_map"])}
    ).encode()


INDEXES: dict[str, tuple[Callable[[dict[str, str]], object], str]] = {
    "a way out": (
        lambda names: names | {"x": "../../x.safetensors"},
        "not a shard of this checkpoint",
    ),
    "the root": (
        lambda names: names | {"x": "/etc/x.safetensors"},
        "not a shard of this checkpoint",
    ),
    "no shard of it": (
        lambda names: names | {"x": "other.safetensors"},
        "other.safetensors: is missing from ",
    ),
    "another file": (lambda names: names | {"x": "config.json"}, "not a shard of this checkpoint"),
    "a list": (list, "has no weight_map"),
}


@WAYS
@pytest.mark.parametrize("case", INDEXES)
def test_indexes(liar: Rig, small: Path, case: str, more: tuple[str, ...]) -> None:
    change, words = INDEXES[case]
    liar.hub.commit(REPO, {INDEX: weight_map(small, change)})
    refuse(liar, more, words, (1,))
    assert liar.left() == []


def test_a_million_shards(liar: Rig) -> None:
    listed = ",".join(f'"{n}":"{n}.safetensors"' for n in range(10**6))
    liar.hub.commit(REPO, {INDEX: b'{"weight_map": {' + listed.encode() + b"}}"})
    refuse(liar, ["--stream"], "lists 1,000,000 shards", (1,))
    assert liar.left() == []
