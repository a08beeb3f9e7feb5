"""DeepSeekMoE's layer: a router, stacked routed experts, shared experts.

Source: DeepSeekMoE (arXiv:2401.06066); llama.cpp, conversion/deepseek.py.
"""

from __future__ import annotations

from dslocal.convert.checkpoint.config import Config

from .mapping import ExpertsMapping, TensorMapping

MOE = (
    TensorMapping("mlp.gate.weight", "ffn_gate_inp.weight", ("experts", "embd")),
    ExpertsMapping("mlp.experts.{e}.gate_proj.weight", "ffn_gate_exps.weight", ("moe_ff", "embd")),
    ExpertsMapping("mlp.experts.{e}.up_proj.weight", "ffn_up_exps.weight", ("moe_ff", "embd")),
    ExpertsMapping("mlp.experts.{e}.down_proj.weight", "ffn_down_exps.weight", ("embd", "moe_ff")),
    TensorMapping(
        "mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", ("shared_ff", "embd")
    ),
    TensorMapping(
        "mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight", ("shared_ff", "embd")
    ),
    TensorMapping(
        "mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight", ("embd", "shared_ff")
    ),
)
GATING = {"softmax": 1, "sigmoid": 2}  # enum llama_expert_gating_func_type


def moe_dims(c: Config) -> dict[str, int]:
    """Return the dimensions of a layer of experts, by name. Raises CheckpointError."""
    moe_ff = c.integer("moe_intermediate_size")
    return {
        "experts": c.integer("n_routed_experts"),
        "moe_ff": moe_ff,
        "shared_ff": moe_ff * c.integer("n_shared_experts"),
    }


def dense_layers(c: Config) -> int:
    """Return how many layers come before the first one with experts."""
    return c.integer("first_k_dense_replace", 0, minimum=0)


def check_routing(c: Config) -> None:
    """Reject a routing that llama.cpp's graphs do not do. Raises CheckpointError."""
    experts, used = c.integer("n_routed_experts"), c.integer("num_experts_per_tok")
    if used > experts:
        raise c.error("num_experts_per_tok", f"is {used}, of {experts} experts")
    if c.integer("moe_layer_freq", 1) != 1:
        raise c.error(
            "moe_layer_freq",
            "is not 1; llama.cpp makes every layer after the dense ones a mixture of experts",
        )
