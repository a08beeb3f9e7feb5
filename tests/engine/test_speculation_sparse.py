"""Proves that drafting with the MTP layers of V3.2 and V4 changes nothing of the text.

Their weights are random here, so that hardly any draft is right: every one has to be taken back.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.speculation import generate

from dslocal.api.conversion import convert
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.speculation.mtp_draft import MtpDrafter
from dslocal.engine.speculation.speculation import enable_speculation
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

# Exact sums, as in test_checkpoints.py: a batch's logits are then those of single tokens.
DRAFTING = LoadConfig(2048, kv_type=GgmlType.F32, flash_attn=False, n_outputs=4, mtp=True)


@pytest.mark.parametrize("has_fixed_rows", [False, True], ids=["as on a CPU", "as on a GPU"])
@pytest.mark.parametrize(("kind", "mtp"), [("deepseek-v32", "keep"), ("deepseek-v4", "beside")])
def test_drafts_change_nothing(tmp_path: Path, kind: str, mtp: str, has_fixed_rows: bool) -> None:
    write_checkpoint(tmp_path / "checkpoint", kind)
    path = tmp_path / "model.gguf"
    convert(tmp_path / "checkpoint", path, quant="F32", mtp=mtp)  # type: ignore[arg-type]
    sidecar = tmp_path / "model-mtp.gguf"
    drawn = random.Random(1)
    prompt = [drawn.randrange(10, 300) for _ in range(300)]
    with LlamaModel(path, DRAFTING) as model:
        layer = LlamaModel(sidecar, DRAFTING) if sidecar.exists() else None
        with LlamaContext(model, DRAFTING) as plain:
            expected = generate(plain, prompt, max_tokens=60).ids
        with LlamaContext(model, DRAFTING) as drafting:
            speculation = enable_speculation(drafting, "on", layer)
            assert speculation is not None
            assert isinstance(speculation.drafter, MtpDrafter)
            speculation.drafter._has_fixed_rows = has_fixed_rows
            found = generate(drafting, prompt, max_tokens=60)
            assert speculation.error is None
            assert found.ids == expected
            assert found.drafted > 20
        if layer:
            layer.close()
