"""Our importance matrices against llama-imatrix's: the stored sums, and the program itself.

The program is run where DSLOCAL_ORACLE names a folder with llama.cpp's tools; see
``support/checkpoints/oracle.py``.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints.oracle import ORACLE, measured_checkpoint, requantize, write_source
from support.checkpoints.tiny_models import CHUNK, KINDS, TEXT, write_models
from support.gguf.reading import contents, digest

import dslocal.convert as converter
from dslocal.api.quantization.importance import ImatrixJob, make_imatrix
from dslocal.convert.recipes.imatrix_sums import read_sums, write_sums
from dslocal.engine import LlamaModel
from dslocal.errors import UsageError
from dslocal.gguf.header import read_header
from dslocal.prompts import get_family

VECTORS = Path(__file__).parent.parent / "vectors"
# what llama-quantize makes with a matrix that dslocal imatrix made (make_matrix_hashes.py)
QUANTIZED = json.loads((VECTORS / "moe_imatrix_hashes.json").read_text(encoding="utf-8"))
RECIPES = [recipe for recipe in QUANTIZED if recipe != "origin"]
# what llama-imatrix gives, built from the source in llama-cpp-python 0.3.36: the sum over all
# channels of a tensor, and how many activations were counted
STORED: dict[str, dict[str, tuple[float, int]]] = {
    "dense": {
        "blk.1.attn_q.weight": (523852.76, 2048),
        "blk.1.ffn_down.weight": (427600.21, 2048),
    },
    "moe": {
        "blk.1.ffn_gate_inp.weight": (537219.64, 2048),
        "blk.1.ffn_down_exps.weight": (49319.88, 4096),
        "blk.1.ffn_up_exps.weight": (1074439.42, 4096),
    },
    "mla": {
        "blk.2.attn_k_b.weight": (133147.14, 2048),
        "blk.2.attn_v_b.weight": (445086.56, 2048),
        "blk.2.ffn_down_exps.weight": (74330.51, 6144),
    },
    "v4": {
        "blk.1.attn_output_a.weight": (88824.96, 2048),
        "blk.2.hc_attn_fn.weight": (2097151.14, 2048),
        "blk.2.indexer.attn_q_b.weight": (262274.32, 2048),
        "blk.2.ffn_down_exps.weight": (367325.59, 4096),
    },
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as a GGUF file."""
    folder = tmp_path_factory.mktemp(kind)
    return write_models(folder, kind, ["MXFP4" if kind == "v4" else "F16"])[0]


@pytest.fixture(scope="module")
def ours(model: Path) -> Path:
    """The matrix that dslocal makes of it."""
    (model.parent / "text.txt").write_text(TEXT)
    job = ImatrixJob(
        model,
        read_header(model),
        get_family("llm"),
        model.with_name("ours.gguf"),
        texts=(model.parent / "text.txt",),
        chunk_tokens=CHUNK,
    )
    return make_imatrix(job, LlamaModel, lambda done, of: None).path


def test_sums_are_those_that_llama_imatrix_gave(kind: str, ours: Path) -> None:
    entries = read_sums(ours).entries
    for name, (total, count) in STORED[kind].items():
        assert entries[name].counts.sum() == count
        found = entries[name].sums.sum(dtype=float)
        assert found == pytest.approx(total, rel=1e-3)  # other CPUs round otherwise


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="DSLOCAL_ORACLE names no folder with llama.cpp's tools")
def test_sums_are_within_1e_5_of_llama_imatrix(model: Path, ours: Path) -> None:
    peer = model.with_name("peer.gguf")
    size = str(CHUNK)
    command = [f"{ORACLE}/bin/llama-imatrix", "-m", str(model), "-f", "text.txt", "-o", str(peer)]
    flags = ["-c", size, "-b", size, "-ub", size, "-t", "1", "-fa", "on", "--no-ppl"]
    subprocess.run([*command, *flags], cwd=model.parent, check=True, capture_output=True)
    expected, found = read_sums(peer), read_sums(ours)
    assert found.entries.keys() == expected.entries.keys()
    assert (found.chunks, found.chunk_size) == (expected.chunks, expected.chunk_size)
    for name, entry in expected.entries.items():
        np.testing.assert_array_equal(found.entries[name].counts, entry.counts, err_msg=name)
        np.testing.assert_allclose(found.entries[name].sums, entry.sums, 1e-5, err_msg=name)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model whose matrix is stored."""
    folder = tmp_path_factory.mktemp("measured")
    return write_source(measured_checkpoint(folder / "checkpoint"), folder / "model.gguf", "F16")


@pytest.mark.parametrize("recipe", RECIPES)
def test_our_matrix_gives_llama_quantizes_bytes(
    measured: Path, tmp_path: Path, recipe: str
) -> None:
    matrix = VECTORS / "moe.imatrix.gguf"
    plan = converter.plan_requantization(
        converter.open_gguf(measured),
        [converter.recipe_named(recipe)],
        imatrix=converter.load_imatrix(matrix),
    )
    converter.write_gguf(plan, [tmp_path / "ours.gguf"])
    found = digest(contents(tmp_path / "ours.gguf")[1])
    assert found == QUANTIZED[recipe]
    if ORACLE:
        theirs = requantize(measured, tmp_path / "theirs.gguf", recipe, matrix)
        assert found == digest(contents(theirs)[1])


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE, reason="DSLOCAL_ORACLE names no folder with llama.cpp's tools")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_matrix_made_here_gives_llama_quantizes_bytes(
    kind: str, model: Path, ours: Path, tmp_path: Path, recipe: str
) -> None:
    if kind == "v4":
        ours = without_groups(ours, model, tmp_path / "fitted.gguf")
    recipes = [converter.recipe_named(recipe)]
    source, imatrix = converter.open_gguf(model), converter.load_imatrix(ours)
    if kind == "v4" and recipe in ("IQ1_S", "IQ2_XXS", "IQ3_XXS"):
        for refusing in (
            lambda: converter.plan_requantization(source, recipes, imatrix=imatrix),
            lambda: requantize(model, tmp_path / "theirs.gguf", recipe, ours),
        ):
            with pytest.raises((UsageError, AssertionError), match=r"output_hc_fn\.weight"):
                refusing()
        return
    plan = converter.plan_requantization(source, recipes, imatrix=imatrix, allow_larger=True)
    converter.write_gguf(plan, [tmp_path / "ours.gguf"])
    theirs = requantize(model, tmp_path / "theirs.gguf", recipe, ours)
    assert digest(contents(tmp_path / "ours.gguf")[1]) == digest(contents(theirs)[1]), kind


def without_groups(matrix: Path, model: Path, out: Path) -> Path:
    """Write a matrix with one sum a column, as llama-quantize needs it of attn_output_a."""
    sums, shapes = read_sums(matrix), {t.name: t.shape for t in read_header(model).tensors}
    for name, entry in sums.entries.items():
        if name.endswith("attn_output_a.weight"):
            groups = entry.sums.reshape(-1, shapes[name][0])
            entry.sums = groups.mean(axis=0, keepdims=True, dtype=np.float32)
    write_sums(out, sums)
    return out


@pytest.mark.parametrize("recipe", ["V4-IQ2", "Q2_K"])
def test_a_matrix_of_v4_fits_its_grouped_matrices(
    kind: str, model: Path, ours: Path, recipe: str
) -> None:
    """Where a matrix has sums for each group of rows, and llama-quantize stops."""
    if kind != "v4":
        pytest.skip("has no grouped matrices")
    loaded = converter.load_imatrix(ours)
    plan = converter.plan_requantization(
        converter.open_gguf(model), [converter.recipe_named(recipe)], imatrix=loaded
    )
    name = "blk.1.attn_output_a.weight"
    columns = next(t.shape[0] for t in read_header(model).tensors if t.name == name)
    assert plan.imatrix is not None
    groups = loaded.entries[name].reshape(-1, columns)
    assert len(groups) > 1
    np.testing.assert_allclose(plan.imatrix.entries[name], groups.mean(axis=0), 1e-6)
