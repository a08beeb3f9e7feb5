"""Tensors of tiny DeepSeek V4 checkpoints, in the names and types that the vendor publishes.

The experts are FP4 with one E8M0 scale for 32 weights, other large matrices FP8 with one E8M0 scale
for 128x128, the small ones bf16 or float32. Base checkpoints have FP8 experts with float32 scales.
Knows nothing of files; :mod:`.tiny_checkpoints` writes them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .stored_tensors import (
    FP8_BLOCK,
    Floats,
    Stored,
    encode,
    fp8_codes,
    normal_values,
)

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]
FP4_BLOCK = 32
E8M0_ONE = 127  # the code of 1
# the magnitudes of e2m1, by code
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)

FP8_PARTS = (
    ".wq_a.",
    ".wq_b.",
    "attn.wkv.",
    ".wo_a.",
    ".wo_b.",
    "shared_experts.",
    "e_proj.",
    "h_proj.",
    "main_proj.",
)
F32_PARTS = ("hc_", "attn_sink", ".ape", "gate.bias")
V4: Config = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "model_type": "deepseek_v4",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "compress_ratios": [0, 0, 4, 128, 4, 0],
    "compress_rope_theta": 160000,
    "hc_eps": 1e-6,
    "hc_mult": 4,
    "hc_sinkhorn_iters": 20,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 256,
    "index_head_dim": 128,
    "index_n_heads": 8,
    "index_topk": 8,
    "initializer_range": 0.02,
    "max_position_embeddings": 8192,
    "moe_intermediate_size": 256,
    "n_routed_experts": 6,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 5,
    "num_hash_layers": 1,
    "num_key_value_heads": 1,
    "num_nextn_predict_layers": 1,
    "o_groups": 2,
    "o_lora_rank": 64,
    "q_lora_rank": 128,
    "qk_rope_head_dim": 32,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 16,
        "original_max_position_embeddings": 512,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "routed_scaling_factor": 1.5,
    "scoring_func": "sqrtsoftplus",
    "sliding_window": 128,
    "swiglu_limit": 10.0,
    "tie_word_embeddings": False,
    "topk_method": "noaux_tc",
    "use_cache": True,
    "vocab_size": 320,
}
# what V4-Flash-0731's config.json adds; its num_nextn_predict_layers still says 1
DSPARK: Config = {
    "compress_ratios": [0, 0, 4, 128, 4, 0, 0, 0],
    "dspark_block_size": 5,
    "dspark_markov_rank": 32,
    "dspark_noise_token_id": 255,
    "dspark_target_layer_ids": [2, 3, 4],
}
DSPARK_STAGES = 3


def tensor_shapes(c: Config) -> Shapes:
    """Return every tensor of a model with this configuration, row-major, without scales."""
    embd, vocab = c["hidden_size"], c["vocab_size"]
    found: Shapes = {"embed.weight": (vocab, embd), "head.weight": (vocab, embd)}
    found |= _head(c)
    for layer, ratio in enumerate(c["compress_ratios"][: c["num_hidden_layers"]]):
        is_hashed = layer < c["num_hash_layers"]
        found |= _named(f"layers.{layer}.", _block(c, ratio, is_hashed=is_hashed))
    if "dspark_block_size" in c:
        rank = c["dspark_markov_rank"]
        targets = len(c["dspark_target_layer_ids"])
        for stage in range(DSPARK_STAGES):
            found |= _named(f"mtp.{stage}.", _block(c, 0, is_hashed=False))
        found |= _named(
            "mtp.0.",
            {"main_proj.weight": (embd, targets * embd), "main_norm.weight": (embd,)},
        )
        found |= _named(
            f"mtp.{DSPARK_STAGES - 1}.",
            {
                **_head(c),
                "markov_head.markov_w1.weight": (vocab, rank),
                "markov_head.markov_w2.weight": (vocab, rank),
                "confidence_head.proj.weight": (1, embd + rank),
            },
        )
    elif c["num_nextn_predict_layers"]:
        found |= _named("mtp.0.", _block(c, 0, is_hashed=False) | _head(c))
        for name in ("e_proj", "h_proj"):
            found[f"mtp.0.{name}.weight"] = (embd, embd)
        found |= {"mtp.0.enorm.weight": (embd,), "mtp.0.hnorm.weight": (embd,)}
    if c.get("vision_n_layers"):
        routers = [name for name in found if name.endswith("ffn.gate.weight")]
        found |= {name.replace("weight", "bias_vl"): (c["n_routed_experts"],) for name in routers}
        found |= {"vision.norm.weight": (64,), "aligner.proj.weight": (embd, 64)}
    return found


def _named(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def _head(c: Config) -> Shapes:
    """Return what stands before an output matrix: the norm and the streams' last mixer."""
    embd, hc = c["hidden_size"], c["hc_mult"]
    return {
        "norm.weight": (embd,),
        "hc_head_fn": (hc, hc * embd),
        "hc_head_base": (hc,),
        "hc_head_scale": (1,),
    }


def _block(c: Config, ratio: int, *, is_hashed: bool) -> Shapes:
    """Return the tensors of one layer."""
    embd, hc = c["hidden_size"], c["hc_mult"]
    heads, size = c["num_attention_heads"], c["head_dim"]
    ff, experts = c["moe_intermediate_size"], c["n_routed_experts"]
    groups, rank = c["o_groups"], c["o_lora_rank"]
    q_rank = c["q_lora_rank"]
    found: Shapes = {"attn_norm.weight": (embd,), "ffn_norm.weight": (embd,)}
    for part in ("attn", "ffn"):
        found |= {
            f"hc_{part}_fn": ((2 + hc) * hc, hc * embd),
            f"hc_{part}_base": ((2 + hc) * hc,),
            f"hc_{part}_scale": (3,),
        }
    found |= {
        "attn.attn_sink": (heads,),
        "attn.wq_a.weight": (q_rank, embd),
        "attn.q_norm.weight": (q_rank,),
        "attn.wq_b.weight": (heads * size, q_rank),
        "attn.wkv.weight": (size, embd),
        "attn.kv_norm.weight": (size,),
        "attn.wo_a.weight": (groups * rank, heads * size // groups),
        "attn.wo_b.weight": (embd, groups * rank),
    }
    if ratio:
        wide = 2 if ratio == 4 else 1
        found |= _compressor("attn.", ratio, wide * size, size, embd)
    if ratio == 4:
        index = c["index_head_dim"]
        found |= {
            "attn.indexer.wq_b.weight": (c["index_n_heads"] * index, q_rank),
            "attn.indexer.weights_proj.weight": (c["index_n_heads"], embd),
            **_compressor("attn.indexer.", ratio, 2 * index, index, embd),
        }
    found["ffn.gate.weight"] = (experts, embd)
    if is_hashed:
        found["ffn.gate.tid2eid"] = (c["vocab_size"], c["num_experts_per_tok"])
    else:
        found["ffn.gate.bias"] = (experts,)
    names = [f"ffn.experts.{e}" for e in range(experts)]
    for name, width in [(name, ff) for name in names] + [
        ("ffn.shared_experts", ff * c["n_shared_experts"])
    ]:
        found |= {
            f"{name}.w1.weight": (width, embd),
            f"{name}.w2.weight": (embd, width),
            f"{name}.w3.weight": (width, embd),
        }
    return found


def _compressor(prefix: str, ratio: int, width: int, size: int, embd: int) -> Shapes:
    return {
        f"{prefix}compressor.ape": (ratio, width),
        f"{prefix}compressor.norm.weight": (size,),
        f"{prefix}compressor.wkv.weight": (width, embd),
        f"{prefix}compressor.wgate.weight": (width, embd),
    }


def stored_tensors(c: Config, dtype: str, seed: int) -> Iterator[tuple[str, Stored]]:
    """Yield the tensors as a file stores them.

    ``dtype``: fp4 (as published), fp8 (a Base checkpoint), bf16 or f32 (copies: all in one type),
    or dequantized (what fp4 stands for, in float32).
    """
    if dtype == "dequantized":
        yield from dequantized(dict(stored_tensors(c, "fp4", seed))).items()
        return
    for name, shape in tensor_shapes(c).items():
        if name.endswith("tid2eid"):
            yield name, _hash_table(name, shape, c["n_routed_experts"], seed)
            continue
        values = _values(name, shape, seed)
        scale = name.removesuffix("weight") + "scale"
        if dtype in ("bf16", "f32"):
            yield name, encode(values, "f32" if _is_f32(name) else dtype)
        elif ".experts." in name and dtype == "fp4":
            codes, exponents = quantize_fp4(values)
            packed = codes[:, 0::2] | codes[:, 1::2] << 4
            yield name, Stored("I8", packed.shape, packed.tobytes())
            yield scale, Stored("F8_E8M0", exponents.shape, exponents.tobytes())
        elif ".experts." in name or any(part in name for part in FP8_PARTS):
            is_float = ".experts." in name
            yield from _fp8(name, scale, values, float_scale=is_float)
        else:
            yield name, encode(values, "f32" if _is_f32(name) else "bf16")


def _is_f32(name: str) -> bool:
    return any(part in name for part in F32_PARTS)


def _values(name: str, shape: tuple[int, ...], seed: int) -> Floats:
    """Return normally distributed values: norms about 1, everything else about 0."""
    spread = shape[-1] ** -0.5 if len(shape) > 1 else 0.1
    if name.endswith(".ape"):
        spread = 0.2
    if name == "embed.weight":
        spread = 1.0
    values = normal_values([seed, zlib.crc32(name.encode())], shape, spread)
    return values + np.float32(1) if name.endswith("norm.weight") else values


def _hash_table(name: str, shape: tuple[int, ...], experts: int, seed: int) -> Stored:
    """Return which experts each token goes to: distinct ones."""
    first = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(shape[0]) % experts
    table = (first[:, None].astype(np.int64) + np.arange(shape[1])) % experts
    return Stored("I64", shape, table.astype("<i8").tobytes())


def _fp8(
    name: str, scale: str, values: Floats, *, float_scale: bool
) -> Iterator[tuple[str, Stored]]:
    """Yield e4m3 codes and the scales of their blocks: powers of two, or any float32."""
    rows, columns = (-(-n // FP8_BLOCK) for n in values.shape)
    padded = np.zeros((rows * FP8_BLOCK, columns * FP8_BLOCK), np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    largest = np.abs(padded.reshape(rows, FP8_BLOCK, columns, FP8_BLOCK)).max((1, 3))
    ratio = (largest / np.float32(448)).astype(np.float32)
    exponents = np.frexp(ratio)[1]  # of the next power of two
    scales = ratio if float_scale else np.ldexp(np.float32(1), exponents).astype(np.float32)
    spread = scales.repeat(FP8_BLOCK, 0).repeat(FP8_BLOCK, 1)
    codes = fp8_codes((padded / spread)[: values.shape[0], : values.shape[1]])
    yield name, Stored("F8_E4M3", values.shape, codes.tobytes())
    if float_scale:
        yield scale, encode(scales, "f32")
    else:
        codes = (exponents + E8M0_ONE).astype(np.uint8)
        yield scale, Stored("F8_E8M0", codes.shape, codes.tobytes())


def quantize_fp4(values: Floats) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return e2m1 codes ``[rows, columns]`` and the E8M0 code of each 32's scale."""
    rows, columns = values.shape
    padded = np.zeros((rows, -(-columns // FP4_BLOCK) * FP4_BLOCK), np.float32)
    padded[:, :columns] = values
    blocks = padded.reshape(rows, -1, FP4_BLOCK)
    largest = np.abs(blocks).max(2)
    exponents = np.frexp(largest)[1] - 3  # 4 to 8, of which 6 is the largest code
    scaled = np.ldexp(blocks, -exponents[..., None])
    middles = (E2M1[:-1] + E2M1[1:]) / 2
    codes = np.searchsorted(middles, np.abs(scaled)).astype(np.uint8)
    codes |= np.signbit(scaled).astype(np.uint8) << 3
    return codes.reshape(rows, -1)[:, :columns], (exponents + E8M0_ONE).astype(np.uint8)


def dequantized(stored: dict[str, Stored]) -> dict[str, Stored]:
    """Return what FP4 and FP8 tensors stand for, in float32; others as they are."""
    found = {}
    for name, tensor in stored.items():
        scale = stored.get(name.removesuffix("weight") + "scale")
        if name.endswith(".scale"):
            continue
        if scale is None or name.endswith("tid2eid"):
            found[name] = tensor
            continue
        scales = _scale_values(scale)
        raw = np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape)
        if tensor.dtype == "I8":
            table = np.concatenate([E2M1, -E2M1])
            codes = np.stack([raw & 15, raw >> 4], -1).reshape(raw.shape[0], -1)
            values = table[codes] * scales.repeat(FP4_BLOCK, 1)
        else:
            spread = scales.repeat(FP8_BLOCK, 0)[: raw.shape[0]]
            values = _e4m3(raw) * spread.repeat(FP8_BLOCK, 1)[:, : raw.shape[1]]
        found[name] = encode(values.astype(np.float32), "f32")
    return found


def _scale_values(scale: Stored) -> Floats:
    if scale.dtype == "F32":
        return np.frombuffer(scale.data, "<f4").reshape(scale.shape)
    codes = np.frombuffer(scale.data, np.uint8).astype(np.int32)
    return np.ldexp(np.float32(1), codes - E8M0_ONE).astype(np.float32).reshape(scale.shape)


def _e4m3(codes: NDArray[np.uint8]) -> Floats:
    exponent, mantissa = (codes >> 3 & 15).astype(np.int32), (codes & 7).astype(np.float32)
    small = mantissa * math.ldexp(1, -9)
    large = np.ldexp(1 + mantissa / 8, exponent - 7)
    magnitude = np.where(exponent == 0, small, large)
    return np.where(codes & 128, -magnitude, magnitude).astype(np.float32)
