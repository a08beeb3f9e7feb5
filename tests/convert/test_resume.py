"""Interrupted conversions continue and end with the same bytes: kill -9 at any moment, Ctrl-C, a
full disk, a damaged source.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.waiting import exit_code_of, output_of, wait_until

import dslocal.convert as converter
from dslocal.convert import kernels
from dslocal.convert.output import gguf_file
from dslocal.convert.output.journal import Journal
from dslocal.errors import CheckpointError, ConversionError

ARGUMENTS: dict[str, Any] = {
    "kind": "deepseek-v3",
    "dtype": "fp8",
    "shards": 4,
    "n_routed_experts": 16,
    "moe_intermediate_size": 256,
    "num_hidden_layers": 3,
}
RECIPES = ["IQ4_XS", "Q4_K_M"]
PROGRAM = """
import sys, time
from pathlib import Path
import dslocal.convert as converter
from dslocal.convert import executor
executor.SAVE_EVERY_S = 0.02
source, recipes, *outs = sys.argv[1:]
checkpoint = converter.open_checkpoint(converter.FolderSource(Path(source)))
plan = converter.plan_conversion(checkpoint, map(converter.recipe_named, recipes.split(",")))
print("planned", flush=True)
slow = lambda progress: time.sleep(0.01)  # slow enough to be killed in the middle
reports = converter.write_gguf(plan, [Path(out) for out in outs], on_progress=slow)
print(reports[0].resumed)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "checkpoint"
    return write_checkpoint(folder, **ARGUMENTS)


@pytest.fixture(scope="module")
def undisturbed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    converter.write_gguf(plan_of(checkpoint), outs_in(folder))
    return [out.read_bytes() for out in outs_in(folder)]


def plan_of(checkpoint: Path, recipes: list[str] = RECIPES) -> converter.ConversionPlan:
    return converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named(r) for r in recipes],
    )


def outs_in(folder: Path) -> list[Path]:
    return [folder / f"{recipe}.gguf" for recipe in RECIPES]


def start(checkpoint: Path, folder: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-P",
        "-c",
        PROGRAM,
        str(checkpoint),
        ",".join(RECIPES),
        *map(str, outs_in(folder)),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def units_done(folder: Path) -> int:
    """What the journal vouches for."""
    entry = Journal(outs_in(folder)[0]).read()
    return entry.done if entry else 0


def resumed_after_kill(checkpoint: Path, folder: Path, share: float) -> int:
    """Kill a conversion when ``share`` of it is on disk, and run it again: the units it found."""
    plan = plan_of(checkpoint)
    units = sum(plan.count(shard) for shard in plan.shards)
    with start(checkpoint, folder) as process:
        wait_until(lambda: units_done(folder) >= share * units, process)
        process.kill()
    with start(checkpoint, folder) as process:
        output, _ = output_of(process, limit_s=120)
    assert process.returncode == 0
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in outs_in(folder))
    return int(output.split()[-1])


def test_killed_in_the_middle(checkpoint: Path, undisturbed: list[bytes], tmp_path: Path) -> None:
    assert resumed_after_kill(checkpoint, tmp_path, 0.3) > 0
    assert [out.read_bytes() for out in outs_in(tmp_path)] == undisturbed


@pytest.mark.slow
def test_kill_at_random_moments(checkpoint: Path, undisturbed: list[bytes], tmp_path: Path) -> None:
    r = random.Random(1)
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        assert resumed_after_kill(checkpoint, folder, r.uniform(0.01, 0.7)) > 0
        assert [out.read_bytes() for out in outs_in(folder)] == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_at_random_moments_of_v4(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "kind": "deepseek-v4",
        "dtype": "fp4",
        "shards": 4,
        "n_routed_experts": 24,
    }
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **arguments)
    (tmp_path / "undisturbed").mkdir()
    expected = outs_in(tmp_path / "undisturbed")
    converter.write_gguf(plan_of(checkpoint), expected)
    r = random.Random(2)
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        assert resumed_after_kill(checkpoint, folder, r.uniform(0.01, 0.7)) > 0
        assert [out.read_bytes() for out in outs_in(folder)] == [o.read_bytes() for o in expected]


def test_ctrl_c_says_how_to_continue(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    command = [
        sys.executable,
        "-P",
        "-m",
        "dslocal",
        "convert",
        str(checkpoint),
        "-o",
        str(out),
        "--quant",
        "IQ4_XS",
        "--json",
        "--jobs",
        "1",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        process.stderr.readline()  # the first line of progress: it is converting
        process.send_signal(signal.SIGINT)
        _, complaint = output_of(process)
    assert process.returncode == 130
    assert "repeat the command to continue" in complaint.splitlines()[-1]
    assert not out.exists()
    assert subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.gguf"]


def test_another_plan_starts_from_the_beginning(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.gguf"
    _fail_after(monkeypatch, 40)
    with pytest.raises(ConversionError, match="No space left"):
        converter.write_gguf(plan_of(checkpoint, ["Q8_0"]), [out])
    monkeypatch.undo()
    assert (tmp_path / "out.gguf.part").exists()
    report = converter.write_gguf(plan_of(checkpoint, ["Q6_K"]), [out])[0]
    assert report.resumed == 0
    converter.write_gguf(plan_of(checkpoint, ["Q6_K"]), [tmp_path / "fresh.gguf"])
    assert out.read_bytes() == (tmp_path / "fresh.gguf").read_bytes()


def test_a_disk_that_fills_up(
    checkpoint: Path, undisturbed: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_after(monkeypatch, 60)
    with pytest.raises(ConversionError, match="No space left") as caught:
        converter.write_gguf(plan_of(checkpoint), outs_in(tmp_path))
    assert "continues where it stopped" in caught.value.hint
    assert not any(out.exists() for out in outs_in(tmp_path))
    monkeypatch.undo()
    converter.write_gguf(plan_of(checkpoint), outs_in(tmp_path))
    assert [out.read_bytes() for out in outs_in(tmp_path)] == undisturbed


def test_a_source_that_is_damaged_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    damaged = write_checkpoint(tmp_path / "damaged", **{**ARGUMENTS, "shards": 1})
    tensor = converter.open_checkpoint(converter.FolderSource(damaged)).tensors[
        "model.layers.3.mlp.experts.7.up_proj.weight"
    ]
    with (damaged / tensor.file).open("r+b") as file:
        file.seek(tensor.start + 5)
        file.write(b"\x7f")
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(CheckpointError, match=r"experts\.7\.up_proj.*NaN"):
        converter.write_gguf(plan_of(damaged), outs_in(folder))
    assert list(folder.iterdir()) == []


def test_two_processes_do_not_write_one_file(checkpoint: Path, tmp_path: Path) -> None:
    with start(checkpoint, tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
        wait_until((tmp_path / "IQ4_XS.gguf.part").exists, process)
        with pytest.raises(ConversionError, match="another process is writing it"):
            converter.write_gguf(plan_of(checkpoint), outs_in(tmp_path))
        assert exit_code_of(process) == 0
    assert all(out.exists() for out in outs_in(tmp_path))


def test_a_planted_link_is_not_written_through(checkpoint: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    outs = outs_in(tmp_path)
    outs[0].with_name(outs[0].name + gguf_file.PART).symlink_to(precious)
    with pytest.raises(ConversionError, match="is a link"):
        converter.write_gguf(plan_of(checkpoint), outs)
    assert precious.read_bytes() == b"precious"


@pytest.fixture
def kernels_are_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Return a function that says whether the kernels are there from now on."""
    compiled = kernels.compiled_levels()

    def pretend(there: bool) -> None:
        monkeypatch.setattr(kernels, "compiled_levels", lambda: compiled if there else {})
        kernels.best_kernels.cache_clear()

    yield pretend
    pretend(True)


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
@pytest.mark.skipif(not kernels.compiled_levels(), reason="no kernels were compiled")
def test_machines_with_and_without_kernels_continue_each_others_work(
    checkpoint: Path,
    undisturbed: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernels_are_compiled: Callable[[bool], None],
    is_first: bool,
) -> None:
    kernels_are_compiled(is_first)
    with monkeypatch.context() as patch:
        _fail_after(patch, 100)
        with pytest.raises(ConversionError, match="No space left"):
            converter.write_gguf(plan_of(checkpoint), outs_in(tmp_path))
    kernels_are_compiled(not is_first)
    report = converter.write_gguf(plan_of(checkpoint), outs_in(tmp_path))[0]
    assert report.resumed > 0
    assert [out.read_bytes() for out in outs_in(tmp_path)] == undisturbed


def _fail_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """The disk is full after that many writes."""
    left = [writes]

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(fd, data, offset)

    class Full:
        def __getattr__(self, name: str) -> object:
            return pwrite if name == "pwrite" else getattr(os, name)

    monkeypatch.setattr(gguf_file, "os", Full())
