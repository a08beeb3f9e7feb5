"""The graphs that llama.cpp computes for one micro-batch, as far as memory goes.

Source: llama.cpp, src/models/deepseek2.cpp, deepseek.cpp, llama.cpp, qwen2.cpp and qwen3.cpp, node
for node; src/llama-context.cpp, ``llama_context::graph_reserve``. Layers of one kind are alike, so
a few of each stand for all, except in V3.2: each of its layers has a leaf of its own, for the mask
of the chosen tokens, and all leaves have their place from the start.
"""

from __future__ import annotations

from dslocal.plan.load_config import GpuKind
from dslocal.plan.memory.model_shape import ModelShape

from .allocator import Node
from .attention import build_self_attention
from .compressed_graphs import build_dspark_graph
from .compressed_graphs import build_graph as build_compressed
from .compressed_graphs import build_mtp_graph as build_compressed_mtp
from .experts import build_moe_ffn
from .graph_context import GraphContext
from .micro_batch import (
    MIN_OFFLOAD_BATCH,
    NOTHING_IN_RAM,
    HostResident,
    LayerKind,
    MicroBatch,
)

# Layers of one kind in a row that are built; after the first the free blocks lie as they always
# will.
REPEATS = 3


def reserve_graph(
    shape: ModelShape,
    batch: MicroBatch,
    gpu: GpuKind | None = None,
    host: HostResident = NOTHING_IN_RAM,
) -> int:
    """Return the bytes of the buffer for all intermediate results, on the device that computes.

    Source: the constructor of ``graph`` of each file in src/models.

    Args:
        shape: the model's shape.
        batch: the micro-batch.
        gpu: the kind of device that computes all but the embeddings; None for the CPU.
        host: what of the model is in RAM though the GPU computes with it.
    """
    ctx = GraphContext(shape, batch, gpu)
    # With a GPU the embeddings are looked up in RAM and copied.
    cur = ctx.graph.input(shape.n_embd, batch.n_tokens) if gpu else ctx.build_inp_embd()
    if shape.compress_ratios:
        result_norm = build_compressed(ctx, cur, host)
        result_norm.is_output = True
        return _buffer_size_with_logits(ctx, result_norm)
    kinds = _layer_kinds(shape, host)
    for layer in kinds[:-1]:
        ctx.enter_layer(layer, host)
        cur = _build_layer(ctx, cur, is_last=False)
    ctx.enter_layer(kinds[-1], host)
    cur = _build_layer(ctx, cur, is_last=True)
    result_norm = ctx.build_norm(cur, (shape.n_embd, batch.n_outputs))
    result_norm.is_output = True
    return _buffer_size_with_logits(ctx, result_norm)


def reserve_mtp_graph(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the bytes of the buffer of the context that drafts with the MTP layer.

    The layer joins the last token's embedding to the state before it; the states of all rows are
    an output. Source: src/models/deepseek2.cpp, ``graph_mtp``.
    """
    ctx = GraphContext(shape, batch)
    if shape.compress_ratios:
        result_norm = build_compressed_mtp(ctx)
        result_norm.is_output = True
        return _buffer_size_with_logits(ctx, result_norm)
    graph, n_embd = ctx.graph, shape.n_embd
    n_tokens = batch.n_tokens
    rows = (n_embd, n_tokens)
    tok_embd = graph.op(rows, graph.input(n_tokens))
    e_norm = ctx.build_norm(tok_embd, rows)
    h_norm = ctx.build_norm(graph.input(n_embd, n_tokens), rows)
    concat = graph.op((2 * n_embd, n_tokens), e_norm, h_norm)
    ctx.enter_layer(LayerKind(is_moe=True, is_mtp=True), NOTHING_IN_RAM)
    cur = _build_layer(ctx, graph.op(rows, concat), is_last=False)
    h_nextn = ctx.build_norm(cur, rows)
    h_nextn.is_output = True
    return _buffer_size_with_logits(
        ctx, graph.op((n_embd, batch.n_outputs), h_nextn, ctx.inp_out_ids)
    )


def reserve_dspark_graph(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the bytes of the buffer of the context that drafts with DSpark."""
    ctx = GraphContext(shape, batch)
    return _buffer_size_with_logits(ctx, build_dspark_graph(ctx))


def reserve_inputs(shape: ModelShape, batch: MicroBatch) -> int:
    """Return the bytes of the buffer in RAM when a GPU computes: inputs and the embeddings' rows.

    Source: ggml/src/ggml-backend.cpp, ``ggml_backend_sched_split_graph``: the split of the CPU.
    """
    ctx = GraphContext(shape, batch)
    v_idxs = None if shape.is_mla else ctx.v_idxs
    inputs = (
        ctx.inp_pos,
        ctx.kq_mask,
        ctx.k_idxs,
        v_idxs,
        ctx.inp_out_ids,
        ctx.k_rot,
        ctx.v_rot,
    )
    given = [node for node in inputs if node]
    ctx.graph.build_forward_expand(ctx.build_inp_embd(), *given)
    return ctx.graph.buffer_size()


def _buffer_size_with_logits(ctx: GraphContext, cur: Node) -> int:
    """Return the bytes of the buffer once the graph ends with the logits of ``cur``."""
    logits = ctx.graph.op((ctx.shape.n_vocab, ctx.batch.n_outputs), cur)
    logits.is_output = True
    ctx.graph.build_forward_expand(logits)
    return ctx.graph.buffer_size()


def _build_layer(ctx: GraphContext, inp: Node, *, is_last: bool) -> Node:
    """Return what a layer gives; of the last one only the rows whose logits are wanted go on.

    Source: the loop over layers in each file of src/models.
    """
    graph, shape = ctx.graph, ctx.shape
    n_rows = ctx.batch.n_tokens
    n_embd = shape.n_embd
    cur = ctx.build_norm(inp, (n_embd, n_rows), "attn_norm")
    heads = build_self_attention(ctx, cur)
    cur = ctx.build_lora_mm("attn_output", (n_embd, n_rows), heads)
    if is_last:
        n_rows = ctx.batch.n_outputs
        if n_rows < MIN_OFFLOAD_BATCH:
            ctx.keep_weights_in_ram()
        cur = graph.op((n_embd, n_rows), cur, ctx.inp_out_ids)
        inp = graph.op((n_embd, n_rows), inp, ctx.inp_out_ids)
    ffn_inp = graph.op((n_embd, n_rows), cur, inp, inplace=True)
    cur = ctx.build_norm(ffn_inp, (n_embd, n_rows), "ffn_norm")
    if ctx.layer.is_moe:
        cur = build_moe_ffn(ctx, cur, n_rows)
    else:
        cur = ctx.build_ffn(cur, shape.n_ff, n_rows)
    return graph.op((n_embd, n_rows), cur, ffn_inp, inplace=True)


def _layer_kinds(shape: ModelShape, host: HostResident) -> list[LayerKind]:
    """Return the layers to build, in order: a few of each kind in a row, and the last; all where
    each has a leaf of its own.
    """
    first_moe = shape.n_layer_dense_lead if shape.n_expert else shape.n_layer
    kinds: list[LayerKind] = []
    for il in range(shape.n_layer):
        kind = LayerKind(
            is_moe=il >= first_moe,
            in_ram=il < host.n_layer,
            experts_in_ram=first_moe <= il < first_moe + host.n_moe_layer,
        )
        if shape.n_indexer_head or kinds[-REPEATS:] != [kind] * REPEATS:
            kinds.append(kind)
    if shape.n_layer > len(kinds):
        kinds.append(kinds[-1])
    return kinds
