"""The keys of config.json that are numbers, by base checkpoint."""

from __future__ import annotations

INTEGERS = {
    "v3": (
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "vocab_size",
        "max_position_embeddings",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "moe_intermediate_size",
        "n_routed_experts",
        "n_shared_experts",
        "num_experts_per_tok",
    ),
    "moe": (
        "n_routed_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "num_key_value_heads",
    ),
    "llama": (
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "head_dim",
    ),
    "qwen2": ("num_hidden_layers", "max_position_embeddings", "num_key_value_heads"),
}
OPTIONAL = (
    "q_lora_rank",
    "first_k_dense_replace",
    "num_nextn_predict_layers",
)  # zero is fine, and so is nothing
