"""qwen2 and qwen3: the R1 distills of Qwen 2.5, and R1-0528-Qwen3-8B.

Qwen 2 has biases on q, k and v; Qwen 3 has norms on q and k. Source: llama.cpp, conversion/qwen.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dslocal.convert.checkpoint.config import Config

from .common import (
    ATTENTION,
    DENSE,
    EMBEDDING,
    HEAD,
    NORMS,
    attention_dims,
    base_metadata,
    has_tied_embeddings,
    is_ignored,
    rope_metadata,
)
from .mapping import Architecture, CheckpointTensors, MappedTensor, TensorMapping, map_tensors

BIASES = (
    TensorMapping("self_attn.q_proj.bias", "attn_q.bias", ("q",)),
    TensorMapping("self_attn.k_proj.bias", "attn_k.bias", ("kv",)),
    TensorMapping("self_attn.v_proj.bias", "attn_v.bias", ("kv",)),
)
HEAD_NORMS = (
    TensorMapping("self_attn.q_norm.weight", "attn_q_norm.weight", ("head",)),
    TensorMapping("self_attn.k_norm.weight", "attn_k_norm.weight", ("head",)),
)


def _map_checkpoint(
    source: CheckpointTensors, own: tuple[TensorMapping, ...]
) -> list[MappedTensor]:
    """Return the GGUF tensors; ``own`` are the rows of a layer that only this version has."""
    c = source.config
    if c.flag("use_sliding_window", False):
        raise c.error(
            "use_sliding_window", "is true; llama.cpp attends to everything in this architecture"
        )
    dims = attention_dims(c)
    head = () if has_tied_embeddings(c) else HEAD
    mapped = list(map_tensors(source, EMBEDDING + head, dims))
    table = NORMS + ATTENTION + own + DENSE
    for layer in range(c.integer("num_hidden_layers")):
        mapped += map_tensors(source, table, dims, f"model.layers.{layer}.", f"blk.{layer}.")
    return mapped


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    """Yield the GGUF keys in llama.cpp's order. Raises CheckpointError."""
    yield from base_metadata(c)
    yield from rope_metadata(c, ("yarn",))


QWEN2 = Architecture(
    arch="qwen2",
    accepts=("Qwen2ForCausalLM",),
    models="R1-Distill-Qwen 1.5B/7B/14B/32B",
    metadata=metadata,
    tensors=lambda source, _mtp: _map_checkpoint(source, BIASES),
    is_ignored=is_ignored,
)
QWEN3 = Architecture(
    arch="qwen3",
    accepts=("Qwen3ForCausalLM",),
    models="R1-0528-Qwen3-8B",
    metadata=metadata,
    tensors=lambda source, _mtp: _map_checkpoint(source, HEAD_NORMS),
    is_ignored=is_ignored,
)
