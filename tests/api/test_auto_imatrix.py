"""Prove that ``imatrix="auto"`` is one resumable piece of work, whichever phase it is killed in.

nano is converted to Q8_0, evaluates the calibration text, and is converted with the matrix; the
bytes are those of an uninterrupted run, and nothing but the output stays.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.cli.running import clean_environment
from support.waiting import output_of

import dslocal
from dslocal.api.quantization.auto_files import AutoImatrix
from dslocal.convert.recipes.imatrix_sums import read_sums
from dslocal.gguf.header import read_header

QUANT = "IQ2_XXS"
PROGRAM = """
import sys, time
from pathlib import Path
import dslocal
from dslocal.api.quantization import importance
from dslocal.api.quantization.auto_files import AutoImatrix
from dslocal.convert import executor
executor.SAVE_EVERY_S = 0.02
importance.SAVE_S = 0.0
work, source, out, stop_at_end = sys.argv[1:]
phase, begin_writing = "model", AutoImatrix.begin_writing
def entered(self):
    global phase
    phase = "quantize"
    begin_writing(self)
AutoImatrix.begin_writing = entered
def on_progress(state):
    print(f"{phase} {state.done / state.total:.3f}", flush=True)
    time.sleep(0.02)
def on_evaluated(done, total):
    print(f"imatrix {done / total:.3f}", flush=True)
    time.sleep(0.05)
if stop_at_end == "yes":
    def finish(self):
        print("end 1", flush=True)
        time.sleep(600)
    AutoImatrix.finish = finish
function = getattr(dslocal, work)
function(source, out, quant="IQ2_XXS", imatrix="auto", jobs=1,
         on_progress=on_progress, on_evaluated=on_evaluated)
"""
KILLS = [
    ("model", 0.1),
    ("model", 0.6),
    ("imatrix", 0.1),
    ("imatrix", 0.5),
    ("imatrix", 0.99),
    ("quantize", 0.05),
    ("quantize", 0.6),
    ("end", 0.0),
]


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**clean_environment(), "DSLOCAL_HOME": str(home)},
    )


def killed(process: subprocess.Popen[str], phase: str, share: float) -> None:
    """Kill a process once it has come so far in a phase."""
    assert process.stdout is not None
    for line in process.stdout:
        name, _, at = line.partition(" ")
        if name == phase and float(at) >= share:
            process.kill()
            return
    raise AssertionError(f"it ended before {phase} {share}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What uninterrupted runs write, by what they do."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLOCAL_HOME", str(folder / "home"))
        (made,) = dslocal.convert("nano", folder / "out.gguf", quant=QUANT, imatrix="auto")
        (good,) = dslocal.convert("nano", folder / "good.gguf", quant="Q8_0")
        (folder / "again").mkdir()
        (again,) = dslocal.quantize(
            good.path, folder / "again" / "out.gguf", quant=QUANT, imatrix="auto"
        )
    return {
        "convert": made.path.read_bytes(),
        "quantize": again.path.read_bytes(),
        "good": good.path.read_bytes(),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "share"), KILLS)
def test_a_killed_conversion_ends_with_the_same_bytes(
    undisturbed: dict[str, bytes], tmp_path: Path, phase: str, share: float
) -> None:
    out = tmp_path / "work" / "out.gguf"
    out.parent.mkdir()
    ends = "yes" if phase == "end" else "no"
    with start(tmp_path / "home", "convert", "nano", str(out), ends) as process:
        killed(process, phase, share)
    assert any(file.name != out.name for file in out.parent.iterdir())
    with start(tmp_path / "home", "convert", "nano", str(out), "no") as process:
        output, _ = output_of(process, limit_s=240)
    assert process.returncode == 0
    phases = [line.split()[0] for line in output.splitlines()]
    assert ("model" in phases) == (phase == "model")
    assert ("imatrix" in phases) == (phase in ("model", "imatrix"))
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    assert out.read_bytes() == undisturbed["convert"]


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "share"), [kill for kill in KILLS if kill[0] != "model"])
def test_a_killed_quantization_ends_with_the_same_bytes(
    undisturbed: dict[str, bytes], tmp_path: Path, phase: str, share: float
) -> None:
    source, out = tmp_path / "good.gguf", tmp_path / "work" / "out.gguf"
    out.parent.mkdir()
    source.write_bytes(undisturbed["good"])
    ends = "yes" if phase == "end" else "no"
    with start(tmp_path / "home", "quantize", str(source), str(out), ends) as process:
        killed(process, phase, share)
    with start(tmp_path / "home", "quantize", str(source), str(out), "no") as process:
        output_of(process, limit_s=240)
    assert process.returncode == 0
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    assert out.read_bytes() == undisturbed["quantize"]


def test_intermediate_files_are_kept_on_request(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path_factory.mktemp("home")))
    out, steps = tmp_path / "out.gguf", []
    dslocal.convert(
        "nano",
        out,
        quant="Q2_K",
        imatrix="auto",
        keep_intermediate=True,
        on_evaluated=lambda done, total: steps.append((done, total)),
    )
    matrix, model = tmp_path / "out.auto-imatrix.gguf", tmp_path / "out.auto-imatrix-model.gguf"
    assert set(tmp_path.iterdir()) == {matrix, model, out}
    assert steps[-1] == (read_sums(matrix).chunks, len(steps))
    assert read_header(model).metadata["dslocal.recipe"] == "Q8_0"
    assert read_header(out).metadata["quantize.imatrix.file"] == matrix.name
    dslocal.convert("nano", tmp_path / "by-hand.gguf", quant="Q2_K", imatrix=matrix)
    assert (tmp_path / "by-hand.gguf").read_bytes() == out.read_bytes()


@pytest.mark.usefixtures("home")
def test_what_another_source_left_is_not_used(tmp_path: Path) -> None:
    auto = AutoImatrix(tmp_path / "out.gguf", False, load=lambda *_: pytest.fail("not loaded"))
    auto.begin("one source")
    for file in (auto.model, auto.matrix, tmp_path / "out.auto-imatrix-model.gguf.part"):
        file.write_bytes(b"left")
    auto.begin("one source")
    assert auto.matrix.read_bytes() == b"left"
    auto.begin("another source")
    assert [file.name for file in tmp_path.iterdir()] == ["out.auto-imatrix.json"]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("options", [{"mtp": "only"}, {"mtp": "dspark-only"}])
def test_a_draft_model_alone_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(dslocal.UsageError, match="draft model"):
        dslocal.convert("nano", tmp_path / "out.gguf", quant=QUANT, imatrix="auto", **options)
