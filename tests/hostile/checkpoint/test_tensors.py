"""Proves that tensors which are missing, strange or full of nonsense are refused by name, before or
while they are converted.

Scales of FP8 weights, NaN and infinity in every dtype and path through the converter, tensors too
few and too many.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints.damage import (
    FIRST,
    SECOND,
    SINGLE,
    Case,
    Damage,
    config,
    convert_to,
    make_base,
    poked,
    several,
    shard_of,
    with_tensor,
    without,
)
from support.gguf.reading import contents

LAYER, MTP = "model.layers.1.", "model.layers.2."
Q_B, SCALE = (
    f"{LAYER}self_attn.q_b_proj.weight",
    f"{LAYER}self_attn.q_b_proj.weight_scale_inv",
)  # in the first and second shard
ONE = struct.pack("<f", 1.0)
ZERO_WEIGHT = "model.layers.0.self_attn.q_proj.weight"
BF16_BAD = {
    "NaN": b"\xc0\x7f",
    "-NaN": b"\xc0\xff",
    "signalling NaN": b"\x81\x7f",
    "infinity": b"\x80\x7f",
    "-infinity": b"\x80\xff",
}
F32_BAD = {
    "NaN": struct.pack("<f", float("nan")),
    "infinity": struct.pack("<f", float("inf")),
    "large": struct.pack("<f", 1e30),
}
F16_BAD = {"NaN": b"\x01\x7e", "infinity": b"\x00\x7c", "-infinity": b"\x00\xfc"}


def rows() -> Iterator[Case]:
    yield from _scales()
    yield from _values()
    yield from _missing()
    yield from _too_many()
    yield from _kinds()


def _scales() -> Iterator[Case]:
    yield Case(
        "no scale", without(SCALE), "is FP8 and its _scale_inv is missing", file=FIRST, tensor=Q_B
    )
    Scale = partial(Case, file=SECOND, tensor=SCALE)
    for shape in ([1], [1, 1, 1], [2, 1], [1, 2], [], [0, 1], [64, 32]):
        size = 4
        for n in shape:
            size *= n
        words = f"is F32 {shape}; F32 [1, 1] is needed for [64, 32]"
        yield Scale(
            f"scale of shape {shape}", with_tensor(SECOND, SCALE, "F32", shape, bytes(size)), words
        )
    for dtype, size in [("BF16", 2), ("F16", 2), ("F64", 8), ("F8_E8M0", 1), ("I32", 4)]:
        yield Scale(
            f"scale in {dtype}",
            with_tensor(SECOND, SCALE, dtype, [1, 1], bytes(size)),
            f"is {dtype} [1, 1]; F32 [1, 1] is needed",
        )
    Weight = partial(Case, file=FIRST, tensor=Q_B)
    for name, value in [
        ("infinite", "inf"),
        ("-infinite", "-inf"),
        ("NaN", "nan"),
        ("huge", "3e38"),
        ("-huge", "-3e38"),
        ("large", "1e9"),
    ]:
        yield Weight(f"{name} scale", poked(SCALE, 0, struct.pack("<f", float(value))), "holds ")
    blocks = config(quantization_config={"quant_method": "fp8", "weight_block_size": [16, 16]})
    yield Case(
        "smaller blocks than the scales are for",
        blocks,
        "F32 [4, 2] is needed",
        file=FIRST,
        tensor="model.layers.0.self_attn.kv_b_proj.weight_scale_inv",
    )
    stray = with_tensor(FIRST, "lm_head.weight_scale_inv", "F32", [3, 1], ONE * 3)
    yield Case(
        "a scale for a weight that is not FP8",
        stray,
        NOT_HERE,
        file=FIRST,
        tensor="lm_head.weight_scale_inv",
    )


def _values() -> Iterator[Case]:
    places = {
        "q_b": (Q_B, FIRST, 0),
        "an expert's last weight": (f"{LAYER}mlp.experts.3.down_proj.weight", SECOND, 32 * 32 - 1),
        "kv_b's k": (f"{LAYER}self_attn.kv_b_proj.weight", SECOND, 3),
        "kv_b's v": (f"{LAYER}self_attn.kv_b_proj.weight", SECOND, 17 * 32),
        "the MTP layer": (f"{MTP}mlp.shared_experts.up_proj.weight", SECOND, 5),
    }
    for place, (tensor, shard, number) in places.items():
        for byte in (b"\x7f", b"\xff"):
            yield Case(
                f"0x{byte.hex()} in {place}",
                poked(tensor, number, byte),
                "holds NaN or infinity, first at [",
                file=shard,
                tensor=tensor,
            )
    for what, data in BF16_BAD.items():
        yield Case(
            f"{what} in embeddings",
            poked("model.embed_tokens.weight", 41, data),
            "first at [1, 9]",
            file=FIRST,
            tensor=EMBED,
        )
    for tensor, shard in [
        ("model.norm.weight", SECOND),
        ("lm_head.weight", FIRST),
        (f"{MTP}embed_tokens.weight", SECOND),
    ]:
        yield Case(
            f"NaN in {tensor}",
            poked(tensor, 31, b"\xc0\x7f"),
            "first at [0, 31]",
            file=shard,
            tensor=tensor,
        )
    for what, data in F32_BAD.items():
        yield Case(
            f"{what} in the router's bias",
            poked(BIAS, 3, data),
            "first at [0, 3]",
            file=FIRST,
            tensor=BIAS,
        )
    for what, data in F16_BAD.items():
        damage = several(in_f16(ZERO_WEIGHT), poked(ZERO_WEIGHT, 70, data))
        yield Case(
            f"{what} in F16",
            damage,
            "holds NaN or infinity, first at [2, 6]",
            file=SINGLE,
            tensor=ZERO_WEIGHT,
            base="llama",
        )
    yield Case(
        "1e38 in bf16",
        poked(EMBED, 0, b"\x96\x7e"),
        "more than float16 has room for",
        file=FIRST,
        tensor=EMBED,
    )


def _missing() -> Iterator[Case]:
    Missing = partial(Case, words="is missing from the checkpoint")
    expert = f"{LAYER}mlp.experts.2.up_proj.weight"
    yield Missing("an expert", without(expert, f"{expert}_scale_inv"), tensor=expert)
    for tensor in (
        EMBED,
        "lm_head.weight",
        "model.norm.weight",
        f"{LAYER}input_layernorm.weight",
        f"{LAYER}mlp.gate.weight",
        BIAS,
    ):
        yield Missing(f"no {tensor}", without(tensor), tensor=tensor)
    for tensor in (f"{MTP}eh_proj.weight", f"{MTP}enorm.weight", f"{MTP}shared_head.norm.weight"):
        yield Missing(f"no {tensor}", without(tensor), tensor=tensor)
    bias = "model.layers.1.self_attn.k_proj.bias"
    yield Missing("one bias of qwen2's", without(bias), tensor=bias, base="qwen2")
    yield Missing(
        "a layer fewer",
        config(num_hidden_layers=3),
        tensor="model.layers.2.input_layernorm.weight",
        base="llama",
    )


def _too_many() -> Iterator[Case]:
    more = {
        "a layer": "model.layers.3.input_layernorm.weight",
        "an expert": f"{LAYER}mlp.experts.4.gate_proj.weight",
        "a bias": f"{LAYER}self_attn.q_b_proj.bias",
        "an adapter": f"base_model.model.{Q_B}",
        "a vision tower": "visual.patch_embed.weight",
        "a name like ours": "blk.0.attn_q.weight",
        "an empty name": "",
    }
    for what, tensor in more.items():
        damage = with_tensor(FIRST, tensor, "BF16", [32], bytes(64))
        yield Case(f"{what} too many", damage, NOT_HERE, file=FIRST, tensor=tensor)
    MANY = partial(Case, words=NOT_HERE, base="llama", file=SINGLE)
    yield MANY(
        "a layer that config.json leaves out",
        config(num_hidden_layers=1),
        tensor="model.layers.1.input_layernorm.weight",
    )
    yield Case(
        "MTP that config.json leaves out",
        config(num_nextn_predict_layers=0),
        NOT_HERE,
        file=FIRST,
        tensor=f"{MTP}post_attention_layernorm.weight",
    )
    yield Case(
        "experts that config.json leaves out",
        config(n_routed_experts=3, n_group=1),
        "is [4, 32]",
        file=SECOND,
        tensor=f"{LAYER}mlp.gate.weight",
    )


def _kinds() -> Iterator[Case]:
    for dtype, width in [
        ("F64", 8),
        ("I64", 8),
        ("I8", 1),
        ("U8", 1),
        ("BOOL", 1),
        ("F8_E5M2", 1),
        ("F8_E8M0", 1),
        ("U32", 4),
    ]:
        damage = with_tensor(FIRST, EMBED, dtype, [320, 32], bytes(320 * 32 * width))
        yield Case(
            f"embeddings in {dtype}",
            damage,
            f"is {dtype}; weights in F8_E4M3, BF16, F16, F32",
            file=FIRST,
            tensor=EMBED,
        )
    norm = "model.norm.weight"
    yield Case(
        "a norm in FP8",
        with_tensor(SECOND, norm, "F8_E4M3", [32], bytes(32)),
        "is FP8 but not a matrix",
        file=SECOND,
        tensor=norm,
    )
    for key, value, tensor, shard in [
        ("hidden_size", 64, EMBED, FIRST),
        ("vocab_size", 319, EMBED, FIRST),
        ("intermediate_size", 65, "model.layers.0.mlp.gate_proj.weight", SECOND),
        ("kv_lora_rank", 33, "model.layers.0.self_attn.kv_a_proj_with_mqa.weight", FIRST),
        ("q_lora_rank", 33, "model.layers.0.self_attn.q_a_proj.weight", SECOND),
        ("v_head_dim", 17, "model.layers.0.self_attn.kv_b_proj.weight", SECOND),
        ("moe_intermediate_size", 33, f"{LAYER}mlp.experts.0.gate_proj.weight", SECOND),
        ("n_shared_experts", 2, f"{LAYER}mlp.shared_experts.gate_proj.weight", SECOND),
        ("first_k_dense_replace", 2, f"{LAYER}mlp.gate_proj.weight", ""),
    ]:
        words = "config.json makes it" if shard else "is missing"
        yield Case(f"{key} {value}", config(**{key: value}), words, file=shard, tensor=tensor)


NOT_HERE = "is not a tensor that this family has"
EMBED, BIAS = "model.embed_tokens.weight", f"{LAYER}mlp.gate.e_score_correction_bias"


def in_f16(tensor: str) -> Damage:
    """All zeros, in F16."""
    return with_tensor(SINGLE, tensor, "F16", [32, 32], bytes(2048))


def lone(tensor: str, value: bytes) -> Damage:
    """``tensor`` all ``value``."""

    def do(folder: Path) -> None:
        for number in range(32):
            poked(tensor, number, value)(folder)

    return do


@pytest.mark.parametrize("case", list(rows()), ids=lambda case: case.id)
def test_refused(case: Case, refused: Callable[[Case], None]) -> None:
    refused(case)


Q_B_OUT = "blk.1.attn_q_b.weight"
EMBED_OUT = "token_embd.weight"
NORM_OUT = "output_norm.weight"
# what is done, and the first weights that come of it
FINE: dict[str, tuple[Damage, str, list[float]]] = {
    "largest and smallest FP8": (
        several(
            poked(SCALE, 0, struct.pack("<f", 1.0)),
            poked(Q_B, 0, b"\x7e"),
            poked(Q_B, 1, b"\xfe"),
            poked(Q_B, 2, b"\x80"),
            poked(Q_B, 3, b"\x01"),
        ),
        Q_B_OUT,
        [448, -448, -0.0, 2**-9],
    ),
    "a scale of zero": (poked(SCALE, 0, bytes(4)), Q_B_OUT, [0, 0, 0, 0]),
    "a negative scale": (
        poked(SCALE, 0, struct.pack("<f", -0.5)),
        Q_B_OUT,
        [-60, 36, 60, 120, -112, -9],
    ),
    "a denormal scale": (
        poked(SCALE, 0, struct.pack("<f", 1e-40)),
        Q_B_OUT,
        [120 * 9.99995e-41, -72 * 9.99995e-41],
    ),
    "denormal weights": (lone(EMBED, b"\x01\0"), EMBED_OUT, [2**-133] * 32),
    "large weights": (lone(EMBED, b"\x7f\x47"), EMBED_OUT, [65280] * 32),
    "no weights at all": (lone("model.norm.weight", b"\0\0"), NORM_OUT, [0] * 32),
}


@pytest.mark.parametrize(("damage", "tensor", "expected"), FINE.values(), ids=FINE)
def test_what_is_only_unusual_is_converted(
    damage: Damage,
    tensor: str,
    expected: list[float],
    copy: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """Proves that the weights are what the checkpoint says, that nothing else changes, and that
    they can be quantized.
    """
    folder = copy("v3")
    convert_to(folder, tmp_path / "plain.gguf", "F32")
    damage(folder)
    convert_to(folder, tmp_path / "x.gguf", "F32")
    found, plain = (contents(tmp_path / name)[1] for name in ("x.gguf", "plain.gguf"))
    weights = np.frombuffer(found[tensor][2], np.float32)
    assert weights[: len(expected)] == pytest.approx(expected, rel=1e-5, abs=0)
    assert [name for name in plain if found[name] != plain[name]] == [tensor]
    for recipe in ("Q8_0", "IQ3_S"):
        convert_to(folder, tmp_path / f"{recipe}.gguf", recipe)
        assert list(contents(tmp_path / f"{recipe}.gguf")[1]) == list(found)


def test_where_scales_lie_makes_no_difference(bases: Callable[[str], Path], tmp_path: Path) -> None:
    apart = bases("v3")
    assert shard_of(apart, Q_B) != shard_of(apart, SCALE)
    together = make_base(tmp_path / "elsewhere" / apart.name, "v3", shards=1)
    assert shard_of(together, Q_B) == shard_of(together, SCALE)
    convert_to(apart, tmp_path / "apart.gguf")
    convert_to(together, tmp_path / "together.gguf")
    assert (tmp_path / "apart.gguf").read_bytes() == (tmp_path / "together.gguf").read_bytes()
