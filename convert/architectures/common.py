"""What several architectures share: rows of dense layers, rope settings, metadata.

Source of the keys: llama.cpp, conversion/base.py (``TextModel.set_gguf_parameters``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dslocal.convert.checkpoint.config import Config

from .mapping import TensorMapping, Transform

EMBEDDING = (
    TensorMapping("model.embed_tokens.weight", "token_embd.weight", ("vocab", "embd")),
    TensorMapping("model.norm.weight", "output_norm.weight", ("embd",)),
)
HEAD = (TensorMapping("lm_head.weight", "output.weight", ("vocab", "embd")),)
NORMS = (
    TensorMapping("input_layernorm.weight", "attn_norm.weight", ("embd",)),
    TensorMapping("post_attention_layernorm.weight", "ffn_norm.weight", ("embd",)),
)
DENSE = (
    TensorMapping("mlp.gate_proj.weight", "ffn_gate.weight", ("ff", "embd")),
    TensorMapping("mlp.up_proj.weight", "ffn_up.weight", ("ff", "embd")),
    TensorMapping("mlp.down_proj.weight", "ffn_down.weight", ("embd", "ff")),
)
_V_AND_O = (
    TensorMapping("self_attn.v_proj.weight", "attn_v.weight", ("kv", "embd")),
    TensorMapping("self_attn.o_proj.weight", "attn_output.weight", ("embd", "q")),
)
ATTENTION = (
    TensorMapping("self_attn.q_proj.weight", "attn_q.weight", ("q", "embd")),
    TensorMapping("self_attn.k_proj.weight", "attn_k.weight", ("kv", "embd")),
    *_V_AND_O,
)
# For llama, llama.cpp rotates neighbouring pairs where the checkpoint rotates the two halves of a
# head. Source: conversion/llama.py, LlamaModel.permute.
ATTENTION_INTERLEAVED = (
    TensorMapping(
        "self_attn.q_proj.weight",
        "attn_q.weight",
        ("q", "embd"),
        transform=Transform.INTERLEAVE,
    ),
    TensorMapping(
        "self_attn.k_proj.weight",
        "attn_k.weight",
        ("kv", "embd"),
        transform=Transform.INTERLEAVE,
    ),
    *_V_AND_O,
)
# GGUF's key after rope.scaling.yarn_, and the names that config.json gives it, best first
_YARN_KEYS = (
    ("ext_factor", ("extrapolation_factor",)),
    ("attn_factor", ("attention_factor", "attn_factor")),
    ("beta_fast", ("beta_fast",)),
    ("beta_slow", ("beta_slow",)),
)


def head_dim(c: Config) -> int:
    """Return the size of an attention head."""
    return c.integer("head_dim", c.integer("hidden_size") // c.integer("num_attention_heads"))


def attention_dims(c: Config) -> dict[str, int]:
    """Return the dimensions of embedding, plain attention and dense feed-forward, by name.

    Raises:
        CheckpointError: Heads do not divide, or a dimension is missing.
    """
    heads, size = c.integer("num_attention_heads"), head_dim(c)
    kv_heads = c.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise c.error("num_key_value_heads", f"is {kv_heads}, of {heads} heads")
    if size % 2:
        raise c.error("head_dim", f"is {size}; it must be even")
    embd = c.integer("hidden_size")
    return {
        "vocab": c.integer("vocab_size"),
        "embd": embd,
        "ff": c.integer("intermediate_size"),
        "head": size,
        "q": heads * size,
        "kv": kv_heads * size,
    }


def base_metadata(c: Config) -> Iterator[tuple[str, Any]]:
    """Yield the keys that every plain transformer has. Raises CheckpointError."""
    heads = c.integer("num_attention_heads")
    yield ".context_length", c.integer("max_position_embeddings")
    yield ".embedding_length", c.integer("hidden_size")
    yield ".feed_forward_length", c.integer("intermediate_size")
    yield ".attention.head_count", heads
    yield ".attention.head_count_kv", c.integer("num_key_value_heads", heads)
    yield ".attention.layer_norm_rms_epsilon", c.number("rms_norm_eps", 1e-6)
    if c.has("head_dim"):
        yield ".attention.key_length", head_dim(c)
        yield ".attention.value_length", head_dim(c)


def rope_kind(c: Config) -> str:
    """Return the type of rope scaling: linear, yarn, llama3 or default."""
    return c.rope.text("rope_type", c.rope.text("type", "default")).lower()


def rope_metadata(c: Config, known: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield the keys of rope base and scaling.

    Args:
        c: The configuration.
        known: The types of scaling that llama.cpp does for this architecture.

    Raises:
        CheckpointError: The scaling is of another type, or a number of it is missing.
    """
    rope, kind = c.rope, rope_kind(c)
    if kind not in ("default", *known):
        raise c.error(
            "rope_scaling", f"is of type {kind!r:.40}; known here: none, {', '.join(known)}"
        )
    if kind in ("linear", "yarn"):
        yield ".rope.scaling.type", kind
        yield ".rope.scaling.factor", rope.number("factor")
    if kind == "yarn":
        yield (
            ".rope.scaling.original_context_length",
            rope.integer("original_max_position_embeddings"),
        )
        for key, names in _YARN_KEYS:
            name = next((n for n in names if rope.has(n)), None)
            if name:
                yield f".rope.scaling.yarn_{key}", rope.number(name)
    yield ".rope.freq_base", c.rope_theta


def has_tied_embeddings(c: Config) -> bool:
    """Return whether the output matrix is that of the embeddings."""
    return c.flag("tie_word_embeddings", False)


def is_unused(name: str) -> bool:
    """Return whether it is a tensor that old checkpoints hold and nothing needs."""
    return name.endswith("rotary_emb.inv_freq")


def is_ignored(c: Config, _mtp: bool, name: str) -> bool:
    """Return whether a plain transformer's tensor is left out on purpose."""
    return is_unused(name) or (name == "lm_head.weight" and has_tied_embeddings(c))
