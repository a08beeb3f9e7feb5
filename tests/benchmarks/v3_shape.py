"""Random checkpoints in DeepSeek-V3's own shape, as large as asked: FP8 weights with block scales,
one shard a layer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from typing import Any

import numpy as np
from support.checkpoints.stored_tensors import Stored, quantize_fp8, write_safetensors
from support.checkpoints.tiny_checkpoints import write_checkpoint

BINARY = str(Path(sysconfig.get_path("scripts")) / "dslocal")
HIDDEN = 1792
FF = 1024
RANK = 512  # a quarter of V3's width; experts and heads are cut down to reach the size
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "hidden_size": HIDDEN,
    "intermediate_size": 4608,
    "moe_intermediate_size": FF,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "q_lora_rank": 768,
    "kv_lora_rank": RANK,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 64,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "max_position_embeddings": 4096,
    "vocab_size": 320,
    "num_nextn_predict_layers": 0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "attention_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    },
}


def converted_v3_shape(out: Path, gigabytes: float) -> Path:
    """Return ``out``, a Q8_0 file of such a checkpoint, made where it is missing."""
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as source:
            write_v3_shape(Path(source), gigabytes)
            subprocess.run(
                [BINARY, "convert", source, "-o", str(out), "--quant", "Q8_0"], check=True
            )
    return out


def write_v3_shape(folder: Path, gigabytes: float) -> Path:
    """A checkpoint of about ``gigabytes``, written layer by layer."""
    write_checkpoint(folder, "deepseek-v3")  # for the tokenizer
    (folder / "model.safetensors").unlink()
    layer_bytes = 3 * HIDDEN * FF * 65
    layers = 1 + max(1, round(gigabytes * 1e9 / layer_bytes))
    r = np.random.default_rng(0)
    where: dict[str, str] = {}
    for layer in range(layers):
        shard = f"model-{layer + 1:05d}-of-{layers:05d}.safetensors"
        tensors = dict(_layer(layer, layers, r))
        write_safetensors(folder / shard, tensors)
        where.update(dict.fromkeys(tensors, shard))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (folder / "config.json").write_text(json.dumps({**CONFIG, "num_hidden_layers": layers}))
    return folder


def _layer(layer: int, layers: int, r: np.random.Generator):  # type: ignore[no-untyped-def]
    p = f"model.layers.{layer}."
    if layer == 0:
        yield "model.embed_tokens.weight", _bf16(r, 320, HIDDEN)
    if layer == layers - 1:
        yield "model.norm.weight", _bf16(r, HIDDEN)
        yield "lm_head.weight", _bf16(r, 320, HIDDEN)
    for name, size in (("input_layernorm", HIDDEN), ("post_attention_layernorm", HIDDEN)):
        yield f"{p}{name}.weight", _bf16(r, size)
    yield f"{p}self_attn.q_a_layernorm.weight", _bf16(r, 768)
    yield f"{p}self_attn.kv_a_layernorm.weight", _bf16(r, RANK)
    shapes = {
        "q_a_proj": (768, HIDDEN),
        "q_b_proj": (3072, 768),
        "kv_a_proj_with_mqa": (576, HIDDEN),
        "kv_b_proj": (4096, RANK),
        "o_proj": (HIDDEN, 2048),
    }
    matrices = {f"self_attn.{name}": shape for name, shape in shapes.items()}
    if layer == 0:
        matrices |= {
            "mlp.gate_proj": (4608, HIDDEN),
            "mlp.up_proj": (4608, HIDDEN),
            "mlp.down_proj": (HIDDEN, 4608),
        }
    else:
        for part in [f"mlp.experts.{e}" for e in range(64)] + ["mlp.shared_experts"]:
            matrices |= {
                f"{part}.gate_proj": (FF, HIDDEN),
                f"{part}.up_proj": (FF, HIDDEN),
                f"{part}.down_proj": (HIDDEN, FF),
            }
        yield f"{p}mlp.gate.weight", _bf16(r, 64, HIDDEN)
        yield (
            f"{p}mlp.gate.e_score_correction_bias",
            Stored("F32", (64,), np.zeros(64, "<f4").tobytes()),
        )
    for name, (rows, columns) in matrices.items():
        yield from _fp8(f"{p}{name}.weight", rows, columns, r)


def _bf16(r: np.random.Generator, *shape: int) -> Stored:
    values = (r.standard_normal(shape, np.float32) * np.float32(0.02)).view(np.uint32) >> 16
    return Stored("BF16", shape, values.astype("<u2").tobytes())


def _fp8(name: str, rows: int, columns: int, r: np.random.Generator) -> Any:
    """Bytes with a spread like that of trained weights: e4m3 codes of a Gaussian, scaled to its
    block's maximum.
    """
    codes = _CODES[r.integers(0, len(_CODES), rows * columns, np.int32)]
    scales = r.uniform(1e-4, 3e-4, (-(-rows // 128), -(-columns // 128))).astype("<f4")
    yield name, Stored("F8_E4M3", (rows, columns), codes.tobytes())
    yield name + "_scale_inv", Stored("F32", scales.shape, scales.tobytes())


def _gaussian_codes() -> np.ndarray:
    codes, _ = quantize_fp8(np.random.default_rng(1).standard_normal((128, 128), np.float32))
    return codes.reshape(-1)


_CODES = _gaussian_codes()
