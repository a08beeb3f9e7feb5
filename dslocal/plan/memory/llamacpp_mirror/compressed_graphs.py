"""DeepSeek-V4's whole graphs: of the model, of its MTP layer, and of DSpark's drafts.

Source: llama.cpp, src/models/deepseek4.cpp and src/models/dflash.cpp.
"""

from __future__ import annotations

from .allocator import Node
from .compressed_attention import CompressedAttention
from .graph_context import GraphContext
from .micro_batch import NOTHING_IN_RAM, HostResident, LayerKind


def build_graph(ctx: GraphContext, inp: Node, host: HostResident = NOTHING_IN_RAM) -> Node:
    """Return the rows whose logits are wanted, before the product with the output weights."""
    shape, batch = ctx.shape, ctx.batch
    attention = CompressedAttention(ctx)
    ctx.graph.build_forward_expand(attention.raw_mask)
    cur = ctx.graph.op((shape.n_embd, shape.n_hc, batch.n_tokens), ctx.graph.view(inp))
    for layer, ratio in enumerate(shape.compress_ratios):
        if layer in batch.layer_inputs:
            attention.streams.build_mean(cur)
        ctx.enter_layer(LayerKind(is_moe=True, in_ram=layer < host.n_layer), host)
        cur = attention.build_layer(cur, ratio, is_hashed=layer < shape.n_hash_layer)
    if shape.n_layer in batch.layer_inputs:
        attention.streams.build_mean(cur)
    return attention.build_head(cur)


def build_mtp_graph(ctx: GraphContext) -> Node:
    """Return what :func:`build_graph` does, for the context that drafts with the MTP layer."""
    graph, shape = ctx.graph, ctx.shape
    n_tokens = ctx.batch.n_tokens
    attention = CompressedAttention(ctx)
    ctx.enter_layer(LayerKind(is_moe=True, is_mtp=True), NOTHING_IN_RAM)
    streams = (shape.n_embd, shape.n_hc, n_tokens)
    states = graph.input(shape.n_embd * shape.n_hc, n_tokens)
    h_norm = ctx.build_norm(graph.view(states), streams)
    embeddings = graph.op((shape.n_embd, n_tokens), ctx.inp_tokens)
    e_norm = graph.view(ctx.build_norm(embeddings, (shape.n_embd, n_tokens)))
    joined = (2 * shape.n_embd, shape.n_hc, n_tokens)
    concat = graph.op(joined, graph.op(streams, e_norm), h_norm)
    cur = attention.build_mtp_layer(graph.op(streams, concat))
    return attention.build_head(cur, is_mtp=True)


def build_dspark_graph(ctx: GraphContext) -> Node:
    """Return the rows whose logits are wanted, which are all, of the context that drafts by DSpark.

    Source: src/models/dflash.cpp, ``graph_dsv4``, for a batch that is too large for a block.
    """
    graph, shape = ctx.graph, ctx.shape
    n_tokens = ctx.batch.n_tokens
    attention = CompressedAttention(ctx)
    ctx.enter_layer(LayerKind(is_moe=True), NOTHING_IN_RAM)
    embeddings = graph.op((shape.n_embd, n_tokens), ctx.inp_tokens)
    cur = graph.op((shape.n_embd, shape.n_hc, n_tokens), graph.view(embeddings))
    for _ in range(shape.dspark_layers):
        cur = attention.build_mtp_layer(cur)
    mixed = attention.streams.mix(cur, n_tokens)
    mixed.is_output = True
    return ctx.build_norm(mixed, (shape.n_embd, n_tokens))
