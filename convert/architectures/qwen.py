"""qwen2 and qwen3: the R1 distills of Qwen 2.5 (biases on q, k and v) and R1-0528-Qwen3-8B (norms
on q and k).

Source: llama.cpp, conversion/qwen.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.config import Config

from .common import (
    ATTENTION,
    DENSE,
    EMBEDDING,
    HEAD,
    NORMS,
    attention_dims,
    base_metadata,
    is_unused,
    rope_metadata,
)
from .mapping import Architecture, MappedTensor, TensorMapping, map_tensors, reject_unmapped

BIASES = (
    TensorMapping("self_attn.q_proj.bias", "attn_q.bias", ("q",)),
    TensorMapping("self_attn.k_proj.bias", "attn_k.bias", ("kv",)),
    TensorMapping("self_attn.v_proj.bias", "attn_v.bias", ("kv",)),
)
HEAD_NORMS = (
    TensorMapping("self_attn.q_norm.weight", "attn_q_norm.weight", ("head",)),
    TensorMapping("self_attn.k_norm.weight", "attn_k_norm.weight", ("head",)),
)


def _tensors(checkpoint: Checkpoint, own: tuple[TensorMapping, ...]) -> list[MappedTensor]:
    c = checkpoint.config
    if c.flag("use_sliding_window", False):
        raise c.fail(
            "use_sliding_window", "is true; llama.cpp attends to everything in this architecture"
        )
    d, tied = attention_dims(c), c.flag("tie_word_embeddings", False)
    mapped = list(map_tensors(checkpoint, EMBEDDING + (() if tied else HEAD), d))
    for layer in range(c.integer("num_hidden_layers")):
        mapped += map_tensors(
            checkpoint,
            NORMS + ATTENTION + own + DENSE,
            d,
            f"model.layers.{layer}.",
            f"blk.{layer}.",
        )
    reject_unmapped(
        checkpoint, mapped, lambda name: is_unused(name) or (tied and name == "lm_head.weight")
    )
    return mapped


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    yield from base_metadata(c)
    yield from rope_metadata(c, ("yarn",))


QWEN2 = Architecture(
    arch="qwen2",
    accepts=("Qwen2ForCausalLM",),
    models="R1-Distill-Qwen 1.5B/7B/14B/32B",
    metadata=metadata,
    tensors=lambda checkpoint, _: _tensors(checkpoint, BIASES),
)
QWEN3 = Architecture(
    arch="qwen3",
    accepts=("Qwen3ForCausalLM",),
    models="R1-0528-Qwen3-8B",
    metadata=metadata,
    tensors=lambda checkpoint, _: _tensors(checkpoint, HEAD_NORMS),
)
