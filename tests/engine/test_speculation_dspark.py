"""Proves that DSpark, V4-Flash-0731's draft model, changes nothing of the text, takes the memory
that was planned, and is refused for another model.

The weights are random here: hardly any draft is right, so nearly every one has to be taken back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.speculation import generate

from dslocal.api.conversion import convert
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.sizing.breakdown import memory_breakdown
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.dspark_draft import DsparkDrafter
from dslocal.engine.speculation.speculation import Speculation
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan import mtp_file
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import footprint

# Exact sums, as in test_checkpoints.py: a batch's logits are then those of single tokens.
DRAFTING = LoadConfig(2048, kv_type=GgmlType.F32, flash_attn=False, n_outputs=6, mtp=True)


class Files(NamedTuple):
    """A tiny V4, and its DSpark beside it."""

    model: Path
    dspark: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("dspark")
    write_checkpoint(folder / "checkpoint", "deepseek-v4-dspark")
    convert(folder / "checkpoint", folder / "model.gguf", quant="F32", mtp="beside")
    return Files(folder / "model.gguf", folder / "model-mtp.gguf")


CONFIGS = (
    LoadConfig(2048, n_outputs=6, mtp=True),
    LoadConfig(2048, n_outputs=6, mtp=True, flash_attn=False),
    LoadConfig(256, n_outputs=6, mtp=True, n_ubatch=64),
    LoadConfig(8192, n_outputs=4, mtp=True, kv_type=GgmlType.Q8_0),
)


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_it_takes_the_memory_that_was_planned(files: Files, config: LoadConfig) -> None:
    header = mtp_file.join_header(
        read_header(files.model), read_header(files.dspark), files.dspark.name
    )
    planned = footprint(header, config)
    with (
        LlamaModel(files.model, config) as model,
        LlamaModel(files.dspark, config) as draft_model,
        LlamaContext(model, config) as context,
    ):
        drafter = DsparkDrafter(context, draft_model)
        Speculation(context, drafter, DraftLength([5], optional=False))
        generate(context, [100 + n % 50 for n in range(200)], max_tokens=10)
        buffers = [*memory_breakdown(context.handle), *memory_breakdown(drafter.handle)]
    assert sum(buffer.context for buffer in buffers) == planned.kv.total
    assert sum(buffer.compute for buffer in buffers) == planned.compute.total
    assert sum(buffer.model for buffer in buffers) == planned.weights.total
