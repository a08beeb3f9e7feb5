"""Our importance matrices against llama-imatrix's: the stored sums, and the program itself.

The program is run where DSLOCAL_ORACLE names a folder with llama.cpp's tools; see
``support/checkpoints/oracle.py``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints.oracle import ORACLE
from support.checkpoints.tiny_models import CHUNK, KINDS, TEXT, write_models

from dslocal.api.importance import ImatrixJob, make_imatrix
from dslocal.convert.recipes.imatrix_sums import read_sums
from dslocal.engine import LlamaModel
from dslocal.gguf.header import read_header
from dslocal.prompts import get_family

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
