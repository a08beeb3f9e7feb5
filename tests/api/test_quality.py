"""``dslocal.quality``: llama-perplexity's figures, and what is kept, resumed, mended and refused.

Figures of llama-perplexity, built from the source in llama-cpp-python 0.3.36, are stored here. The
program itself is asked where DSLOCAL_ORACLE names a folder with llama.cpp's tools.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.checkpoints.oracle import ORACLE
from support.checkpoints.tiny_models import CHUNK, KINDS, TEXT, write_models
from support.cli.running import python

import dslocal
from dslocal.api.quality import measure
from dslocal.errors import DslocalError, EngineError, NotFoundError, UsageError
from dslocal.evaluation.divergence.figures import QualityFigures
from dslocal.evaluation.divergence.reference_file import open_reference
from dslocal.gguf.cpu_repack import repacked_types
from dslocal.home.paths import quality_dir

QUANTS = {kind: ("MXFP4", "Q2_K") if kind == "v4" else ("F16", "Q4_0") for kind in KINDS}
CHUNKS = 32
PEER_TRIES = 10
# llama-perplexity -c 64 -b 64 -ub 64 -t 1 -fa on, of each kind in its second quantization
STORED: dict[str, dict[str, float]] = {
    "dense": {
        "ppl": 465.596954,
        "base": 482.776893,
        "ratio": -0.036234,
        "mean": 0.042262,
        "error": 0.000429,
        "median": 0.039573,
        "p99": 0.081359,
        "max": 0.105747,
        "top": 55.242,
        "rms": 0.184,
    },
    "moe": {
        "ppl": 592.771422,
        "base": 618.957580,
        "ratio": -0.043228,
        "mean": 0.059009,
        "error": 0.000651,
        "median": 0.056097,
        "p99": 0.117072,
        "max": 0.160107,
        "top": 51.714,
        "rms": 0.144,
    },
    "mla": {
        "ppl": 521.239885,
        "base": 553.059151,
        "ratio": -0.059255,
        "mean": 0.307908,
        "error": 0.004690,
        "median": 0.286311,
        "p99": 0.698874,
        "max": 0.886511,
        "top": 20.363,
        "rms": 0.285,
    },
    "v4": {
        "ppl": 571.898749,
        "base": 570.408249,
        "ratio": 0.002610,
        "mean": 0.384336,
        "error": 0.002820,
        "median": 0.375462,
        "p99": 0.630959,
        "max": 0.693120,
        "top": 12.601,
        "rms": 0.263,
    },
}
# The same with --no-repack, on a Xeon with AMX, where dslocal rearranges nothing either
STORED_NOT_REARRANGED: dict[str, dict[str, float]] = {
    "dense": {
        "ppl": 465.649367,
        "base": 482.776893,
        "ratio": -0.036122,
        "mean": 0.042269,
        "median": 0.039521,
        "p99": 0.081359,
        "max": 0.105747,
        "top": 55.645,
        "rms": 0.185,
    },
    "moe": {
        "ppl": 593.016357,
        "base": 618.95758,
        "ratio": -0.042815,
        "mean": 0.059004,
        "median": 0.056052,
        "p99": 0.117072,
        "max": 0.160107,
        "top": 51.512,
        "rms": 0.144,
    },
    "mla": {
        "ppl": 523.170642,
        "base": 553.059151,
        "ratio": -0.055557,
        "mean": 0.305921,
        "median": 0.284024,
        "p99": 0.695411,
        "max": 0.887734,
        "top": 20.766,
        "rms": 0.284,
    },
    "v4": {
        "ppl": 570.988387,
        "base": 569.831485,
        "ratio": 0.002028,
        "mean": 0.384291,
        "median": 0.375039,
        "p99": 0.6277,
        "max": 0.690945,
        "top": 12.5,
        "rms": 0.263,
    },
}
LINES = {
    "ppl": "Mean PPL(Q) ",
    "base": "Mean PPL(base)",
    "ratio": "Mean ln(PPL(Q)/PPL(base))",
    "mean": "Mean    KLD",
    "median": "Median  KLD",
    "p99": "99.0%   KLD",
    "max": "Maximum KLD",
    "top": "Same top p",
    "rms": "RMS Δp",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    (made / "text.txt").write_text(TEXT)
    return made


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, list[Path]]:
    """The reference and the model of each kind."""
    return {kind: write_models(folder, kind, QUANTS[kind]) for kind in KINDS}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))


@dataclass
class Call:
    """Calls dslocal.quality, and takes down what it reports."""

    text: Path
    chunks: list[tuple[str, int, int]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __call__(
        self,
        model: Path,
        reference: Path,
        *,
        stop_at: tuple[str, int] | None = None,
        **more: Any,
    ) -> QualityFigures:
        self.chunks.clear()
        self.notices.clear()

        def on_progress(what: str, done: int, of: int) -> None:
            self.chunks.append((what.partition(" ")[0], done, of))
            if stop_at and what.startswith(stop_at[0]) and done == stop_at[1]:
                raise KeyboardInterrupt

        arguments: dict[str, Any] = {"text": [self.text], "n_ctx": CHUNK, **more}
        return dslocal.quality(
            model,
            reference=reference,
            on_progress=on_progress,
            on_notice=self.notices.append,
            **arguments,
        ).figures

    @property
    def evaluated(self) -> dict[str, int]:
        """How many chunks the reference and the model have evaluated."""
        counted = {"reference": 0, "model": 0}
        for what, *_ in self.chunks:
            counted["reference" if what == "reference" else "model"] += 1
        return counted


@pytest.fixture
def call(folder: Path) -> Call:
    return Call(folder / "text.txt")


def as_printed(found: QualityFigures) -> dict[str, float]:
    return {
        "ppl": found.perplexity.value,
        "base": found.reference_perplexity.value,
        "ratio": found.log_perplexity_ratio.value,
        "mean": found.kl.mean,
        "error": found.kl.error,
        "median": found.kl.median,
        "p99": found.kl.p99,
        "max": found.kl.maximum,
        "top": 100 * found.same_top.value,
        "rms": 100 * found.rms_probability_change.value,
    }


def kept(suffix: str) -> Path:
    (found,) = quality_dir().glob(f"*{suffix}")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_those_that_llama_perplexity_gave(
    models: dict[str, list[Path]], call: Call, kind: str
) -> None:
    reference, model = models[kind]
    found = as_printed(call(model, reference))
    stored = STORED if repacked_types() else STORED_NOT_REARRANGED
    for name, expected in stored[kind].items():  # other CPUs round otherwise
        assert found[name] == pytest.approx(expected, rel=5e-3, abs=0.3 if name == "top" else 2e-3)


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="DSLOCAL_ORACLE names no folder with llama.cpp's tools")
@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_within_1e_4_of_llama_perplexity(
    models: dict[str, list[Path]], call: Call, tmp_path: Path, kind: str
) -> None:
    """Each program reads the other's file of the reference, too."""
    reference, model = models[kind]
    theirs = tmp_path / "theirs.kld"
    ours = call(model, reference)
    peer("-m", reference, "-f", call.text, "--kl-divergence-base", theirs)
    for base in (theirs, kept(".kld")):
        theirs_of_base = peer_figures(model, base)
        for found in (ours, call(model, base)):
            for name, expected in theirs_of_base.items():
                unit = 1e-2 if name in ("top", "rms") else 1e-4  # these are per cent
                tolerance = max(unit, 1e-5 * abs(expected))
                assert as_printed(found)[name] == pytest.approx(expected, abs=tolerance)
    with open_reference(theirs) as one, open_reference(kept(".kld")) as other:
        np.testing.assert_array_equal(one.tokens, other.tokens)
        rows = [file.read_rows(3, 0, 5).astype(int) for file in (one, other)]
        assert abs(rows[0] - rows[1])[:, 4:].max() <= 1


def peer(*arguments: str | Path) -> str:
    size = str(CHUNK)
    flags = ["-c", size, "-b", size, "-ub", size, "-t", "1", "-fa", "on"]
    if not repacked_types():
        flags.append("--no-repack")
    command = [f"{ORACLE}/bin/llama-perplexity", *map(str, arguments), *flags]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


def peer_figures(model: Path, base: Path) -> dict[str, float]:
    """Ask llama-perplexity again while its log thread, at exit, loses the end of what it prints."""
    for _ in range(PEER_TRIES):
        found = figures_in(peer("-m", model, "--kl-divergence", "--kl-divergence-base", base))
        if found.keys() == LINES.keys():
            return found
    raise AssertionError(f"llama-perplexity printed no more than {sorted(found)}")


def figures_in(printed: str) -> dict[str, float]:
    found = {}
    for line in printed.splitlines():
        for name, title in LINES.items():
            if line.startswith(title):
                found[name] = float(line.partition(":")[2].split()[0].rstrip("%"))
    return found


def test_a_model_is_not_far_from_itself(models: dict[str, list[Path]], call: Call) -> None:
    found = call(models["dense"][0], models["dense"][0])
    assert found.tokens == CHUNKS * (CHUNK - 1 - CHUNK // 2)
    assert found.same_top.value == 1
    assert abs(found.kl.mean) < 1e-5
    assert found.kl.maximum < 1e-3
    assert found.rms_probability_change.value < 1e-4


def test_the_reference_is_evaluated_once(models: dict[str, list[Path]], call: Call) -> None:
    reference, model = models["dense"]
    first = call(model, reference)
    assert call.evaluated == {"reference": CHUNKS, "model": CHUNKS}
    assert [str(kept(".kld")) in notice for notice in call.notices] == [True]
    call(reference, reference)
    assert call.evaluated == {"reference": 0, "model": CHUNKS}
    assert call(model, reference) == first
    assert call.evaluated == {"reference": 0, "model": 0}
    assert call.notices == []


@pytest.mark.parametrize(
    "changed", [{"n_ctx": 32}, {"tokens": 5 * CHUNK}, {"text": ["other.txt"]}], ids=str
)
def test_another_text_or_protocol_is_another_reference(
    models: dict[str, list[Path]], call: Call, tmp_path: Path, changed: dict[str, Any]
) -> None:
    reference, model = models["dense"]
    call(model, reference)
    if "text" in changed:
        (tmp_path / "other.txt").write_text(TEXT[::-1])
        changed = {"text": [tmp_path / "other.txt"]}
    call(model, reference, **changed)
    assert call.evaluated["reference"] > 0
    assert len(list(quality_dir().glob("*.kld"))) == 2


@pytest.mark.parametrize("stop_at", [("reference", 5), ("dense", 7)])
def test_an_interrupted_run_is_resumed(
    models: dict[str, list[Path]],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: tuple[str, int],
) -> None:
    monkeypatch.setattr(measure, "SAVE_S", 0.0)
    reference, model = models["dense"]
    with pytest.raises(KeyboardInterrupt):
        call(model, reference, stop_at=stop_at)
    found = call(model, reference)
    done = {"reference": CHUNKS, "model": CHUNKS}
    if stop_at[0] == "reference":
        done["reference"] -= 5
    else:
        done = {"reference": 0, "model": CHUNKS - 7}
    assert call.evaluated == done
    resumed = kept(".kld").read_bytes()
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "other-home"))
    assert call(model, reference) == found
    assert kept(".kld").read_bytes() == resumed


KILLED = """
import os, signal, sys
import dslocal
from dslocal.api.quality import measure
measure.SAVE_S = 0.0
model, reference, text, stop, after = sys.argv[1:]
def on_progress(what, done, of):
    if what.startswith(stop) and done == int(after):
        os.kill(os.getpid(), signal.SIGKILL)
dslocal.quality(model, reference=reference, text=[text], n_ctx=64, on_progress=on_progress)
"""


@pytest.mark.parametrize("stop_at", [("reference", 5), ("dense", 7)])
def test_a_killed_run_is_resumed(
    models: dict[str, list[Path]], call: Call, tmp_path: Path, stop_at: tuple[str, int]
) -> None:
    reference, model = models["dense"]
    arguments = [str(model), str(reference), str(call.text), stop_at[0], str(stop_at[1])]
    done = python(KILLED, *arguments, env={"DSLOCAL_HOME": str(tmp_path / "home")})
    assert done.returncode == -signal.SIGKILL
    call(model, reference)
    expected = {"reference": CHUNKS - 5, "model": CHUNKS}
    if stop_at[0] != "reference":
        expected = {"reference": 0, "model": CHUNKS - 7}
    assert call.evaluated == expected
    assert list(quality_dir().glob("*.part")) == []


def test_a_damaged_chunk_is_evaluated_again(models: dict[str, list[Path]], call: Call) -> None:
    reference, model = models["dense"]
    found = call(model, reference)
    whole = kept(".kld").read_bytes()
    with open_reference(kept(".kld")) as file:
        at = file.shape.data_start + 3 * file.shape.rows * file.shape.row_bytes
    kept(".kld").write_bytes(whole[:at] + b"\1\2\3\4" + whole[at + 4 :])
    kept(".scores").write_bytes(b"damaged")
    assert call(model, reference) == found
    assert call.evaluated == {"reference": 1, "model": CHUNKS}
    assert kept(".kld").read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"nonsense", b"_logits_" + b"\xff" * 100])
def test_a_cache_that_cannot_be_read_is_replaced(
    models: dict[str, list[Path]], call: Call, content: bytes
) -> None:
    reference, model = models["dense"]
    found = call(model, reference)
    kept(".kld").write_bytes(content)
    assert call(model, reference) == found
    assert call.evaluated["reference"] == CHUNKS


def test_a_file_without_a_seal_is_a_reference(
    models: dict[str, list[Path]], call: Call, tmp_path: Path
) -> None:
    reference, model = models["dense"]
    found = call(model, reference)
    with open_reference(kept(".kld")) as file:
        rows_end = file.shape.seal_start
    base = tmp_path / "base.kld"
    base.write_bytes(kept(".kld").read_bytes()[:rows_end])
    assert call(model, base) == found
    assert call.evaluated == {"reference": 0, "model": CHUNKS}
    base.write_bytes(base.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"base\.kld"):
        call(model, base)


def test_another_vocabulary_is_refused_before_anything_is_evaluated(
    models: dict[str, list[Path]], call: Call, nano: Path
) -> None:
    with pytest.raises(UsageError, match=r"nano.*4,096.*dense-F16"):
        call(nano, models["dense"][0])
    assert call.chunks == []
    assert not quality_dir().exists()


def test_a_vocabulary_of_the_same_size_is_refused(
    models: dict[str, list[Path]], call: Call, tmp_path: Path
) -> None:
    reference, model = models["dense"]
    content = model.read_bytes()
    other = tmp_path / "other.gguf"
    at = content.index(b"tokenizer.ggml.tokens")
    one = next(i for i in range(at + 60, len(content)) if content[i : i + 1].isalpha())
    other.write_bytes(content[:one] + b"~" + content[one + 1 :])
    with pytest.raises(UsageError, match="its vocabulary differs from that of"):
        call(other, reference)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"n_ctx": 4}, UsageError, "--ctx"),
        ({"n_ctx": 1 << 20}, UsageError, "--ctx"),
        ({"n_ctx": 2048, "tokens": 1, "text": ["short.txt"]}, UsageError, "tokens"),
        ({"text": ["no-such.txt"]}, NotFoundError, "no-such"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(
    models: dict[str, list[Path]],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    error: type[DslocalError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("short")
    reference, model = models["dense"]
    with pytest.raises(error, match=message):
        call(model, reference, **changed)
    assert call.chunks == []


def test_a_disk_without_room_is_refused_before_anything_is_written(
    models: dict[str, list[Path]], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    reference, model = models["dense"]
    with pytest.raises(DslocalError, match="free"):
        call(model, reference)
    assert list(quality_dir().iterdir()) == []


def test_a_reference_that_another_process_writes_is_not_touched(
    models: dict[str, list[Path]], call: Call
) -> None:
    reference, model = models["dense"]
    with pytest.raises(KeyboardInterrupt):
        call(model, reference, stop_at=("reference", 2))
    before = kept(".part").read_bytes()
    with (
        open_reference(kept(".part"), writable=True),
        pytest.raises(DslocalError, match="another"),
    ):
        call(model, reference)
    assert kept(".part").read_bytes() == before


def test_logits_that_are_not_numbers_are_an_error(
    models: dict[str, list[Path]], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dslocal.evaluation.divergence.log_probabilities import RowWorker

    score = RowWorker.score

    def poisoned(self: RowWorker, logits: Any, *more: Any) -> Any:
        return score(self, np.full_like(logits, np.nan), *more)

    reference, model = models["dense"]
    call(reference, reference)
    monkeypatch.setattr(RowWorker, "score", poisoned)
    with pytest.raises(EngineError, match="not numbers"):
        call(model, reference)


@pytest.fixture
def nano(first_home: Path) -> Path:
    return next((first_home / "cache" / "converted").glob("nano*.gguf"))
