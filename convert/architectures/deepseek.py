"""deepseek: DeepSeekMoE 16B, plain attention with routed and shared experts.

Source: llama.cpp, conversion/deepseek.py (``DeepseekModel``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dslocal.convert.checkpoint.config import Config

from .common import (
    ATTENTION_INTERLEAVED,
    DENSE,
    EMBEDDING,
    HEAD,
    NORMS,
    attention_dims,
    base_metadata,
    head_dim,
    is_unused,
    rope_kind,
)
from .mapping import Architecture, CheckpointTensors, MappedTensor, map_tensors
from .moe import MOE, check_routing, dense_layers, moe_dims


def map_checkpoint(source: CheckpointTensors, _mtp: bool) -> list[MappedTensor]:
    """Return the GGUF tensors. Raises CheckpointError."""
    c = source.config
    check_routing(c)
    dims = {**attention_dims(c), **moe_dims(c)}
    dense = dense_layers(c)
    mapped = list(map_tensors(source, EMBEDDING + HEAD, dims))
    for layer in range(c.integer("num_hidden_layers")):
        feed_forward = DENSE if layer < dense else MOE
        table = (*NORMS, *ATTENTION_INTERLEAVED, *feed_forward)
        mapped += map_tensors(source, table, dims, f"model.layers.{layer}.", f"blk.{layer}.")
    return mapped


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    """Yield the GGUF keys in llama.cpp's order. Raises CheckpointError."""
    if rope_kind(c) != "default":
        raise c.error("rope_scaling", f"is of type {rope_kind(c)!r:.40}; DeepSeekMoE has none")
    if c.flag("norm_topk_prob", False):
        raise c.error(
            "norm_topk_prob", "is true; llama.cpp does not normalise in this architecture"
        )
    yield from base_metadata(c)
    yield ".rope.freq_base", c.rope_theta
    yield ".expert_used_count", c.integer("num_experts_per_tok")
    yield ".expert_gating_func", 1
    yield ".rope.dimension_count", head_dim(c)
    yield ".rope.scaling.type", "none"
    yield ".leading_dense_block_count", dense_layers(c)
    yield ".vocab_size", c.integer("vocab_size")
    yield ".expert_feed_forward_length", c.integer("moe_intermediate_size")
    yield ".expert_weights_scale", 1.0
    yield ".expert_count", c.integer("n_routed_experts")
    yield ".expert_shared_count", c.integer("n_shared_experts")


DEEPSEEK = Architecture(
    arch="deepseek",
    accepts=("DeepseekForCausalLM",),
    models="MoE-16B",
    metadata=metadata,
    tensors=map_checkpoint,
    is_ignored=lambda _config, _mtp, name: is_unused(name),
)
