"""What a GGUF tensor's name tells: its layer, and the class that sizes are reported in.

Knows the names that llama.cpp gives tensors (src/llama-arch.cpp), not what is in them.
"""

from __future__ import annotations

import functools

HASH_TABLE = "ffn_gate_tid2eid.weight"  # of a layer of V4: the experts that each token id takes
ROUTED_EXPERTS = "routed experts"  # a class: the matrices of which a token uses a few

_CLASSES = (
    ("token_embd", "embeddings"),
    ("output.", "output"),
    ("output_norm", "norms"),
    ("nextn.", "mtp"),
    ("attn_norm", "norms"),
    ("attn_", "attention"),
    ("ffn_norm", "norms"),
    ("ffn_gate_inp", "router"),
    ("ffn_gate_tid2eid", "router"),
    ("hc_", "hyper-connections"),
    ("output_hc_", "hyper-connections"),
    ("indexer", "indexer"),
    ("exp_probs_b", "router"),
    ("ffn_gate_exps", ROUTED_EXPERTS),
    ("ffn_up_exps", ROUTED_EXPERTS),
    ("ffn_down_exps", ROUTED_EXPERTS),
    ("ffn_gate_shexp", "shared experts"),
    ("ffn_up_shexp", "shared experts"),
    ("ffn_down_shexp", "shared experts"),
    ("ffn_", "dense feed-forward"),
)


@functools.lru_cache(maxsize=1 << 14)
def layer_of(name: str) -> int:
    """Return the layer that a tensor belongs to, or -1 outside of layers."""
    parts = name.split(".", 2)
    return int(parts[1]) if parts[0] == "blk" and len(parts) > 1 and parts[1].isdecimal() else -1


@functools.lru_cache(maxsize=1 << 14)
def name_in_layer(name: str) -> str:
    """Return a tensor's name without its layer: ``attn_q.weight`` of ``blk.3.attn_q.weight``."""
    return name.split(".", 2)[-1] if name.startswith("blk.") else name


@functools.lru_cache(maxsize=1 << 14)
def tensor_class(name: str) -> str:
    """Return what a tensor is for: one of the classes that sizes are reported in, or "other"."""
    part = name_in_layer(name)
    for prefix, kind in _CLASSES:
        if part.startswith(prefix):
            return kind
    return "other"
