"""Recipes for DeepSeek V4: which tensors stay, which values they are made from, and their sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.imatrices import write_imatrix
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.gguf.reading import contents

import dslocal.convert as converter
from dslocal.convert.outline import checkpoint_bytes, header_from_config
from dslocal.errors import UsageError
from dslocal.gguf.header import read_header
from dslocal.gguf.tensor_names import name_in_layer

SMALL = ("hc_", "compressor", "indexer", "ffn_gate_inp", "attn_sinks", "attn_kv")
AT_LEAST_8_BITS = {"F32", "F16", "BF16", "Q8_0"}
# V4-Flash's config.json
FLASH: dict[str, Any] = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "model_type": "deepseek_v4",
    "vocab_size": 129280,
    "hidden_size": 4096,
    "num_hidden_layers": 43,
    "num_attention_heads": 64,
    "num_key_value_heads": 1,
    "head_dim": 512,
    "qk_rope_head_dim": 64,
    "q_lora_rank": 1024,
    "o_groups": 8,
    "o_lora_rank": 1024,
    "index_n_heads": 64,
    "index_head_dim": 128,
    "index_topk": 512,
    "n_routed_experts": 256,
    "num_experts_per_tok": 6,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2048,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.5,
    "scoring_func": "sqrtsoftplus",
    "num_hash_layers": 3,
    "hc_mult": 4,
    "hc_sinkhorn_iters": 20,
    "hc_eps": 1e-6,
    "compress_ratios": [0, 0, *[4, 128] * 20, 4, 0],
    "compress_rope_theta": 160000,
    "sliding_window": 128,
    "swiglu_limit": 10.0,
    "rope_theta": 10000,
    "rope_scaling": {"type": "yarn", "factor": 16, "original_max_position_embeddings": 65536},
    "max_position_embeddings": 1048576,
    "rms_norm_eps": 1e-6,
    "num_nextn_predict_layers": 1,
    "expert_dtype": "fp4",
}
DSPARK = {
    "compress_ratios": [0, 0, *[4, 128] * 20, 4, 0, 0, 0],
    "dspark_block_size": 5,
    "dspark_markov_rank": 256,
    "dspark_noise_token_id": 128799,
    "dspark_target_layer_ids": [40, 41, 42],
}
PRO = {
    **DSPARK,
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "q_lora_rank": 1536,
    "o_groups": 16,
    "index_topk": 1024,
    "n_routed_experts": 384,
    "moe_intermediate_size": 3072,
    "compress_ratios": [128, 128, *[4, 128] * 29, 4, 0, 0, 0],
    "dspark_markov_rank": 512,
    "dspark_target_layer_ids": [58, 59, 60],
}


@pytest.fixture(scope="module")
def v4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("v4") / "c", "deepseek-v4", dtype="fp4")


def plan_of(
    folder: Path, recipe: converter.Recipe, imatrix: converter.Imatrix | None = None
) -> converter.ConversionPlan:
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    return converter.plan_conversion(checkpoint, [recipe], imatrix=imatrix)


def kinds(plan: converter.ConversionPlan) -> dict[str, str]:
    return {p.tensor.name: p.kind.name for layout in plan.layouts for p in layout.tensors}


@pytest.mark.parametrize(
    ("recipe", "gate_up", "down"),
    [
        ("V4-IQ2", "IQ2_XXS", "Q2_K"),
        ("V4-Q2", "Q2_K", "Q2_K"),
        ("V4-IQ3", "IQ3_XXS", "IQ3_XXS"),
        ("V4-Q3", "Q3_K", "Q3_K"),
    ],
)
def test_only_experts_get_few_bits(
    v4: Path, tmp_path: Path, recipe: str, gate_up: str, down: str
) -> None:
    imatrix = converter.load_imatrix(write_imatrix(tmp_path / "imatrix.gguf", v4))
    found = kinds(plan_of(v4, converter.recipe_named(recipe), imatrix))
    for name, kind in found.items():
        if "_exps" in name:
            assert kind == (down if "ffn_down" in name else gate_up)
        elif "tid2eid" in name:
            assert kind == "I32"
        else:
            assert kind in AT_LEAST_8_BITS
    assert {name_in_layer(name) for name in found if any(part in name for part in SMALL)}


def test_experts_are_quantized_from_the_checkpoints_own_values(v4: Path, tmp_path: Path) -> None:
    """Equal values in float32 give the same bytes: nothing lies between source and output."""
    paths = []
    for dtype in ("fp4", "dequantized"):
        folder = v4
        if dtype == "dequantized":
            folder = write_checkpoint(tmp_path / dtype, "deepseek-v4", dtype=dtype)
        paths.append(tmp_path / f"{dtype}.gguf")
        converter.write_gguf(plan_of(folder, converter.recipe_named("V4-Q2")), [paths[-1]])
    ours, theirs = (contents(path)[1] for path in paths)
    quantized = [name for name in ours if name.endswith(("_exps.weight", "_shexp.weight"))]
    assert len(quantized) == 30
    assert {name: ours[name] for name in quantized} == {name: theirs[name] for name in quantized}


def test_two_bits_need_an_importance_matrix(v4: Path) -> None:
    with pytest.raises(UsageError, match=r"V4-IQ2: .*IQ2_XXS, so it needs an importance matrix"):
        plan_of(v4, converter.recipe_named("V4-IQ2"))


def test_other_models_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "llama")
    with pytest.raises(UsageError, match="V4-Q2 is for DeepSeek V4"):
        plan_of(folder, converter.recipe_named("V4-Q2"))


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q8_0", "Q5_0"])
def test_experts_that_grow_are_mentioned_with_what_is_smaller(v4: Path, recipe: str) -> None:
    (warning,) = (w for w in plan_of(v4, converter.recipe_named(recipe)).warnings if "4.25" in w)
    assert recipe in warning
    assert "MXFP4" in warning
    assert not [w for w in plan_of(v4, converter.recipe_named("Q2_K")).warnings if "4.25" in w]


@pytest.mark.parametrize("share", [0.8, 0.9, 0.95, 1.0, 1.5])
def test_a_size_changes_experts_alone_and_stops_at_the_lossless_type(
    v4: Path, tmp_path: Path, share: float
) -> None:
    lossless = tmp_path / "lossless.gguf"
    plan = plan_of(v4, converter.recipe_named("MXFP4"))
    converter.write_gguf(plan, [lossless])
    budget = int(lossless.stat().st_size * share)
    out = tmp_path / "out.gguf"
    plan = plan_of(v4, converter.SizedRecipe("x", budget))
    converter.write_gguf(plan, [out])
    assert out.stat().st_size <= budget
    experts = {kind for name, kind in kinds(plan).items() if "_exps" in name}
    assert experts <= {"Q2_K", "Q3_K", "MXFP4"}
    if share >= 1:
        assert experts == {"MXFP4"}
    small = {name: kind for name, kind in kinds(plan).items() if "_exps" not in name}
    assert set(small.values()) <= AT_LEAST_8_BITS | {"I32"}


@pytest.mark.parametrize(
    ("recipe", "published"), [("MXFP4", 145.26 * 2**30), ("V4-IQ2", 86_720_111_488)]
)
def test_sizes_of_flash_are_those_that_others_publish(recipe: str, published: float) -> None:
    header = header_from_config(FLASH, converter.recipe_named(recipe))
    assert header.file_size == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize(
    ("changes", "published"),
    [({}, 159_609_485_896), (DSPARK, 166_878_536_440), (PRO, 892_727_580_904)],
    ids=["V4-Flash", "V4-Flash-0731", "V4-Pro-0813"],
)
def test_bytes_of_checkpoints_are_the_published_ones(
    changes: dict[str, Any], published: int
) -> None:
    assert checkpoint_bytes({**FLASH, **changes}, "fp8") == published


def test_the_lossless_file_says_what_it_is(v4: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    converter.write_gguf(plan_of(v4, converter.recipe_named("MXFP4")), [out])
    header = read_header(out)
    assert (header.metadata["general.file_type"], header.architecture) == (38, "deepseek4")
    assert len({tensor.type.name for tensor in header.tensors} & {"MXFP4", "Q8_0", "BF16"}) == 3
