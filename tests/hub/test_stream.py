"""Stream a checkpoint on little disk, whatever interrupts it, with the result of a download."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.utils import close_session
from support.hub.hub_runs import (
    REPO,
    DiskWatch,
    Rig,
    converted,
    downloaded,
    listing,
    rig,
    sha256,
    shards_of,
    tensors_of,
)
from support.hub.stream_trials import (
    OUT,
    RATE,
    SMALL,
    Trial,
    big_checkpoint,
    middling_checkpoint,
    random_faults,
    when_a_shard_is_done,
)
from support.waiting import output_of, wait_until

import dslocal.convert as converter
from dslocal.hub.repository import HubRepository
from dslocal.hub.shard_stream import stream_checkpoint

STREAM = ("convert", REPO, "--stream", "--quant", "Q4_K_M")
OTHER_COMMIT = "f" * 40


@pytest.fixture(scope="module")
def middling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of seven shards of 1 MB each."""
    return middling_checkpoint(tmp_path_factory.mktemp("middling"))


@pytest.fixture(scope="module")
def expected(middling: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the middling checkpoint's conversion from a folder."""
    folder = tmp_path_factory.mktemp("expected")
    return sha256(converted(downloaded(middling, folder), folder / OUT))


@pytest.fixture(scope="module")
def small_expected(small: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the small checkpoint's conversion from a folder."""
    folder = tmp_path_factory.mktemp("expected")
    return sha256(converted(downloaded(small, folder), folder / OUT))


@pytest.fixture
def busy(middling: Path, tmp_path: Path) -> Iterator[Rig]:
    """A hub with the middling checkpoint, slow enough for one to see what is going on."""
    with rig(tmp_path, middling) as it:
        it.hub.fault("*.safetensors", "slow", times=None, rate=RATE / 2)
        yield it


def test_bytes_fetches_and_disk(tmp_path: Path) -> None:
    big = big_checkpoint(tmp_path)
    index = json.loads((big / "model.safetensors.index.json").read_bytes())["weight_map"]
    scales = [name for name in index if name.endswith("_scale_inv")]
    assert len(scales) > 150
    assert all(index[name] != index[name.removesuffix("_scale_inv")] for name in scales)
    with rig(tmp_path / "rig", big) as it:
        it.hub.fault("*.safetensors", "slow", times=None, rate=RATE)
        trial = Trial(it, big).go()
        trial.require_good(sha256(converted(downloaded(big, tmp_path), tmp_path / "whole.gguf")))
        assert set(trial.fetched.values()) == {1}
        assert (listing(it.home), listing(it.hf)) == ([], [])
    assert trial.stderr.splitlines()[0] == "fetching v3-like: 21.6 MB of 21.6 MB …"


def test_the_same_from_every_kind_of_folder(
    small: Path, small_expected: str, calm: Rig, tmp_path: Path
) -> None:
    assert calm.inside(*STREAM).returncode == 0
    assert sha256(calm.out / OUT) == small_expected
    assert (
        sha256(converted(downloaded(small, tmp_path, plainly=True), tmp_path / "local.gguf"))
        == small_expected
    )
    assert tensors_of(converted(small, tmp_path / "plain.gguf")) == tensors_of(calm.out / OUT)


def test_interrupted_it_goes_on(middling: Path, expected: str, busy: Rig) -> None:
    """By Ctrl-C, after another process has been kept out."""
    trial = Trial(busy, middling)
    with DiskWatch(busy.root) as watch, trial.start() as process:
        when_a_shard_is_done(trial, process)
        second = busy.inside(*STREAM)
        process.send_signal(signal.SIGINT)
        _, complaint = output_of(process)
    assert (second.returncode, second.stdout, second.stderr.count(b"\n")) == (1, b"", 1)
    assert b"another process is writing there" in second.stderr
    assert process.returncode == 130
    assert "repeat the command to continue" in complaint.splitlines()[-1]
    assert "Traceback" not in complaint
    done, before = (
        [shard for shard, times in trial.fetched.items() if times],
        len(busy.hub.requests),
    )
    assert 0 < len(done) < 7
    assert not trial.out.exists()
    trial.go()
    trial.require_good(expected)
    assert set(trial.fetched.values()) == {1}
    assert all(one.sent < SMALL for one in busy.hub.requests[before:] if one.file in done)
    assert watch.peak <= trial.bound


def begin(it: Rig, small: Path, what: str = "weight") -> None:
    """Run a stream that ends in the middle, because the third shard is damaged on the hub.

    By default the damage is not where the shard is read ahead.
    """
    shard = shards_of(small)[2]
    tensors = converter.open_checkpoint(converter.FolderSource(small)).tensors
    tensor = next(t for name, t in tensors.items() if t.file == shard and name.endswith(what))
    it.hub.fault(shard, "flip", times=None, at=tensor.start + 2)
    done = it.inside(*STREAM)
    complaint = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 1
    assert f"{shard}: is damaged: its hash is " in complaint
    assert ", twice (the file was kept as " in complaint
    assert set(it.left()) > {f"{OUT}.journal", f"{OUT}.part", f"{OUT}.stream/{shard}.damaged"}
    assert not (it.out / f"{OUT}.stream" / shard).exists()
    it.hub.forget()


def test_main_moves_meanwhile(calm: Rig, small: Path, small_expected: str) -> None:
    begin(calm, small)
    moved = calm.hub.commit(REPO, {"config.json": b"{}", shards_of(small)[1]: b"other weights"})
    done = calm.inside(*STREAM)
    assert done.returncode == 0, done.stderr
    assert f"hf:{REPO} has moved to commit {moved[:12]}; continuing with " in done.stderr.decode()
    assert (sha256(calm.out / OUT), calm.left()) == (small_expected, [OUT])


def test_the_commit_of_the_start_is_gone(calm: Rig, small: Path, small_expected: str) -> None:
    begin(calm, small)
    commit = json.loads((calm.out / f"{OUT}.stream" / "resume.json").read_bytes())["commit"]
    calm.hub.commit(REPO, {"README.md": b"new"})
    calm.hub.drop_commit(REPO, commit)
    left = calm.left()
    done = calm.inside(*STREAM)
    complaint = done.stderr.decode()
    assert (done.returncode, complaint.count("\n"), calm.left()) == (3, 1, left)
    assert (
        f"commit {commit[:12]}, which was started, no longer exists (to start over: rm -r "
        in complaint
    )
    subprocess.run(
        complaint.rsplit("start over: ", 1)[1].rstrip(")\n").split(), cwd=calm.out, check=True
    )
    again = calm.inside(*STREAM)
    assert again.returncode == 0, again.stderr
    assert calm.left() == [OUT]
    assert sha256(calm.out / OUT) != small_expected  # which says what commit it is of
    assert tensors_of(calm.out / OUT) == tensors_of(converted(small, calm.root / "plain.gguf"))


def test_without_its_folder_it_starts_again(calm: Rig, small: Path, small_expected: str) -> None:
    """What could tell that the part that is converted is wrong, as it is here, is gone with it."""
    begin(calm, small, "_scale_inv")
    shutil.rmtree(calm.out / f"{OUT}.stream")
    done = calm.inside(*STREAM)
    assert done.returncode == 0, done.stderr
    assert (sha256(calm.out / OUT), calm.left()) == (small_expected, [OUT])
    assert {shard: calm.hub.complete_fetches(shard) for shard in shards_of(small)} == dict.fromkeys(
        shards_of(small), 1
    )


@pytest.mark.parametrize("damaged", [False, True])
def test_no_more_than_two_shards_are_here(calm: Rig, small: Path, damaged: bool) -> None:
    """Also when one of them is damaged: its second copy waits for the one that is in use."""
    first, second, third = shards_of(small)
    if damaged:
        calm.hub.fault(second, "flip", at=(small / second).stat().st_size - 1)
    beside = f"{second}.damaged" if damaged else second
    said: list[str] = []
    folder = calm.out / "x.gguf.stream"

    def here() -> set[str]:
        return {path.name for path in folder.glob("*.safetensors*")}

    with stream_checkpoint(
        HubRepository(REPO, endpoint=calm.hub.url), calm.out / "x.gguf", notify=said.append
    ) as source:
        source.begin([first, second, third], [])
        source.open(first).close()
        wait_until(lambda: beside in here())
        time.sleep(0.1)
        assert here() == {first, beside}
        source.release(first)
        source.open(second).close()
        wait_until(lambda: third in here())
        assert here() == {second, third}
        source.release(second)
        source.open(third).close()
    close_session()
    assert len([line for line in said if "put aside and fetched once more" in line]) == damaged
    assert calm.left() == []


def test_a_copy_that_was_put_aside_makes_room(calm: Rig, small: Path) -> None:
    begin(calm, small)
    shard = shards_of(small)[2]
    calm.hub.fault(shard, "slow", times=None, rate=1e6)
    with stream_checkpoint(
        HubRepository(REPO, endpoint=calm.hub.url), calm.out / OUT, notify=print
    ) as source:
        assert (calm.out / f"{OUT}.stream" / f"{shard}.damaged").exists()
        source.begin([shard], [])
        assert not (calm.out / f"{OUT}.stream" / f"{shard}.damaged").exists()
        source.open(shard).close()
    close_session()


@pytest.mark.parametrize("skip", [0, 3, 8])
def test_another_commit_in_mid_download(
    calm: Rig, small: Path, small_expected: str, skip: int
) -> None:
    """Of the shard's 9 answers 8 are about pieces that are read ahead."""
    calm.hub.fault(
        f"/{REPO}/resolve/*/{shards_of(small)[1]}",
        "headers",
        skip=skip,
        method="GET",
        headers={"X-Repo-Commit": OTHER_COMMIT},
    )
    done = calm.inside(*STREAM)
    assert calm.hub.faults_left == []
    complaint = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 1
    assert f"{shards_of(small)[1]}: comes from commit '{OTHER_COMMIT[:12]}', " in complaint
    assert calm.inside(*STREAM).returncode == 0
    assert (sha256(calm.out / OUT), calm.left()) == (small_expected, [OUT])


def place_in(small: Path, what: str) -> tuple[str, int]:
    """A file, and an offset in it, by what lies there."""
    checkpoint = converter.open_checkpoint(converter.FolderSource(small))
    scale = next(
        tensor
        for name, tensor in checkpoint.tensors.items()
        if name.endswith("down_proj.weight_scale_inv")
    )
    weight = next(
        tensor
        for name, tensor in checkpoint.tensors.items()
        if name.endswith("experts.1.down_proj.weight")
    )
    places = {
        "header": (scale.file, 20),
        "scale": (scale.file, scale.start + 3),
        "weight": (weight.file, weight.start + weight.nbytes - 1),
        "config": ("config.json", 5),
        "tokenizer": ("tokenizer.json", 5000),
        "index": ("model.safetensors.index.json", 99),
    }
    return places[what]


FLIPPED = [(what, skip) for what in ("header", "scale", "weight") for skip in (0, 1, 2)] + [
    ("config", 0),
    ("tokenizer", 0),
    ("index", 0),
]


@pytest.mark.parametrize(("what", "skip"), FLIPPED)
def test_a_byte_that_is_flipped_on_its_way(
    calm: Rig, small: Path, small_expected: str, what: str, skip: int
) -> None:
    file, at = place_in(small, what)
    calm.hub.fault(file, "flip", skip=skip, at=at)
    done = calm.inside(*STREAM)
    assert done.returncode == 0, done.stderr
    assert (sha256(calm.out / OUT), calm.left()) == (small_expected, [OUT])
    if skip == 0:
        assert calm.hub.faults_left == []
    struck = [one for one in calm.hub.requests if one.fault]
    whole = [one for one in struck if one.blob and one.sent == one.blob.size]
    assert done.stderr.count(b"put aside and fetched once more") == len(whole)


def test_what_is_read_ahead_and_turns_out_wrong_is_not_kept(
    calm: Rig, small: Path, small_expected: str
) -> None:
    """Two answers that agree, on a scale that the verified shard has not."""
    file, at = place_in(small, "scale")
    calm.hub.fault(file, "flip", times=3, at=at)
    done = calm.inside(*STREAM)
    assert (done.returncode, calm.left()) == (1, [])
    assert f"{file}: the " in done.stderr.decode()
    assert "differ from what was read before" in done.stderr.decode()
    calm.hub.forget()
    assert calm.inside(*STREAM).returncode == 0
    assert sha256(calm.out / OUT) == small_expected


def test_faults_and_a_kill(middling: Path, expected: str, busy: Rig) -> None:
    trial = Trial(busy, middling, impatient=True)
    busy.hub.forget()
    for pattern, kind, parameters in random_faults(random.Random(5), middling, 9):
        busy.hub.fault(pattern, kind, **parameters)
    busy.hub.fault("*.safetensors", "slow", times=None, rate=RATE / 2)
    trial.go([when_a_shard_is_done])
    trial.require_good(expected)
    assert trial.kills == 1
    assert len([kind for kind, _ in busy.hub.faults_done if kind != "slow"]) >= 8


def test_a_disk_that_is_too_small(calm: Rig, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sorted((small / shard).stat().st_size for shard in shards_of(small))
    free = sum(sizes[-2:])

    def usage(path: object) -> object:
        return type("Usage", (), {"free": free})

    monkeypatch.setattr("shutil.disk_usage", usage)
    done = calm.inside(*STREAM)
    assert (done.returncode, done.stderr.count(b"\n"), calm.left()) == (1, 1, [])
    assert b"MB are needed" in done.stderr or b"GB are needed" in done.stderr
    assert all(one.sent < SMALL for one in calm.hub.requests)
