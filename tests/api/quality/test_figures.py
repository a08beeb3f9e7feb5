"""The figures of ``dslocal.quality`` are llama-perplexity's.

Figures of llama-perplexity, built from the source in llama-cpp-python 0.3.36, are stored here. The
program itself is asked where DSLOCAL_ORACLE names a folder with llama.cpp's tools.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints.oracle import ORACLE
from support.checkpoints.tiny_models import CHUNK, KINDS, write_models
from support.evaluation.quality_calls import CHUNKS, QualityCall, kept

from dslocal.evaluation.divergence.figures import QualityFigures
from dslocal.evaluation.divergence.reference_file import open_reference
from dslocal.gguf.cpu_repack import repacked_types

QUANTS = {kind: ("MXFP4", "Q2_K") if kind == "v4" else ("F16", "Q4_0") for kind in KINDS}
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
def models(folder: Path) -> dict[str, list[Path]]:
    """The reference and the model of each kind."""
    return {kind: write_models(folder, kind, QUANTS[kind]) for kind in KINDS}


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


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_those_that_llama_perplexity_gave(
    models: dict[str, list[Path]], call: QualityCall, kind: str
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
    models: dict[str, list[Path]], call: QualityCall, tmp_path: Path, kind: str
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


def test_a_model_is_not_far_from_itself(models: dict[str, list[Path]], call: QualityCall) -> None:
    found = call(models["dense"][0], models["dense"][0])
    assert found.tokens == CHUNKS * (CHUNK - 1 - CHUNK // 2)
    assert found.same_top.value == 1
    assert abs(found.kl.mean) < 1e-5
    assert found.kl.maximum < 1e-3
    assert found.rms_probability_change.value < 1e-4
