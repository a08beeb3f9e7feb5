"""A trained Nano as a DeepSeek-V3 checkpoint in bf16: tensors by their published names,
config.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from make_nano.export_fp8 import dequantized
from make_nano.model import Block, Experts, Nano, Sizes
from make_nano.shards import read_tensors, write_json, write_tensors
from torch import Tensor

SHARD = 15 << 20
STACKED = {
    "gates": "gate_proj",
    "ups": "up_proj",
    "downs": "down_proj",
}  # one tensor for all experts here, one for each there
BIAS = "gate.e_score_correction_bias"
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "attention_bias": False,
    "hidden_act": "silu",
    "num_key_value_heads": 0,
    "norm_topk_prob": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "moe_layer_freq": 1,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def export(model: Nano, folder: Path) -> None:
    tensors = {name: _stored(name, tensor) for name, tensor in _tensors(model)}
    write_tensors(folder, tensors, SHARD)
    write_json(folder / "config.json", config(model.sizes))


def restore(model: Nano, folder: Path) -> None:
    """Give ``model`` the weights of a checkpoint that these tools wrote, in bf16 or FP8."""
    saved = dequantized(read_tensors(folder))
    with torch.no_grad():
        for name, tensor in _tensors(model):
            tensor.copy_(saved[name])


def config(sizes: Sizes) -> dict[str, object]:
    return {**CONFIG, "num_key_value_heads": sizes.num_attention_heads, **asdict(sizes)}


def _tensors(model: Nano) -> Iterator[tuple[str, Tensor]]:
    yield "model.embed_tokens.weight", model.embed_tokens.weight
    yield "model.norm.weight", model.norm.weight
    yield "lm_head.weight", model.lm_head.weight
    for number, block in enumerate((*model.layers, model.mtp)):
        for name, tensor in _block(block):
            yield f"model.layers.{number}.{name}", tensor
    # V3 keeps the MTP module as a further layer, with copies of what it shares
    last = f"model.layers.{len(model.layers)}"
    yield f"{last}.enorm.weight", model.enorm.weight
    yield f"{last}.hnorm.weight", model.hnorm.weight
    yield f"{last}.eh_proj.weight", model.eh_proj.weight
    yield f"{last}.shared_head.norm.weight", model.mtp_norm.weight
    yield f"{last}.embed_tokens.weight", model.embed_tokens.weight
    yield f"{last}.shared_head.head.weight", model.lm_head.weight


def _block(block: Block) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in block.named_parameters():
        part = STACKED.get(name.removeprefix("mlp."))
        if part is None:
            yield name, tensor
            continue
        for expert, matrix in enumerate(tensor):
            yield f"mlp.experts.{expert}.{part}.weight", matrix.t()
    if isinstance(block.mlp, Experts):
        yield f"mlp.{BIAS}", block.mlp.bias


def _stored(name: str, tensor: Tensor) -> Tensor:
    dtype = torch.float32 if name.endswith(BIAS) else torch.bfloat16
    return (
        tensor.detach().to("cpu", dtype).contiguous().clone()
    )  # a clone each: safetensors takes no shared memory
