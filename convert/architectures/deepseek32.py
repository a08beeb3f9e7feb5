"""deepseek32: V3's architecture with DeepSeek sparse attention (V3.2-Exp, V3.2, V3.2-Speciale).

A small indexer in every layer scores all earlier tokens, and attention looks at the best of them.
Source of names and keys: llama.cpp, conversion/deepseek.py (``DeepseekV32Model``) and
src/models/deepseek32.cpp. As in its converter, the MTP layer is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dslocal.convert.checkpoint.config import Config

from . import deepseek2
from .mapping import Architecture, CheckpointTensors, MappedTensor, TensorMapping, map_tensors

INDEXER = (
    TensorMapping(
        "self_attn.indexer.wq_b.weight",
        "indexer.attn_q_b.weight",
        ("index_heads*index_head", "q_lora"),
    ),
    TensorMapping("self_attn.indexer.wk.weight", "indexer.attn_k.weight", ("index_head", "embd")),
    TensorMapping("self_attn.indexer.k_norm.weight", "indexer.k_norm.weight", ("index_head",)),
    TensorMapping("self_attn.indexer.k_norm.bias", "indexer.k_norm.bias", ("index_head",)),
    TensorMapping(
        "self_attn.indexer.weights_proj.weight", "indexer.proj.weight", ("index_heads", "embd")
    ),
)
# where the converter's keys stand otherwise than deepseek2's
_EARLY_KEYS = (".attention.key_length", ".attention.value_length")


def map_checkpoint(source: CheckpointTensors, mtp: bool) -> list[MappedTensor]:
    """Return the GGUF tensors, with the MTP layer's where ``mtp`` keeps it.

    Raises:
        CheckpointError: The configuration contradicts itself or the tensors.
    """
    c = source.config
    if not c.has("q_lora_rank"):
        raise c.error("q_lora_rank", "is missing, and the indexer's queries are computed from it")
    heads, size = c.integer("index_n_heads"), c.integer("index_head_dim")
    dims = {
        **deepseek2.named_dims(c),
        "index_heads": heads,
        "index_head": size,
        "index_heads*index_head": heads * size,
    }
    mapped = deepseek2.map_checkpoint(source, mtp)
    kept = c.integer("num_hidden_layers") + (deepseek2.mtp_layers(c) if mtp else 0)
    for layer in range(kept):
        mapped += map_tensors(source, INDEXER, dims, f"model.layers.{layer}.", f"blk.{layer}.")
    return mapped


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    """Yield the GGUF keys in llama.cpp's order. Raises CheckpointError."""
    keys = dict(deepseek2.metadata(c))
    experts = keys.pop(".expert_count")
    early = [(key, keys.pop(key)) for key in _EARLY_KEYS]
    log_multiplier = keys.pop(".rope.scaling.yarn_log_multiplier", None)
    for key, value in keys.items():
        if key == ".expert_used_count":
            yield ".expert_count", experts
        yield key, value
        if key == ".expert_gating_func":
            yield from early
    if log_multiplier is not None:
        yield ".rope.scaling.yarn_log_multiplier", log_multiplier
    yield ".nextn_predict_layers", deepseek2.mtp_layers(c)
    yield ".attention.indexer.head_count", c.integer("index_n_heads")
    yield ".attention.indexer.key_length", c.integer("index_head_dim")
    yield ".attention.indexer.top_k", c.integer("index_topk")


DEEPSEEK32 = Architecture(
    arch="deepseek32",
    accepts=("DeepseekV32ForCausalLM",),
    models="V3.2-Exp, V3.2, V3.2-Speciale",
    metadata=metadata,
    tensors=map_checkpoint,
    is_ignored=deepseek2.is_ignored,
    mtp_layers=deepseek2.mtp_layers,
    converter_order=lambda _name: (),
)
