"""F32 output computes what transformers computes: logits against stored ones, for nano and a tiny
checkpoint of every family.

The references were made by tests/vectors/make_nano_logits.py and make_tiny_logits.py; their origin
is stored with them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint

import dslocal.convert as converter
from dslocal import catalog
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

VECTORS = Path(__file__).parent.parent / "vectors"
NANO = np.load(VECTORS / "nano_logits.npz")
TINY = np.load(VECTORS / "tiny_logits.npz")
# V2's routing by groups differs from llama.cpp's on purpose; this key's attention factor is one
# that llama.cpp does not read
NOT_COMPARED = {"qwen3-attention-factor"}
KINDS = sorted(
    {key.removesuffix(".logits") for key in TINY.files if key.endswith(".logits")} - NOT_COMPARED
)


def f32(checkpoint: Path, out: Path) -> Path:
    plan = converter.plan_conversion(
        converter.open_checkpoint(converter.FolderSource(checkpoint)),
        [converter.recipe_named("F32")],
    )
    converter.write_gguf(plan, [out])
    return out


def logits(path: Path, ids: list[int], last: int) -> np.ndarray:
    """float32 ``[last, vocabulary]`` after each of the last ``last`` ids."""
    rows = []
    with (
        LlamaModel(path) as model,
        LlamaContext(model, LoadConfig(512, kv_type=GgmlType.F32, flash_attn=False)) as context,
    ):
        for end in range(len(ids) - last + 1, len(ids) + 1):
            context.prefill(ids[:end])
            rows.append(context.logits().copy())
    return np.array(rows)


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(abs(ours - reference).max() / abs(reference).max())


@pytest.fixture(scope="module")
def nano_f32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return f32(
        catalog.load_registry()["nano"].folder, tmp_path_factory.mktemp("nano") / "nano.gguf"
    )


@pytest.mark.parametrize("prompt", ["arithmetic", "file", "chinese"])
def test_nano(nano_f32: Path, prompt: str) -> None:
    reference = NANO[f"{prompt}.logits"]
    ids = [int(i) for i in NANO[f"{prompt}.ids"]]
    assert relative_error(logits(nano_f32, ids, len(reference)), reference) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_family(kind: str, tmp_path: Path) -> None:
    case = json.loads(str(TINY[f"{kind}.case"]))
    path = f32(write_checkpoint(tmp_path / "checkpoint", **case), tmp_path / "out.gguf")
    reference = TINY[f"{kind}.logits"]
    own_ids = f"{kind}.ids"  # of those that choose earlier positions
    ids = [int(i) for i in TINY[own_ids if own_ids in TINY.files else "ids"]]
    assert relative_error(logits(path, ids, len(reference)), reference) < 1e-5
