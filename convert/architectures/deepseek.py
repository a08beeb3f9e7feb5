"""deepseek: DeepSeekMoE 16B, plain attention with routed and shared experts.

Source: llama.cpp, conversion/deepseek.py (``DeepseekModel``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dslocal.convert.checkpoint.checkpoint import Checkpoint
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
from .mapping import (
    Architecture,
    ExpertsMapping,
    MappedTensor,
    TensorMapping,
    map_tensors,
    reject_unmapped,
)
from .moe import MOE, check_routing, moe_dims


def tensors(checkpoint: Checkpoint, _: bool) -> list[MappedTensor]:
    c = checkpoint.config
    check_routing(c)
    d = {**attention_dims(c), **moe_dims(c)}
    dense = c.integer("first_k_dense_replace", 0, least=0)
    mapped = list(map_tensors(checkpoint, EMBEDDING + HEAD, d))
    for layer in range(c.integer("num_hidden_layers")):
        feed_forward: tuple[TensorMapping | ExpertsMapping, ...] = DENSE if layer < dense else MOE
        mapped += map_tensors(
            checkpoint,
            (*NORMS, *ATTENTION_INTERLEAVED, *feed_forward),
            d,
            f"model.layers.{layer}.",
            f"blk.{layer}.",
        )
    reject_unmapped(checkpoint, mapped, is_unused)
    return mapped


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    if rope_kind(c) != "default":
        raise c.fail("rope_scaling", f"is of type {rope_kind(c)!r:.40}; DeepSeekMoE has none")
    if c.flag("norm_topk_prob", False):
        raise c.fail("norm_topk_prob", "is true; llama.cpp does not normalise in this architecture")
    yield from base_metadata(c)
    yield ".rope.freq_base", c.rope_theta
    yield ".expert_used_count", c.integer("num_experts_per_tok")
    yield ".expert_gating_func", 1
    yield ".rope.dimension_count", head_dim(c)
    yield ".rope.scaling.type", "none"
    yield ".leading_dense_block_count", c.integer("first_k_dense_replace", 0, least=0)
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
    tensors=tensors,
)
