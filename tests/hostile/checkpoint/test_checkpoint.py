"""Proves that a checkpoint whose files do not fit together is refused, and that none of them leads
out of its folder.

The index and what it points to, links, things that are not files; then the same through the real
binary: exit code 1, one line.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.damage import (
    FIRST,
    INDEX,
    SECOND,
    SINGLE,
    Case,
    Damage,
    config,
    content,
    convert_to,
    each,
    fifo,
    impatience,
    in_json,
    poked,
    put,
    refusal,
    removed,
    several,
    split_shard,
    with_tensor,
)
from support.cli.running import Run

from dslocal.convert import FolderSource
from dslocal.gguf.header import read_header

OF_FIRST = "model.embed_tokens.weight"
COMMIT = "0123456789abcdef" * 2 + "01234567"
Index = partial(Case, file=INDEX)
Second = partial(Case, file=SECOND)


def rows() -> Iterator[Case]:
    yield from _index()
    yield from _pointers()
    yield from _shards()
    yield from _other_files()


def _index() -> Iterator[Case]:
    yield Index("index not JSON", content(INDEX, b"{"), "is not valid JSON")
    yield Index(
        "index not UTF-8",
        content(INDEX, b'{"weight_map": {"\xff": "x.safetensors"}}'),
        "is not valid JSON",
    )
    yield Index("index too deep", content(INDEX, b"[" * 100_000), "is not valid JSON")
    yield Index(
        "half a surrogate pair",
        in_json(INDEX, put("weight_map", "\ud800", FIRST)),
        "is not valid JSON",
    )
    yield Index("index empty", content(INDEX, b""), "is not valid JSON")
    yield Index("index a list", content(INDEX, b"[]"), "is not a JSON object")
    yield Index("index too long", hole(INDEX, (64 << 20) + 1), "is 67,108,865 bytes long")
    for value in each(..., None, [], {}, "x", 1, [[OF_FIRST, FIRST]]):
        yield Index(
            f"weight_map {value!r}", in_json(INDEX, put("weight_map", value)), "has no weight_map"
        )
    many = {f"t{i}": f"model-{i:06d}-of-100000.safetensors" for i in range(100_000)}
    yield Index("100,000 shards", in_json(INDEX, put("weight_map", many)), "lists 100,000 shards")
    many = {f"t{i}": FIRST for i in range(100_000)}
    yield Case(
        "100,000 tensors",
        in_json(INDEX, put("weight_map", many)),
        "is not there",
        file=FIRST,
        tensor="t0",
    )
    for name in ("a\x1b[2J", "a\nb", "x" * 513):
        yield Index(
            f"a tensor named {name!r:.10}",
            in_json(INDEX, put("weight_map", name, FIRST)),
            "unusable name",
        )


def _pointers() -> Iterator[Case]:
    out = (
        "../x.safetensors",
        "/etc/passwd",
        "/etc/x.safetensors",
        "a/b.safetensors",
        "..",
        ".",
        "",
        "a\\b.safetensors",
        "C:x.safetensors",
    )
    bad = (
        "a\x1b[2J.safetensors",
        "a\n.safetensors",
        "a\0.safetensors",
        "\u202e.safetensors",
        "a.bin",
        "config.json",
    )
    for shard in each(
        *out, *bad, "x" * 300 + ".safetensors", 1, None, True, [FIRST], {}, _nested(500)
    ):
        damage = in_json(INDEX, put("weight_map", OF_FIRST, shard))
        yield Index(
            f"points to {str(shard)[:24]!r}",
            damage,
            "which is not a shard of this checkpoint",
            tensor=OF_FIRST,
        )
    yield Second(
        "a tensor in the other shard",
        in_json(INDEX, put("weight_map", OF_FIRST, SECOND)),
        "is not there",
        tensor=OF_FIRST,
    )
    yield Second(
        "a tensor in no shard",
        in_json(INDEX, put("weight_map", "model.x", SECOND)),
        "is not there",
        tensor="model.x",
    )
    yield Case(
        "a name of 255 wide characters",
        in_json(INDEX, put("weight_map", OF_FIRST, WIDE)),
        "cannot be read",
        file=WIDE,
    )


def _shards() -> Iterator[Case]:
    yield Second("missing", removed(SECOND), "is missing from")
    yield Second(
        "a folder",
        several(removed(SECOND), lambda folder: (folder / SECOND).mkdir()),
        "is not a regular file",
    )
    yield Second("a FIFO", fifo(SECOND), "is not a regular file")
    yield Second("a socket", several(removed(SECOND), bound(SECOND)), "is not a regular file")
    yield Second("a link to a device", link(SECOND, "/dev/zero"), "is a link out of the checkpoint")
    yield Second(
        "a link to a file outside",
        several(moved(SECOND, "../x"), link(SECOND, "../x")),
        "is a link out of the checkpoint",
    )
    yield Second(
        "a link by a way outside",
        several(moved(SECOND, "../x\x1b[2J"), link(SECOND, "../x\x1b[2J")),
        "is a link out of the checkpoint",
    )
    yield Second("a link to nothing", link(SECOND, "nothing"), "is missing from")
    yield Second("a link to itself", link(SECOND, SECOND), "cannot be read")
    yield Second("a link to the other shard", link(SECOND, FIRST), "is also in", tensor=OF_FIRST)
    yield Case("one shard empty", content(FIRST, b""), "is cut off or empty", file=FIRST)
    twice = with_tensor(
        SECOND, OF_FIRST, "BF16", [320, 32], bytes(20480)
    )  # the index lists the second shard first then
    yield Case("a tensor in both", twice, f"is also in {SECOND}", file=FIRST, tensor=OF_FIRST)
    yield Second(
        "no index, and a gap", several(removed(INDEX), removed(SECOND)), "1 of 2 are not here"
    )
    yield Case("no shard at all", removed(SINGLE), "is missing from", file=SINGLE, base="llama")
    yield Case(
        "blobs beside a folder that is not the hub's",
        other_blobs,
        "is a link out of the checkpoint",
        file="config.json",
        base="llama",
    )


def _other_files() -> Iterator[Case]:
    for file in ("config.json", "tokenizer.json"):
        yield Case(f"{file} missing", removed(file), "is missing from", file=file)
        yield Case(
            f"{file} a link outside",
            link(file, "/etc/hostname"),
            "is a link out of the checkpoint",
            file=file,
        )
        yield Case(f"{file} a FIFO", fifo(file), "is not a regular file", file=file)
        yield Case(f"{file} too long", hole(file, (256 << 20) + 1), "bytes long", file=file)
    for file in ("tokenizer_config.json", "generation_config.json"):
        yield Case(
            f"{file} a link outside",
            link(file, "/etc/passwd"),
            "is a link out of the checkpoint",
            file=file,
        )
        yield Case(f"{file} a list", content(file, b"[]"), "is not a JSON object", file=file)
        yield Case(f"{file} not JSON", content(file, b"\0"), "is not valid JSON", file=file)
        yield Case(
            f"{file} too long", hole(file, (4 << 20) + 1), "is 4,194,305 bytes long", file=file
        )


WIDE = "模" * 243 + ".safetensors"  # short enough in characters, too long in bytes


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def hole(file: str, size: int) -> Damage:
    """A file of ``size`` bytes that takes no room."""
    return lambda folder: os.truncate(folder / file, size)


def link(file: str, target: str) -> Damage:
    def do(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(target)

    return do


def moved(file: str, to: str) -> Damage:
    def do(folder: Path) -> None:
        (folder / file).rename(folder / to)

    return do


def bound(file: str) -> Damage:
    def do(folder: Path) -> None:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may not be long
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(file)
        finally:
            os.chdir(here)

    return do


def to_blobs(folder: Path, blobs: Path) -> None:
    """Moves every file into ``blobs`` under its hash and leaves links, as huggingface_hub's cache
    does.
    """
    blobs.mkdir(parents=True)
    for path in list(folder.iterdir()):
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(blob)
        path.symlink_to(os.path.relpath(blob, folder))


def other_blobs(folder: Path) -> None:
    to_blobs(folder, folder.parent.parent / "blobs")


@pytest.mark.parametrize("case", list(rows()), ids=lambda case: case.id)
def test_refused(case: Case, refused: Callable[[Case], None]) -> None:
    refused(case)


def test_links_within_the_folder_are_fine(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("llama")
    convert_to(folder, tmp_path / "plain.gguf")
    several(moved(SINGLE, "weights"), link(SINGLE, "weights"))(folder)
    convert_to(folder, tmp_path / "x.gguf")
    assert (tmp_path / "x.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()


def test_a_folder_whose_name_is_not_text(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("llama").rename(tmp_path / "a\udcffb")  # the byte 0xff
    convert_to(folder, tmp_path / "x.gguf")
    assert read_header(tmp_path / "x.gguf").text("general.name") == "a\ufffdb"


def test_the_hubs_cache_is_fine(copy: Callable[[str], Path], tmp_path: Path) -> None:
    model = tmp_path / "models--deepseek-ai--tiny"
    folder = model / "snapshots" / COMMIT
    folder.parent.mkdir(parents=True)
    copy("v3").rename(folder)
    to_blobs(folder, model / "blobs")
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    for place in (folder, linked):
        convert_to(place, tmp_path / "x.gguf")
        source = FolderSource(place)
        assert source.revision == COMMIT
        assert source.sha256(SECOND) == hashlib.sha256((folder / SECOND).read_bytes()).hexdigest()
    stray = tmp_path / "stray"
    stray.write_bytes((folder / SECOND).read_bytes())
    link(SECOND, str(stray))(folder)
    (tmp_path / "out").mkdir()
    assert "is a link out" in str(refusal(folder, tmp_path / "out"))


NOTE = ".cache/huggingface/download/config.json.metadata"


@pytest.mark.parametrize(
    ("note", "revision"),
    [
        (f"{COMMIT}\netag\n1.5\n".encode(), COMMIT),
        (b"x\n", ""),
        (b"", ""),
        (b"\xff", ""),
        (b"a" * 5000, ""),
        (None, ""),
    ],
    ids=["good", "no commit", "empty", "not UTF-8", "too long", "a FIFO"],
)
def test_the_hubs_notes(note: bytes | None, revision: str, copy: Callable[[str], Path]) -> None:
    folder = copy("llama")
    (folder / NOTE).parent.mkdir(parents=True)
    if note is None:
        os.mkfifo(folder / NOTE)
    else:
        (folder / NOTE).write_bytes(note)
    with impatience():
        assert FolderSource(folder).revision == revision


NAN = poked("model.layers.1.mlp.experts.2.up_proj.weight", 77, b"\x7f")
AT_THE_END = {
    "cut off": (content(SECOND, lambda old: old[:-100]), SECOND),
    "a FIFO": (fifo(SECOND), SECOND),
    "unknown family": (config(architectures=["GPT2LMHeadModel"]), "DeepseekV3ForCausalLM"),
    "NaN in an expert": (
        NAN,
        "model.layers.1.mlp.experts.2.up_proj.weight",
    ),  # found when all else is already underway
    "a name to upset terminals": (link(SECOND, "../\x1b[2J\n\x1b]0;x\x07"), SECOND),
}


@pytest.mark.parametrize(("damage", "words"), AT_THE_END.values(), ids=AT_THE_END)
def test_the_binary_says_one_line_and_leaves_nothing(
    damage: Damage, words: str, run: Run, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, out = copy("v3"), tmp_path / "out"
    out.mkdir()
    damage(folder)
    before = {path.name for path in folder.iterdir()}
    done = run("convert", folder, "-o", out / "x.gguf")
    assert done.returncode == 1
    assert done.stdout == b""
    lines = done.stderr.decode().removeprefix("converting v3 …\n").splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("dslocal: ")
    assert words in lines[0]
    assert lines[0].isprintable()
    assert list(out.iterdir()) == []
    assert {path.name for path in folder.iterdir()} == before
    assert split_shard((folder / FIRST).read_bytes())[0]
