"""Download whole checkpoints into the real client's cache, and let no wrong byte through.

What is here already is not fetched again.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache
from support.cli.running import Done
from support.hub.hub_runs import (
    REPO,
    Rig,
    converted,
    downloaded,
    listing,
    real_download,
    sha256,
    shards_of,
)
from support.hub.local_hub import MEMBER
from support.waiting import output_of

from dslocal.errors import ConversionError
from dslocal.hub.download import missing_weights
from dslocal.hub.shard_stream.used_ranges import UsedRanges

CONVERT = ("convert", REPO, "--quant", "Q4_K_M", "--force")
OUT = "v3-like-Q4_K_M.gguf"
SHARD = "model-00002-of-00003.safetensors"
INDEX = "model.safetensors.index.json"
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", INDEX)
EVERY = (*FILES, *(f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3)))


@pytest.fixture(scope="module")
def expected(small: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of what becomes of the real client's download."""
    folder = tmp_path_factory.mktemp("expected")
    return sha256(converted(downloaded(small, folder), folder / OUT))


def good(done: Done) -> str:
    """What a run that went well said on stderr."""
    assert done.returncode == 0, done.stderr
    return done.stderr.decode()


def refused(done: Done, code: int, *words: str) -> str:
    """What one that did not said at last, which is one line and no traceback."""
    last = done.stderr.decode().splitlines()[-1]
    assert (done.returncode, done.stdout, done.stderr.count(b"Traceback")) == (code, b"", 0), (
        done.stderr
    )
    for word in words:
        assert word in last
    return last


def in_cache(it: Rig, file: str) -> Path | None:
    """Where the real client finds ``file``."""
    found = try_to_load_from_cache(REPO, file, cache_dir=it.hf / "hub")
    return Path(found) if isinstance(found, str) else None


def blob_of(it: Rig, file: str) -> Path:
    """Return the entry of Hugging Face's cache that holds a file's content."""
    found = in_cache(it, file)
    assert found is not None
    return found.resolve()


def test_the_real_client_finds_what_was_downloaded(calm: Rig, small: Path) -> None:
    good(calm.inside(*CONVERT))
    assert {file: calm.hub.complete_fetches(file) for file in EVERY} == dict.fromkeys(EVERY, 1)
    for file in EVERY:
        found = in_cache(calm, file)
        assert found is not None
        assert found.is_symlink()
        assert found.read_bytes() == (small / file).read_bytes()
    calm.hub.forget()
    folder = real_download(calm.hub, calm.hf / "hub", local_files_only=True)
    assert folder.parent == calm.cached / "snapshots"
    assert (calm.cached / "refs" / "main").read_text(encoding="ascii") == folder.name
    assert real_download(calm.hub, calm.hf / "hub") == folder
    assert sum(calm.hub.complete_fetches(file) for file in EVERY) == 0
    assert sha256(converted(folder, calm.root / "other.gguf")) == sha256(calm.out / OUT)


def test_what_the_real_client_downloaded_is_used(calm: Rig) -> None:
    folder = real_download(calm.hub, calm.hf / "hub")
    before = listing(folder)
    calm.hub.forget()
    good(calm.inside(*CONVERT))
    assert [one.path for one in calm.hub.requests] == [f"/api/models/{REPO}/revision/main"]
    assert (listing(folder), calm.left()) == (before, [OUT])
    good(calm.inside(*CONVERT))  # the second time by its size and date
    assert len(calm.hub.requests) == 2


@pytest.mark.parametrize("file", [SHARD, "config.json"])
@pytest.mark.parametrize("how", ["a byte", "cut off", "longer"])
def test_a_damaged_file_in_the_cache(calm: Rig, small: Path, file: str, how: str) -> None:
    real_download(calm.hub, calm.hf / "hub")
    calm.hub.forget()
    blob, right = blob_of(calm, file), (small / file).read_bytes()
    wrong = {"a byte": right[:-1] + b"\0", "cut off": right[:-10], "longer": right + b"\0"}[how]
    blob.write_bytes(wrong)
    calm.hub.fault(file, "status", times=None, status=403)
    done = calm.inside(*CONVERT)
    refused(done, 1, f"{file}: not allowed (403)")
    assert (
        f"dslocal: hf:{REPO}: {file}: the copy in the cache is damaged; it is renamed and "
        "downloaded again" in done.stderr.decode()
    )
    assert blob.with_name(f"{blob.name}.damaged").read_bytes() == wrong
    assert (blob.exists(), calm.left()) == (False, [])
    calm.hub.forget()
    good(calm.inside(*CONVERT))
    assert blob_of(calm, file).read_bytes() == right
    assert {other: calm.hub.complete_fetches(other) for other in EVERY} == {
        other: int(other == file) for other in EVERY
    }
    assert not [name for name in listing(calm.hf) if name.endswith((".damaged", ".partial"))]


@pytest.mark.parametrize("file", EVERY)
def test_a_byte_that_is_flipped_once(calm: Rig, small: Path, expected: str, file: str) -> None:
    calm.hub.fault(file, "flip", at=(small / file).stat().st_size // 2)
    said = good(calm.inside(*CONVERT))
    assert f"hf:{REPO}: {file}: is damaged: its hash is " in said
    assert said.count("; put aside and fetched once more") == 1
    assert {other: calm.hub.complete_fetches(other) for other in EVERY} == {
        other: 2 if other == file else 1 for other in EVERY
    }
    assert not [name for name in listing(calm.hf) if name.endswith((".damaged", ".partial"))]
    assert sha256(calm.out / OUT) == expected


@pytest.mark.parametrize("file", EVERY)
def test_a_byte_that_is_flipped_twice(calm: Rig, small: Path, file: str) -> None:
    at = (small / file).stat().st_size // 2
    calm.hub.fault(file, "flip", times=2, at=at)
    refused(
        calm.inside(*CONVERT),
        1,
        f"{file}: is damaged",
        "twice",
        "the file was kept as ",
        ".damaged",
    )
    assert calm.left() == []
    assert in_cache(calm, file) is None
    damaged = [calm.hf / name for name in listing(calm.hf) if name.endswith(".damaged")]
    assert [path.read_bytes()[at] ^ 0xFF for path in damaged] == [(small / file).read_bytes()[at]]
    good(calm.inside(*CONVERT))
    assert {other: calm.hub.complete_fetches(other) for other in EVERY} == {
        other: 3 if other == file else 1 for other in EVERY
    }
    assert not [name for name in listing(calm.hf) if name.endswith((".damaged", ".partial"))]


def test_another_process_goes_on_in_the_middle_of_a_file(calm: Rig, small: Path) -> None:
    size, at = (small / SHARD).stat().st_size, 100_000
    calm.hub.fault(SHARD, "cut", at=at)
    calm.hub.fault(f"*{SHARD}", "status", skip=1, method="GET", origin="hub", status=403)
    done = calm.run(*CONVERT)
    assert (done.returncode, calm.left()) == (1, [])
    assert "not allowed (403)" in done.stderr.splitlines()[-1]
    before = len(calm.hub.requests)
    again = calm.run(*CONVERT)
    assert again.returncode == 0, again.stderr
    bodies = [one for one in calm.hub.requests[before:] if one.file == SHARD and one.status == 206]
    assert [(one.range, one.sent) for one in bodies] == [((at, size), size - at)]
    assert (calm.hub.sent(SHARD), calm.hub.complete_fetches(SHARD)) == (size, 1)


def test_two_processes_download_once(calm: Rig) -> None:
    calm.hub.fault("*.safetensors", "slow", times=None, rate=5e5)
    with (
        calm.start(*CONVERT, "-o", "one.gguf") as one,
        calm.start(*CONVERT, "-o", "two.gguf") as two,
    ):
        said = [output_of(process)[1] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), said
    assert (
        "".join(said).count(
            f"dslocal: hf:{REPO}: another process is downloading it; waiting for it"
        )
        == 1
    )
    assert {file: calm.hub.complete_fetches(file) for file in EVERY} == dict.fromkeys(EVERY, 1)
    assert calm.left() == ["one.gguf", "two.gguf"]
    assert sha256(calm.out / "one.gguf") == sha256(calm.out / "two.gguf")


@pytest.mark.parametrize("more", [(), ("--stream",)], ids=["whole", "stream"])
def test_the_token_reaches_the_hub_and_nobody_else(
    calm: Rig, small: Path, more: tuple[str, ...]
) -> None:
    calm.hub.add(REPO, small, gated=True)
    good(calm.inside(*CONVERT, *more, token=MEMBER))
    assert {(one.origin, one.authorized) for one in calm.hub.requests} == {
        ("hub", True),
        ("cdn", False),
    }
    assert not any(
        MEMBER.encode() in path.read_bytes() for path in calm.root.rglob("*") if path.is_file()
    )


def test_without_a_network(calm: Rig) -> None:
    offline = {"HF_HUB_OFFLINE": "1"}
    nothing = calm.inside(*CONVERT, offline=True)
    refused(nothing, 1, f"hf:{REPO}: is not on this machine (HF_HUB_OFFLINE is set")
    refused(
        calm.inside(*CONVERT, "--stream", offline=True),
        1,
        f"hf:{REPO}: is not on this machine (HF_HUB_OFFLINE is set",
    )
    assert calm.left() == []
    good(calm.inside(*CONVERT))
    expected = sha256(calm.out / OUT)
    calm.hub.forget()
    done = calm.run(*CONVERT, env=offline)
    assert (
        done.returncode,
        done.stderr.count("network"),
        done.stderr.count("not on this machine"),
    ) == (0, 0, 0), done.stderr
    assert sha256(calm.out / OUT) == expected
    shard = in_cache(calm, SHARD)
    assert shard is not None
    shard.unlink()
    done = calm.run(*CONVERT, env=offline)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert (
        f"hf:{REPO}: 1 of its files are missing here: {SHARD} (HF_HUB_OFFLINE is set" in done.stderr
    )
    assert calm.hub.requests == []


def test_what_is_here_is_used_when_the_hub_is_gone(calm: Rig) -> None:
    good(calm.inside(*CONVERT))
    calm.hub.forget()
    calm.hub.fault("/*", "status", times=None, status=500)
    assert f"hf:{REPO}: 127.0.0.1 answers 500; using the copy that is here" in good(
        calm.inside(*CONVERT)
    )


def test_a_disk_that_is_too_small(calm: Rig, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = sum((small / file).stat().st_size for file in EVERY)
    free = [needed - 1]
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free[0]}))
    refused(
        calm.inside(*CONVERT),
        1,
        f"hf:{REPO}: 0.8 MB are needed in ",
        "0.8 MB are free (free some space; --stream needs the least",
    )
    assert [one.file for one in calm.hub.requests] == [""]
    assert (calm.left(), [name for name in listing(calm.hf) if not name.endswith(".lock")]) == (
        [],
        [],
    )
    free[0] = 10 * needed
    good(calm.inside(*CONVERT))


def test_git_hashes_are_git_hashes(calm: Rig, small: Path) -> None:
    good(calm.inside(*CONVERT))
    content = (small / "config.json").read_bytes()
    assert (
        blob_of(calm, "config.json").name
        == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    )
    assert {blob_of(calm, shard).name for shard in shards_of(small)} == {
        sha256(small / shard) for shard in shards_of(small)
    }


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"{}", b'{"weight_map": 7}', b"\xff"])
def test_an_index_that_makes_no_sense_names_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INDEX).write_bytes(content)
    assert missing_weights(tmp_path) == []


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"piece": 7}', b"7", b"\xff"])
def test_damaged_notes_of_a_stream(tmp_path: Path, content: bytes) -> None:
    notes = tmp_path / "it's" / "used.jsonl"
    notes.parent.mkdir()
    notes.write_bytes(content + b"\n")
    with pytest.raises(ConversionError) as error:
        UsedRanges(notes)
    assert str(error.value) == f"{notes}: is damaged"
    assert error.value.hint == f"to start over: rm -r {shlex.quote(str(notes.parent))}"
    assert notes.read_bytes() == content + b"\n"
