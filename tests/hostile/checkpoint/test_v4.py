"""V4 checkpoints that contradict themselves are refused in one line that names key or tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.checkpoints.damage import (
    SINGLE,
    Case,
    Damage,
    config,
    each,
    entry,
    poked,
    refusal,
    with_tensor,
    without,
)

import dslocal.convert as converter
from dslocal.errors import CheckpointError, DslocalError, UnsupportedModelError

CONFIG = "config.json"
EXPERT = "layers.1.ffn.experts.2.w1"
TABLE = "layers.0.ffn.gate.tid2eid"


def key(name: str, value: object, words: str = "") -> Case:
    text = f"{name} {words}" if words else f"{name} "
    return Case(f"{name} {value!r}", config(**{name: value}), text, CONFIG, base="v4")


def tensor(what: str, damage: Damage, words: str, name: str, base: str = "v4") -> Case:
    return Case(what, damage, words, SINGLE, name, base=base)


def rows() -> Iterator[Case]:
    for ratios in each([0, 0, 4, 128], [], [0] * 9):
        yield key("compress_ratios", ratios, "has ")
    for ratios in each(None, "0,0,4,128,4,0", 4, {"0": 4}):
        yield key("compress_ratios", ratios, "is ")
    for wrong in each(5, -4, 128.0, True, None, "4", [4], 1 << 70):
        yield key("compress_ratios", [0, 0, wrong, 128, 4, 0], "has ")
    yield key("compress_ratios", [0, 0, 4, 128, 4, 4], "has 4 at 5")
    for name in ("int3", "", "FP4", 4, ["fp4"]):
        yield key("expert_dtype", name, "is ")
    yield key("scoring_func", "sigmoid", "is ")
    yield key("hc_mult", 2, "is 2")
    yield key("num_hash_layers", 6, "is 6")
    yield key("num_hash_layers", -1, "is -1")
    yield key("o_groups", 3, "is 3")
    yield key("qk_rope_head_dim", 66, "is 66")
    yield key("qk_rope_head_dim", 31, "is 31")
    yield key("num_key_value_heads", 4, "is not 1")
    yield key("num_experts_per_tok", 7, "is 7")
    for name in ("swiglu_limit", "hc_eps", "sliding_window", "compress_rope_theta", "o_lora_rank"):
        yield key(name, ..., "is missing")
    name = f"{EXPERT}.weight"
    yield tensor("FP4 without scale", without(f"{EXPERT}.scale"), "its .scale is missing", name)
    yield tensor(
        "FP8 without scale",
        without("layers.1.attn.wkv.scale"),
        "is FP8 and its .scale is missing",
        "layers.1.attn.wkv.weight",
    )
    yield tensor(
        "FP4 with columns that are not whole blocks",
        lambda _folder: None,
        "is FP4 with 240 columns",
        "layers.0.ffn.experts.0.w2.weight",
        base="v4-odd",
    )
    yield tensor(
        "FP4 scale of another shape",
        with_tensor(SINGLE, f"{EXPERT}.scale", "F8_E8M0", [256, 7], bytes(256 * 7)),
        "F8_E8M0 [256, 8] is needed",
        f"{EXPERT}.scale",
    )
    yield tensor(
        "FP4 scale in float32",
        with_tensor(SINGLE, f"{EXPERT}.scale", "F32", [256, 8], bytes(256 * 8 * 4)),
        "F8_E8M0 [256, 8] is needed",
        f"{EXPERT}.scale",
    )
    yield tensor("FP4 scale of NaN", poked(f"{EXPERT}.scale", 9, b"\xff"), "holds NaN", name)
    yield tensor("FP4 scale of 2^100", poked(f"{EXPERT}.scale", 9, b"\xe3"), "float16", name)
    for what, value in (("too large", b"\x06" + bytes(7)), ("negative", b"\xff" * 8)):
        yield tensor(f"expert {what}", poked(TABLE, 5, value), ", of 6", TABLE)
    yield tensor("expert of 2^40", poked(TABLE, 5, bytes(5) + b"\x01\0\0"), ", of 6", TABLE)
    yield tensor("table in U64", entry(SINGLE, TABLE, dtype="U64"), "is U64", TABLE)
    yield tensor(
        "table in F32",
        with_tensor(SINGLE, TABLE, "F32", [320, 2], bytes(2560)),
        "I64, I32 can be converted",
        TABLE,
    )
    yield tensor(
        "unknown tensor",
        with_tensor(SINGLE, "layers.1.attn.extra.weight", "F32", [2], bytes(8)),
        "is not a tensor that this family has",
        "layers.1.attn.extra.weight",
    )


@pytest.mark.parametrize("case", list(rows()), ids=lambda case: case.id)
def test_refused(case: Case, refused: Callable[[Case], None]) -> None:
    refused(case)


def test_v4_1_is_refused_with_what_to_run_instead(
    copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, out = copy("v4"), tmp_path / "out"
    out.mkdir()
    config(architectures=["DeepseekV41ForCausalLM"])(folder)
    error = refusal(folder, out)
    assert isinstance(error, UnsupportedModelError)
    assert "deepseek41" in str(error)
    assert "deepseek-v4-flash-0731" in error.hint


@pytest.mark.parametrize(
    ("base", "mode", "damage", "words"),
    [
        ("v4", "only", without("mtp.0.e_proj.weight"), "mtp.0.e_proj.weight: is missing"),
        ("v4", "only", without("mtp.0.hc_head_fn"), "mtp.0.hc_head_fn: is missing"),
        ("v4", "only", without("mtp.0.h_proj.scale"), "mtp.0.h_proj.weight: is FP8 and its .scale"),
        ("v4", "only", config(num_nextn_predict_layers=2), "num_nextn_predict_layers is more"),
        ("v4", "only", config(num_nextn_predict_layers=0), "no multi-token-prediction layer"),
        ("v4", "dspark-only", config(), "has no DSpark drafter"),
        ("dspark", "only", config(), "has DSpark's stages"),
        ("dspark", "dspark-only", without("mtp.1.attn.wkv.weight"), "mtp.1.attn.wkv.weight: is"),
        ("dspark", "dspark-only", config(dspark_target_layer_ids=[9]), "dspark_target_layer_ids"),
        ("dspark", "dspark-only", config(dspark_target_layer_ids=[]), "dspark_target_layer_ids"),
        ("dspark", "dspark-only", config(dspark_noise_token_id=320), "dspark_noise_token_id"),
        ("dspark", "dspark-only", config(dspark_markov_rank=...), "dspark_markov_rank is missing"),
        ("dspark", "beside", without("mtp.2.norm.weight"), "mtp.2.norm.weight: is missing"),
    ],
)
def test_a_drafter_that_is_not_there(
    base: str, mode: str, damage: Damage, words: str, copy: Callable[[str], Path]
) -> None:
    folder = copy(base)
    damage(folder)
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    with pytest.raises(DslocalError) as caught:
        converter.plan_conversion(checkpoint, [converter.recipe_named("MXFP4")], mtp=mode)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_whose_drafter_was_left_out_is_converted(copy: Callable[[str], Path]) -> None:
    folder = copy("v4")
    names = converter.open_checkpoint(converter.FolderSource(folder)).tensors
    without(*(name for name in names if name.startswith("mtp.")))(folder)
    checkpoint = converter.open_checkpoint(converter.FolderSource(folder))
    plan = converter.plan_conversion(checkpoint, [converter.recipe_named("MXFP4")])
    assert not any("left out" in warning for warning in plan.warnings)
    with pytest.raises(CheckpointError, match=r"mtp\.0\."):
        converter.plan_conversion(checkpoint, [converter.recipe_named("MXFP4")], mtp="beside")
