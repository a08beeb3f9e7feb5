"""Proves that the shapes in models.yaml are the published models': weights and bytes counted from
them come out as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest

import dslocal.convert as converter
from dslocal import catalog
from dslocal.convert.outline import checkpoint_bytes, header_from_config
from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.parameter_count import ParameterCount, count_parameters

BILLION = 10**9
TOLERANCE = 0.015


@dataclass(frozen=True)
class Published:
    """Billions of weights in the digits that were published. ``lookup``: the active ones count the
    embedding table as well.
    """

    name: str
    total: str
    source: str
    active: str = ""
    lookup: bool = False


HUB = "the hub's count of the safetensors' weights"
PUBLISHED = (
    Published("deepseek-r1", "671", "R1's README, model table", "37"),
    Published("deepseek-v3", "671", "V3's README, model table", "37"),
    Published("deepseek-v3", "671", "V3's README_WEIGHTS.md", "36.7"),
    Published("deepseek-v3.1", "671", "V3.1's model card, model table", "37"),
    Published("deepseek-prover-v2-671b", "671", "its name"),
    Published("deepseek-v2", "236", "V2's README, model table", "21"),
    Published("deepseek-v2.5", "236", "V2's README, model table, which it goes on from", "21"),
    Published("deepseek-coder-v2-instruct", "236", "Coder-V2's README, model table", "21"),
    Published("deepseek-v2-lite", "15.7", "V2's report, appendix on V2-Lite", "2.4"),
    Published("deepseek-coder-v2-lite-instruct", "16", "Coder-V2's README, model table", "2.4"),
    Published("deepseek-moe-16b-base", "16.4", "DeepSeekMoE's README", "2.8", lookup=True),
    Published("deepseek-llm-7b-base", "6.9", HUB),
    Published("deepseek-llm-67b-base", "67", "its name"),
    Published("deepseek-llm-67b-chat", "67.4", HUB),
    Published("deepseek-coder-1.3b-base", "1.3", "its name"),
    Published("deepseek-coder-1.3b-instruct", "1.35", HUB),
    Published("deepseek-coder-5.7bmqa-base", "5.7", "its name"),
    Published("deepseek-coder-6.7b-instruct", "6.7", "its name"),
    Published("deepseek-coder-33b-instruct", "33.3", HUB),
    Published("deepseek-coder-7b-instruct-v1.5", "6.9", HUB),
    Published("deepseek-math-7b-rl", "7", "its name"),
    Published("deepseek-prover-v1.5-rl", "7", "its name"),
    Published("deepseek-prover-v2-7b", "7", "its name"),
    Published("deepseek-r1-distill-qwen-1.5b", "1.78", HUB),
    Published("deepseek-r1-distill-qwen-7b", "7.62", HUB),
    Published("deepseek-r1-distill-qwen-14b", "14.8", HUB),
    Published("deepseek-r1-distill-qwen-32b", "32.8", HUB),
    Published("deepseek-r1-distill-llama-8b", "8.03", HUB),
    Published("deepseek-r1-distill-llama-70b", "70.6", HUB),
    Published("deepseek-r1-0528-qwen3-8b", "8.19", HUB),
)
BYTES = (
    ("deepseek-v3", 688.6e9, "the hub's size of its safetensors files"),
    ("deepseek-v3.2", 690e9, "the hub's size of its safetensors files"),
    ("deepseek-v4-flash", 159_609_485_896, "total_size in its index"),
    ("deepseek-v4-flash-0731", 166_878_536_440, "total_size in its index"),
    ("deepseek-v4-pro-0813", 892_727_580_904, "total_size in its index"),
    ("deepseek-v2-lite", 31.4e9, "the hub's size of its safetensors files"),
    ("deepseek-r1-distill-qwen-7b", 15.2e9, "the hub's size of its safetensors files"),
    ("deepseek-llm-67b-chat", 134.8e9, "the hub's size of its files"),
)
REGISTRY = catalog.load_registry()


def counted(name: str) -> ParameterCount:
    return count_parameters(
        header_from_config(REGISTRY[name].config, converter.recipe_named("Q8_0"))
    )


def close(weights: int, published: str) -> bool:
    """Within the tolerance of any count that is written as ``published``: "2.4" is one from 2.35 to
    2.45.
    """
    figure = Decimal(published)
    exponent = figure.as_tuple().exponent
    assert isinstance(exponent, int)
    off = abs(weights / BILLION - float(figure)) - 0.5 * 10.0**exponent
    return off <= TOLERANCE * float(figure)


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.name} {row.active or row.total}B")
def test_weights_come_out_as_published(row: Published) -> None:
    found = counted(row.name)
    assert close(found.total, row.total)
    if row.active:
        assert close(found.active + row.lookup * found.embedding, row.active)


def test_figures_of_three_digits_are_met_within_the_tolerance_alone() -> None:
    exact = [row for row in PUBLISHED if len(row.total.replace(".", "")) > 2]
    assert len(exact) > 12
    for row in exact:
        assert counted(row.name).total / BILLION == pytest.approx(float(row.total), rel=TOLERANCE)


@pytest.mark.parametrize("name", REGISTRY)
def test_models_yaml_says_the_same(name: str) -> None:
    entry, found = REGISTRY[name], counted(name)
    lookup = (
        0 if {"kv_lora_rank", "hc_mult"} & set(entry.config) else found.embedding
    )  # counted with the active ones up to DeepSeekMoE
    assert found.total / BILLION == pytest.approx(entry.parameters, rel=TOLERANCE)
    assert close(found.active + lookup, str(entry.active))


def test_v3_with_its_mtp_layer_is_what_the_hub_counts() -> None:
    found, config = counted("deepseek-v3"), REGISTRY["deepseek-v3"].config
    copies = 2 * config["vocab_size"] * config["hidden_size"]
    assert close(found.total + found.mtp + copies, "685")
    assert found.mtp / BILLION == pytest.approx(
        11.6, rel=TOLERANCE
    )  # README_WEIGHTS.md: 11.5B, without 0.9B each of the copies


@pytest.mark.parametrize(("name", "size", "source"), BYTES, ids=[row[0] for row in BYTES])
def test_bytes_to_download_are_as_published(name: str, size: float, source: str) -> None:
    entry = REGISTRY[name]
    assert checkpoint_bytes(entry.config, entry.dtype) == pytest.approx(size, rel=0.01)


def test_bytes_of_nano_are_those_of_its_files() -> None:
    entry = REGISTRY["nano"]
    on_disk = sum(file.stat().st_size for file in entry.folder.glob("*.safetensors"))
    assert checkpoint_bytes(entry.config, entry.dtype) == pytest.approx(on_disk, rel=0.01)


def test_tied_embeddings_are_multiplied() -> None:
    f32 = GgmlType.F32
    tensors = (
        GgufTensor("token_embd.weight", (8, 100), f32, 0, 3200),
        GgufTensor("rope_freqs.weight", (4,), f32, 3200, 16),
    )
    found = count_parameters(
        GgufHeader(3, {"general.architecture": "llama", "llama.block_count": 1}, tensors, 32)
    )
    assert found == ParameterCount(total=800, active=800, embedding=800, mtp=0)
