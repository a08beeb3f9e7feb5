"""V3.2's indexer, which chooses the tokens that a layer attends to, as a part of its graph.

Source: llama.cpp, src/models/deepseek32.cpp, ``graph``; src/llama-graph.cpp, ``build_attn`` with
``llm_graph_input_attn_k_dsa``.
"""

from __future__ import annotations

from .allocator import Node
from .graph_context import GraphContext


def build_top_k(ctx: GraphContext, qr: Node, cur: Node) -> Node:
    """Return the positions that the indexer chooses for each token, and store its keys.

    Args:
        ctx: the graph.
        qr: the compressed queries.
        cur: what goes into the layer's attention.
    """
    graph, shape = ctx.graph, ctx.shape
    n_tokens, size = ctx.batch.n_tokens, shape.indexer_head_size
    heads = (size, shape.n_indexer_head, n_tokens)
    rotation = ctx.indexer_rotation
    q = ctx.build_lora_mm("indexer.attn_q_b", (size * shape.n_indexer_head, n_tokens), qr)
    q = graph.op(heads, graph.view(q), ctx.inp_pos, inplace=True)
    k = ctx.build_lora_mm("indexer.attn_k", (size, n_tokens), cur)
    k = graph.op((size, n_tokens), k)  # a norm with mean, which is not written in place
    for _ in range(2):  # times weight, plus bias
        k = graph.op((size, n_tokens), k, inplace=True)
    k = graph.op((size, 1, n_tokens), graph.view(k), ctx.inp_pos, inplace=True)
    q = graph.op(heads, rotation, q)
    k = graph.op((size, 1, n_tokens), rotation, k)
    graph.build_forward_expand(graph.store(graph.view(k), ctx.indexer_k_idxs))
    weights = ctx.build_lora_mm("indexer.proj", (shape.n_indexer_head, n_tokens), cur)
    weights = graph.op((shape.n_indexer_head, n_tokens), graph.view(weights), inplace=True)
    scores = (ctx.batch.n_kv, n_tokens)
    score = graph.op(scores, graph.view(q), weights, ctx.indexer_mask)
    chosen = (min(ctx.batch.n_kv, shape.indexer_top_k), n_tokens)
    return graph.op(chosen, graph.op(chosen, score))


def build_chosen_mask(ctx: GraphContext, top_k: Node) -> Node:
    """Return the mask of attention without the tokens that were not chosen."""
    graph, batch = ctx.graph, ctx.batch
    width = 2 if batch.flash_attn else 4
    shape = (batch.n_kv, batch.n_tokens)
    empty = graph.op(shape, ctx.kq_mask, width=width, inplace=True)
    ones = (1, min(batch.n_kv, ctx.shape.indexer_top_k), batch.n_tokens)
    zeros = graph.op(ones, graph.input(*ones), inplace=True)
    chosen = graph.set_rows(graph.view(empty), zeros, graph.view(top_k))
    return graph.op(shape, graph.view(chosen), ctx.kq_mask, width=width, inplace=True)
