"""Importance matrices: made of a model's activations, resumed, merged, read by the converter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints.tiny_models import CHUNK, KINDS, TEXT, write_models
from support.cli.running import Run

from dslocal.api.quantization import importance
from dslocal.api.quantization.importance import ImatrixJob, ImatrixReport, make_imatrix
from dslocal.convert.recipes.imatrix import load_imatrix
from dslocal.convert.recipes.imatrix_sums import ChannelSums, ImatrixSums, read_sums, write_sums
from dslocal.engine import LlamaModel
from dslocal.errors import UsageError
from dslocal.gguf.header import read_header
from dslocal.prompts import get_family


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each kind as a GGUF file."""
    folder = tmp_path_factory.mktemp("models")
    return {
        kind: write_models(folder, kind, ["MXFP4" if kind == "v4" else "F16"])[0] for kind in KINDS
    }


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


def job_for(model: Path, text: Path, out: Path) -> ImatrixJob:
    return ImatrixJob(
        model, read_header(model), get_family("llm"), out, texts=(text,), chunk_tokens=CHUNK
    )


def run_job(job: ImatrixJob, stop_after: int | None = None) -> ImatrixReport:
    """Run a job; ``stop_after`` interrupts it after so many chunks."""

    def on_progress(done: int, _: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    return make_imatrix(job, LlamaModel, on_progress)


@pytest.mark.parametrize("kind", KINDS)
def test_every_matrix_of_a_block_that_multiplies_is_summed(
    files: dict[str, Path], text: Path, tmp_path: Path, kind: str
) -> None:
    report = run_job(job_for(files[kind], text, tmp_path / "out.gguf"))
    matrix = read_sums(report.path)
    tokens = report.chunks * CHUNK
    shapes = {t.name: t.shape for t in read_header(files[kind]).tensors}
    for name, entry in matrix.entries.items():
        assert entry.sums.size % shapes[name][0] == 0
        assert np.isfinite(entry.sums).all()
        if name.endswith("_exps.weight"):
            assert len(entry.counts) == shapes[name][2]
            assert entry.counts.sum() % tokens == 0  # each token goes to the same number of experts
        elif entry.sums.size == shapes[name][0]:
            assert entry.counts.tolist() == [tokens] or "attn_output_a" in name or "comp" in name
    assert len(matrix.entries) == report.tensors
    expected = (
        {"attn_output.weight", "ffn_down.weight"} if kind == "dense" else {"ffn_gate_inp.weight"}
    )
    assert expected <= {name.split(".", 2)[2] for name in matrix.entries}


@pytest.mark.parametrize("kind", ["moe", "mla"])
def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(
    files: dict[str, Path], text: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "SAVE_S", 0.0)
    whole, parts = tmp_path / "whole.gguf", tmp_path / "parts.gguf"
    run_job(job_for(files[kind], text, whole))
    job = job_for(files[kind], text, parts)
    for stop_after in (3, 5):  # the chunk at which it stops is not saved any more
        with pytest.raises(KeyboardInterrupt):
            run_job(replace(job, resume=True), stop_after)
        assert not parts.exists()
        assert job.part.exists()
    report = run_job(replace(job, resume=True))
    assert report.resumed_chunks == 4
    assert not job.part.exists()
    assert parts.read_bytes() == whole.read_bytes()


def test_a_run_over_another_text_is_not_resumed(
    files: dict[str, Path], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "SAVE_S", 0.0)
    job = job_for(files["dense"], text, tmp_path / "out.gguf")
    with pytest.raises(KeyboardInterrupt):
        run_job(job, stop_after=2)
    text.write_text(TEXT[::-1])
    with pytest.raises(UsageError, match=r"out\.gguf\.part"):
        run_job(replace(job, resume=True))
    assert run_job(job).resumed_chunks == 0


def test_merging_adds_sums_and_counts(files: dict[str, Path], text: Path, tmp_path: Path) -> None:
    first = job_for(files["moe"], text, tmp_path / "first.gguf")
    run_job(first)
    run_job(replace(first, out=tmp_path / "both.gguf", merged=(first.out,)))
    one, both = read_sums(first.out), read_sums(tmp_path / "both.gguf")
    for name, entry in one.entries.items():
        np.testing.assert_array_equal(both.entries[name].sums, 2 * entry.sums)
        np.testing.assert_array_equal(both.entries[name].counts, 2 * entry.counts)
    assert both.chunks >= 2 * one.chunks
    assert len(both.datasets) == 2


def test_a_matrix_of_another_model_is_not_merged(
    files: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    first = job_for(files["moe"], text, tmp_path / "first.gguf")
    run_job(first)
    matrix = read_sums(first.out)
    wide = matrix.entries["blk.1.ffn_gate_inp.weight"]
    wide.sums = np.hstack([wide.sums, wide.sums])
    write_sums(first.out, matrix)
    with pytest.raises(UsageError, match="ffn_gate_inp"):
        run_job(replace(first, out=tmp_path / "both.gguf", merged=(first.out,)))


def test_experts_without_a_token_are_named_and_count_as_ones(
    files: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    job = replace(job_for(files["moe"], text, tmp_path / "out.gguf"), max_tokens=1)
    few = replace(job, chunk_tokens=16)
    text.write_text("aaaa " * 40)
    report = run_job(few)
    assert report.chunks == 1
    assert report.unseen_experts
    read = load_imatrix(report.path)
    for layer, experts in report.unseen_experts.items():
        weights = read.entries[f"blk.{layer}.ffn_down_exps.weight"].reshape(16, -1)
        assert (weights[experts] == 1).all()


def test_a_text_shorter_than_a_chunk_is_refused(
    files: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    text.write_text("short")
    with pytest.raises(UsageError, match="64"):
        run_job(job_for(files["dense"], text, tmp_path / "out.gguf"))
    assert not (tmp_path / "out.gguf").exists()


def test_files_that_are_not_sums_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_sums(files["dense"])
    matrix = ImatrixSums(512, {"blk.0.x.weight": ChannelSums.zeros(1, 4, 1)})
    matrix.entries["blk.0.x.weight"].sums[0, 1] = np.nan
    write_sums(tmp_path / "nan.gguf", matrix)
    with pytest.raises(UsageError, match=r"blk\.0\.x"):
        read_sums(tmp_path / "nan.gguf")


def test_the_command_measures_nano_in_its_own_prompt_format(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "nano.gguf"
    done = run("imatrix", "nano", "-o", out, "--tokens", "600", "--json")
    assert done.returncode == 0, done.stderr
    fields = json.loads(done.stdout)
    assert fields["chunks"] == 2
    assert fields["tokens"] == 1024
    assert len(load_imatrix(out).entries) == fields["tensors"]
    again = run.inside("imatrix", "nano", "-o", out)
    assert again.returncode == 2
    assert b"--force" in again.stderr
