"""Proves that an outline is the header that a conversion gives: for every family, several recipes,
with and without the MTP layer.
"""

from __future__ import annotations

import gc
import importlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tiny_checkpoints import KINDS, write_checkpoint

import dslocal.convert as converter
from dslocal import catalog
from dslocal.convert.outline import checkpoint_bytes, header_from_config
from dslocal.errors import CheckpointError, UnsupportedModelError
from dslocal.gguf.header import read_header

RECIPES = ("F32", "Q8_0", "Q4_K_M", "Q2_K", "IQ4_XS")
TABLE = ("Q8_0", "Q4_K_M", "Q3_K_M", "Q2_K")
LIMIT_S = 0.7
REGISTRY = catalog.load_registry()


@pytest.mark.parametrize("mtp", [True, False], ids=["mtp", "no mtp"])
@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_those_of_the_plan(tmp_path: Path, kind: str, dtype: str, mtp: bool) -> None:
    folder = write_checkpoint(tmp_path, kind, dtype=dtype)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    recipes = [converter.recipe_named(name) for name in RECIPES]
    plan = converter.plan_conversion(checkpoint, recipes, mtp="keep" if mtp else "drop")
    for output in plan.outputs:
        found = header_from_config(config, output.recipe, mtp=mtp)
        (layout,) = output.files
        outlined: list[tuple[Any, ...]] = [
            (t.name, t.shape, t.type, t.offset, t.nbytes) for t in found.tensors
        ]
        planned: list[tuple[Any, ...]] = [
            (p.tensor.name, p.tensor.shape[::-1], p.kind, p.offset, p.nbytes)
            for p in layout.tensors
        ]
        if plan.architecture.converter_order and not output.recipe.quantizes:
            # only the shards tell in which order these lie
            outlined = [(*t[:3], t[4]) for t in sorted(outlined)]
            planned = [(*t[:3], t[4]) for t in sorted(planned)]
        assert outlined == planned
        assert -(-(found.file_size - found.data_start) // 32) * 32 == layout.data_size
        arch = plan.architecture.arch
        assert found.architecture == arch
        written = {key: value for key, value in output.metadata if key.startswith(f"{arch}.")}
        assert {key: found.metadata[key] for key in written} == written
        assert found.of_arch("vocab_size") == config["vocab_size"]
        assert found.metadata["general.file_type"] == output.recipe.file_type


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_those_of_the_checkpoint(tmp_path: Path, kind: str, dtype: str) -> None:
    folder = write_checkpoint(tmp_path, kind, dtype=dtype)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    assert checkpoint_bytes(config, dtype) == sum(
        tensor.nbytes for tensor in checkpoint.tensors.values()
    )


def test_nano_is_outlined_as_it_is_converted(nano: Path) -> None:
    found, real = (
        header_from_config(REGISTRY["nano"].config, converter.recipe_named("Q8_0")),
        read_header(nano),
    )
    assert found.tensors == real.tensors
    assert {key: found.metadata[key] for key in real.metadata if key.startswith("deepseek2.")} == {
        key: pytest.approx(value)
        for key, value in real.metadata.items()
        if key.startswith("deepseek2.")
    }


@pytest.mark.parametrize("name", REGISTRY)
def test_every_model_of_models_yaml_has_one(name: str) -> None:
    entry = REGISTRY[name]
    found = header_from_config(entry.config, converter.recipe_named(entry.quant))
    assert found.of_arch("context_length") >= entry.context
    assert found.tensors[0].name == "output.weight"  # none of them is tied


@pytest.mark.timed
def test_it_is_quick_enough_for_a_table_of_all_models() -> None:
    outlines = importlib.import_module("dslocal.convert.outline")
    seconds = []
    gc.freeze()  # the other tests' objects
    for _ in range(3):  # the machine may be busy
        outlines._expand.cache_clear()
        outlines._cached_header.cache_clear()
        began = time.perf_counter()
        for entry in REGISTRY.values():
            for quant in TABLE:
                header_from_config(entry.config, converter.recipe_named(quant))
        seconds.append(time.perf_counter() - began)
    gc.unfreeze()
    assert min(seconds) < LIMIT_S


def test_the_same_question_has_the_same_answer() -> None:
    config = REGISTRY["deepseek-r1"].config
    assert header_from_config(config, converter.recipe_named("Q4_K_M")) is header_from_config(
        dict(config), converter.recipe_named("q4_k_m")
    )


def test_what_cannot_be_converted_has_none() -> None:
    config = dict(REGISTRY["deepseek-v3"].config)
    recipe = converter.recipe_named("Q8_0")
    with pytest.raises(UnsupportedModelError, match="GPT2LMHeadModel"):
        header_from_config({**config, "architectures": ["GPT2LMHeadModel"]}, recipe)
    with pytest.raises(CheckpointError, match="hidden_size is missing"):
        header_from_config(
            {key: value for key, value in config.items() if key != "hidden_size"}, recipe
        )
    with pytest.raises(CheckpointError, match="n_group"):
        header_from_config({**config, "n_group": 7}, recipe)
