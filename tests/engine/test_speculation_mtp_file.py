"""Proves that an MTP layer in a file of its own drafts for a model that lacks it, is found beside
it, and is refused for any other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from support.engine.speculation import generate, prompt_ids
from support.gguf.published_shapes import write_header

import dslocal.convert as converter
from dslocal import catalog
from dslocal.engine import LlamaContext, LlamaModel, loader
from dslocal.engine.sizing import no_alloc
from dslocal.errors import DoesNotFitError, GgufError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan import mtp_file
from dslocal.plan.load_config import DeviceShare, LoadConfig, MemoryUse
from dslocal.plan.machine import probe
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.memory.shape import moe_layers
from dslocal.plan.overrides import Overrides
from dslocal.plan.search import Plan, make_plan


def written(folder: Path, name: str, mtp: Literal["drop", "only"]) -> Path:
    checkpoint = converter.open_checkpoint(
        converter.FolderSource(catalog.load_registry()["nano"].folder)
    )
    path = folder / name
    converter.write_gguf(
        converter.plan_conversion(checkpoint, [converter.recipe_named("Q8_0")], mtp=mtp), [path]
    )
    return path


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano as others convert it, without its MTP layer."""
    return written(tmp_path_factory.mktemp("lacking"), "theirs.gguf", "drop")


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("layer"), "layer.gguf", "only")


def load(path: Path) -> Callable[[Plan], LlamaModel]:
    return lambda planned: LlamaModel(path, planned.load_config)


def test_it_drafts_for_a_model_that_lacks_it(lacking: Path, layer: Path) -> None:
    """Proves the text the same as without, many of the drafts right, however many at a time were
    fastest here, and both files let go of at the end.
    """
    header = read_header(lacking)
    with loader.open_context(
        lacking, header, Overrides(n_ctx=1024, mtp=False), load(lacking), print
    ) as plain:
        known = generate(plain, prompt_ids(plain.model))
    with loader.open_context(
        lacking, header, Overrides(n_ctx=1024, mtp=True, sidecar=layer), load(lacking), print
    ) as context:
        found = generate(context, prompt_ids(context.model))
        own = context.model
    assert (found.ids, known.drafted) == (known.ids, 0)
    assert found.accepted > 0.4 * found.drafted > 8
    assert own.handle is None


def test_it_is_found_beside_the_model(
    lacking: Path, layer: Path, nano: Path, tmp_path: Path
) -> None:
    """Proves that it is taken by its name, in the plan's memory too, and left alone when nothing is
    to be drafted.
    """
    path = Path(shutil.copy(lacking, tmp_path / "theirs.gguf"))
    header = read_header(path)
    assert mtp_file.find_sidecar(path, header) is None
    shutil.copy(layer, tmp_path / "theirs-mtp.gguf")
    assert mtp_file.find_sidecar(path, header) == tmp_path / "theirs-mtp.gguf"
    drafting, plain = (
        loader.plan_for(path, header, Overrides(n_ctx=1024, mtp=mtp)) for mtp in (None, False)
    )
    assert (drafting.load_config.mtp, plain.load_config.mtp) == (True, False)
    more = (
        drafting.memory.weights.total
        - footprint(header, replace(drafting.load_config, mtp=False)).weights.total
    )
    assert layer.stat().st_size * 0.9 < more
    assert mtp_file.find_sidecar(nano, read_header(nano)) is None
    (tmp_path / "theirs-mtp.gguf").write_bytes(b"GGUF")
    assert mtp_file.find_sidecar(path, header) is None


@pytest.mark.parametrize("more", [0, 1 << 30])
def test_llama_cpp_sizes_the_model_that_it_drafts_for(
    lacking: Path, layer: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """Proves that a tight plan is checked without the layer, which is in a file of its own."""
    header = read_header(lacking)
    overrides = Overrides(mtp=True, sidecar=layer)
    joined = mtp_file.join_header(header, read_header(layer), layer.name)
    need = make_plan(joined, describe_machine(64 << 30), overrides).memory.all.host
    tight = replace(describe_machine(64 << 30), available=round(need * 1.1))
    asked: list[LoadConfig] = []

    def size(_: Path, load_config: LoadConfig, **__: object) -> MemoryUse:
        asked.append(load_config)
        memory = footprint(header, load_config)
        return replace(memory, output=memory.output + DeviceShare(0, more))

    monkeypatch.setattr(no_alloc, "exact_memory_use", size)
    monkeypatch.setattr(probe, "probe_machine", lambda: tight)
    if more:
        with pytest.raises(DoesNotFitError):
            loader.plan_for(lacking, header, overrides)
    else:
        planned = loader.plan_for(lacking, header, overrides)
        assert planned == make_plan(joined, tight, overrides)
    assert [load_config.mtp for load_config in asked] == [False]


def test_a_split_model_has_the_tensors_of_all_its_files(tmp_path: Path) -> None:
    """Proves that experts in files of their own are known where layers are placed."""
    checkpoint = converter.open_checkpoint(
        converter.FolderSource(catalog.load_registry()["nano"].folder)
    )
    split = converter.Split(experts=True)
    plan = converter.plan_conversion(checkpoint, [converter.recipe_named("Q8_0")], split=split)
    converter.write_gguf(plan, [tmp_path / "nano.gguf"])
    first = min(tmp_path.glob("*.gguf"))
    with LlamaModel(first) as model:
        assert moe_layers(model.header) == [1, 2, 3, 4]
    assert moe_layers(read_header(first)) == []


def changed(header: GgufHeader, **values: object) -> GgufHeader:
    metadata: dict[str, Any] = dict(header.metadata)
    for key, value in values.items():
        metadata[key.replace("__", ".")] = value
    return replace(header, metadata=metadata)


WRONG: dict[str, tuple[Callable[[GgufHeader], GgufHeader], str]] = {
    "other depth": (
        lambda h: changed(h, deepseek2__block_count=9),
        "the layer after 8 layers, and the model has 4",
    ),
    "other width": (
        lambda h: changed(h, deepseek2__embedding_length=128),
        "embedding_length is 128, and the model's 256",
    ),
    "other words": (
        lambda h: changed(h, tokenizer__ggml__tokens=["a"]),
        "its vocabulary is not the model's",
    ),
    "no layer": (
        lambda h: changed(h, deepseek2__nextn_predict_layers=0),
        "no MTP layer for a model of architecture",
    ),
    "no embeddings": (
        lambda h: replace(h, tensors=tuple(t for t in h.tensors if "embd" not in t.name)),
        "token_embd.weight is missing",
    ),
    "no input": (
        lambda h: replace(h, tensors=tuple(t for t in h.tensors if "eh_proj" not in t.name)),
        "not one that llama.cpp could",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_another_model_s_layer_is_refused(lacking: Path, layer: Path, wrong: str) -> None:
    change, message = WRONG[wrong]
    with pytest.raises(GgufError, match=message) as caught:
        mtp_file.join_header(read_header(lacking), change(read_header(layer)), "layer.gguf")
    assert "layer.gguf" in str(caught.value)
    assert "--mtp-only" in (caught.value.hint or "")


def test_a_model_with_a_layer_needs_none(nano: Path, layer: Path, tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="an MTP layer of its own"):
        mtp_file.join_header(read_header(nano), read_header(layer), "layer.gguf")
    with pytest.raises(GgufError, match="architecture 'qwen2'"):
        mtp_file.join_header(
            read_header(write_header(tmp_path, "qwen-7b")), read_header(layer), "layer.gguf"
        )


def test_a_context_without_it_is_as_before(lacking: Path) -> None:
    with LlamaModel(lacking) as model, LlamaContext(model, 512) as context:
        assert generate(context, prompt_ids(model), max_tokens=5).drafted == 0
