"""The mixture of experts of one layer, as a part of its graph.

Source: llama.cpp, src/llama-graph.cpp, ``build_moe_ffn``.
"""

from __future__ import annotations

from .allocator import Node
from .graph_context import GraphContext

# Experts a token up to which CUDA takes their weighted sum in one go; it keeps them to its end.
# Source: ggml-cuda.cu, ggml_backend_cuda_graph_optimize (moe_weighted_reduction).
MAX_FUSED_EXPERTS = 15


def build_moe_ffn(ctx: GraphContext, cur: Node, n_rows: int, selected: Node | None = None) -> Node:
    """Return what the routed and the shared experts of a layer give.

    Args:
        ctx: the graph.
        cur: what goes in.
        n_rows: tokens that go through them.
        selected: the experts in use, if something else than the router chooses them.
    """
    graph, shape = ctx.graph, ctx.shape
    logits = ctx.build_lora_mm("ffn_gate_inp", (shape.n_expert, n_rows), cur)
    probs = graph.op((shape.n_expert, n_rows), logits, inplace=True)
    if selected is None:
        selected = _select_experts(ctx, probs, n_rows)
    weights = _build_weights(ctx, probs, selected, n_rows)
    graph.build_forward_expand(weights)
    down = _build_experts(ctx, cur, selected, n_rows)
    moe_out = _build_weighted_sum(ctx, down, weights, n_rows)
    if ctx.gpu == "cuda" and 1 < shape.n_expert_used <= MAX_FUSED_EXPERTS:
        graph.build_forward_expand(graph.store(down, weights))
    if not shape.n_ff_shexp:
        return moe_out
    shared = ctx.build_ffn(cur, shape.n_ff_shexp, n_rows, "_shexp")
    return graph.op((shape.n_embd, n_rows), moe_out, shared, inplace=True)


def _select_experts(ctx: GraphContext, probs: Node, n_rows: int) -> Node:
    """Return the numbers of the experts in use: among all, or among those of the best groups."""
    graph, shape = ctx.graph, ctx.shape
    scores = probs
    if shape.has_exp_probs_b:
        scores = graph.op((shape.n_expert, n_rows), scores, inplace=True)
    if shape.n_expert_groups > 1:
        scores = _mask_other_groups(ctx, scores, n_rows)
    return graph.view(graph.op((shape.n_expert, n_rows), scores))


def _mask_other_groups(ctx: GraphContext, scores: Node, n_rows: int) -> Node:
    """Return ``scores`` with those of all groups but the best masked out."""
    graph, n_groups = ctx.graph, ctx.shape.n_expert_groups
    n_per_group = ctx.shape.n_expert // n_groups
    groups = graph.view(scores)
    top_two = graph.view(graph.op((n_per_group, n_groups, n_rows), groups))
    group_scores = graph.op((1, 2, n_groups, n_rows), graph.view(groups), top_two)
    group_scores = graph.view(graph.op((1, n_groups, n_rows), graph.view(group_scores)))
    best_groups = graph.view(graph.op((n_groups, n_rows), group_scores))
    kept = graph.op((n_per_group, ctx.shape.n_group_used, n_rows), groups, best_groups)
    emptied = graph.op((n_per_group, n_groups, n_rows), groups, inplace=True)
    return graph.view(graph.set_rows(emptied, kept, best_groups))


def _build_weights(ctx: GraphContext, probs: Node, selected: Node, n_rows: int) -> Node:
    """Return the weights of the experts in use, normalised and scaled as the model wants them."""
    graph, shape = ctx.graph, ctx.shape
    n_used = ctx.shape.n_expert_used
    weights = graph.op((1, n_used, n_rows), graph.view(probs), selected)
    if shape.expert_weights_norm:
        flat = graph.view(weights)
        weights_sum = graph.op((1, n_rows), graph.op((1, n_rows), flat), inplace=True)
        weights = graph.view(graph.op((n_used, n_rows), flat, weights_sum, inplace=True))
    if shape.expert_weights_scale not in (0.0, 1.0):
        weights = graph.op((1, n_used, n_rows), weights, inplace=True)
    return weights


def _build_experts(ctx: GraphContext, cur: Node, selected: Node, n_rows: int) -> Node:
    """Return what each expert in use gives for each token."""
    graph, shape = ctx.graph, ctx.shape
    n_used = ctx.shape.n_expert_used
    cur = graph.view(cur)
    if shape.has_gate_up_exps:
        both = (2 * shape.n_ff_exp, n_used, n_rows)
        gate_up = ctx.build_lora_mm("ffn_gate_up_exps", both, cur, selected)
        gate, up = graph.view(gate_up), graph.view(gate_up)
    else:
        each = (shape.n_ff_exp, n_used, n_rows)
        up = ctx.build_lora_mm("ffn_up_exps", each, cur, selected)
        gate = ctx.build_lora_mm("ffn_gate_exps", each, cur, selected)
    activated = graph.op((shape.n_ff_exp, n_used, n_rows), gate, up)
    return ctx.build_lora_mm("ffn_down_exps", (shape.n_embd, n_used, n_rows), activated, selected)


def _build_weighted_sum(ctx: GraphContext, down: Node, weights: Node, n_rows: int) -> Node:
    """Return the weighted sum of what the experts give."""
    graph, n_embd = ctx.graph, ctx.shape.n_embd
    n_used = ctx.shape.n_expert_used
    weighted = graph.op((n_embd, n_used, n_rows), down, weights, inplace=True)
    graph.build_forward_expand(weighted)
    parts = [graph.view(weighted) for _ in range(n_used)]
    graph.build_forward_expand(*parts)
    if n_used == 1:
        return graph.op((n_embd, n_rows), parts[0])
    total = parts[0]
    for part in parts[1:]:
        total = graph.op((n_embd, n_rows), total, part, inplace=True)
        graph.build_forward_expand(total)
    return total
