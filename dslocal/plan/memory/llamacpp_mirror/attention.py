"""Attention of one layer, as a part of its graph.

Source: llama.cpp, src/llama-graph.cpp (``build_qkv``, ``build_attn``, ``build_attn_mha``) and
src/models/deepseek2.cpp, deepseek.cpp, llama.cpp, qwen2.cpp and qwen3.cpp.
"""

from __future__ import annotations

from .allocator import Node
from .graph_context import GraphContext
from .indexer import build_chosen_mask, build_top_k

# Sizes that Metal's kernels work with. Source: ggml-metal-impl.h, OP_FLASH_ATTN_EXT_NQPSG and
# OP_FLASH_ATTN_EXT_NCPSG; nwg and ne01_max in ggml_metal_op_flash_attn_ext_extra_tmp.
METAL_QUERIES = 8
METAL_CACHE_ITEMS = 64
METAL_WORKGROUPS = 32
METAL_MAX_ROWS = 32


def build_self_attention(ctx: GraphContext, cur: Node) -> Node:
    """Return what the heads of a layer give, before its output projection."""
    if ctx.shape.n_indexer_head and not ctx.layer.is_mtp:
        return _build_sparse_mla(ctx, cur)
    if ctx.shape.is_mla:
        return _build_mla(ctx, _build_query(ctx, cur), cur)
    if ctx.shape.n_lora_kv:
        return _build_legacy_mla(ctx, cur)
    return _build_heads(ctx, cur)


def _build_sparse_mla(ctx: GraphContext, cur: Node) -> Node:
    """Return attention on what the indexer chooses of the compressed cache.

    Source: src/models/deepseek32.cpp, ``graph``.
    """
    shape, n_tokens = ctx.shape, ctx.batch.n_tokens
    qr = ctx.build_lora_mm("attn_q_a", (shape.n_lora_q, n_tokens), cur)
    qr = ctx.build_norm(qr, (shape.n_lora_q, n_tokens), "attn_q_a_norm")
    top_k = build_top_k(ctx, qr, cur)
    q = ctx.build_lora_mm("attn_q_b", (shape.n_head * shape.n_embd_head_k, n_tokens), qr)
    return _build_mla(ctx, q, cur, top_k)


def _build_mla(ctx: GraphContext, q: Node, cur: Node, top_k: Node | None = None) -> Node:
    """Return attention on the compressed cache, or on what ``top_k`` chooses of it.

    All heads share one key, and its first part is the value. Source: src/models/deepseek2.cpp,
    ``llama_model_deepseek2::graph``, the branch of ``is_mla``, and ``build_attn`` with
    ``llm_graph_input_attn_k``.
    """
    graph, shape = ctx.graph, ctx.shape
    n_tokens = ctx.batch.n_tokens
    n_lora_kv, n_rot = shape.n_lora_kv, shape.n_rot
    n_head = shape.n_head
    q = graph.view(q)
    kv_cmpr_pe = ctx.build_lora_mm("attn_kv_a_mqa", (n_lora_kv + n_rot, n_tokens), cur)
    k_pe = graph.op((n_rot, 1, n_tokens), graph.view(kv_cmpr_pe), ctx.inp_pos, inplace=True)
    kv_cmpr = ctx.build_norm(graph.view(kv_cmpr_pe), (n_lora_kv, n_tokens), "attn_kv_a_norm")
    q_pe = graph.op((n_rot, n_head, n_tokens), graph.view(q), ctx.inp_pos, inplace=True)
    q_nope = graph.view(graph.view(q))
    q_nope_absorbed = ctx.build_lora_mm("attn_k_b", (n_lora_kv, n_tokens, n_head), q_nope)
    q_cur = graph.op((n_lora_kv + n_rot, n_head, n_tokens), graph.view(q_nope_absorbed), q_pe)
    v_cur = graph.view(kv_cmpr)
    k_cur = graph.op((n_lora_kv + n_rot, 1, n_tokens), v_cur, k_pe)
    graph.build_forward_expand(q_cur, v_cur, k_cur, graph.store(graph.view(k_cur), ctx.k_idxs))
    mask = build_chosen_mask(ctx, top_k) if top_k else ctx.kq_mask
    out = _build_mla_values(ctx, q_cur, mask)
    graph.build_forward_expand(out)
    return out


def _build_mla_values(ctx: GraphContext, q: Node, mask: Node) -> Node:
    """Return MLA's attention, decompressed to one value a head.

    Source: src/llama-graph.cpp, ``build_attn_mha`` with ``v_mla``.
    """
    graph, shape = ctx.graph, ctx.shape
    n_tokens = ctx.batch.n_tokens
    n_embd_head_v, n_head = shape.n_embd_head_v, shape.n_head
    per_head = (n_embd_head_v, n_tokens, n_head)
    if ctx.batch.flash_attn:
        cur = _build_flash_attn(ctx, q, shape.n_lora_kv, mask)
        cur = graph.view(ctx.build_lora_mm("attn_v_b", per_head, graph.view(cur)))
        return graph.view(graph.op((n_embd_head_v, n_head, n_tokens), cur))
    kq = _build_kq_soft_max(ctx, q, mask)
    cached = _cache_copy(ctx, shape.n_embd_k_gqa)
    v_cont = graph.op((ctx.batch.n_kv, shape.n_lora_kv), *cached, width=2)
    kqv = graph.op((shape.n_lora_kv, n_tokens, n_head), v_cont, kq)
    kqv_mla = ctx.build_lora_mm("attn_v_b", per_head, kqv)
    return graph.op((n_embd_head_v * n_head, n_tokens), graph.view(kqv_mla))


def _build_legacy_mla(ctx: GraphContext, cur: Node) -> Node:
    """Return attention of an MLA file that caches full heads.

    Source: src/models/deepseek2.cpp, ``llama_model_deepseek2::graph``, the branch without
    ``is_mla``.
    """
    graph, shape = ctx.graph, ctx.shape
    n_tokens = ctx.batch.n_tokens
    n_lora_kv, n_rot = shape.n_lora_kv, shape.n_rot
    n_head = shape.n_head
    n_embd_head_k, n_embd_head_v = shape.n_embd_head_k, shape.n_embd_head_v
    q = graph.view(_build_query(ctx, cur))
    kv_cmpr_pe = ctx.build_lora_mm("attn_kv_a_mqa", (n_lora_kv + n_rot, n_tokens), cur)
    k_pe = graph.op((n_rot, 1, n_tokens), graph.view(kv_cmpr_pe), ctx.inp_pos, inplace=True)
    kv_cmpr = ctx.build_norm(graph.view(kv_cmpr_pe), (n_lora_kv, n_tokens), "attn_kv_a_norm")
    full_heads = n_head * (n_embd_head_k - n_rot + n_embd_head_v)
    kv = ctx.build_lora_mm("attn_kv_b", (full_heads, n_tokens), kv_cmpr)
    v_cur = graph.op((n_embd_head_v, n_head, n_tokens), graph.view(kv))
    q_cur = graph.op((n_embd_head_k, n_head, n_tokens), q, ctx.inp_pos, inplace=True)
    repeated_k_pe = graph.op((n_rot, n_head, n_tokens), k_pe)
    k_cur = graph.op((n_embd_head_k, n_head, n_tokens), graph.view(kv), repeated_k_pe)
    return _build_attn(ctx, q_cur, k_cur, v_cur)


def _build_query(ctx: GraphContext, cur: Node) -> Node:
    """Return MLA's queries, through their compressed form where the model has one.

    Source: src/models/deepseek2.cpp, ``llama_model_deepseek2::graph``, ``is_lite``.
    """
    shape, n_tokens = ctx.shape, ctx.batch.n_tokens
    queries = (shape.n_head * shape.n_embd_head_k, n_tokens)
    if not shape.n_lora_q:
        return ctx.build_lora_mm("attn_q", queries, cur)
    q_a = ctx.build_lora_mm("attn_q_a", (shape.n_lora_q, n_tokens), cur)
    q_a = ctx.build_norm(q_a, (shape.n_lora_q, n_tokens), "attn_q_a_norm")
    return ctx.build_lora_mm("attn_q_b", queries, q_a)


def _build_heads(ctx: GraphContext, cur: Node) -> Node:
    """Return attention of heads with keys and values of their own, or shared in groups.

    Source: src/llama-graph.cpp, ``build_qkv``; src/models/llama.cpp, qwen2.cpp and qwen3.cpp.
    """
    graph, shape = ctx.graph, ctx.shape
    n_tokens = ctx.batch.n_tokens
    n_head, n_head_kv = shape.n_head, shape.n_head_kv
    n_embd_head_k = shape.n_embd_head_k
    sizes = {
        "attn_q": n_head * n_embd_head_k,
        "attn_k": n_head_kv * n_embd_head_k,
        "attn_v": n_head_kv * shape.n_embd_head_v,
    }
    parts = [ctx.build_lora_mm(weight, (size, n_tokens), cur) for weight, size in sizes.items()]
    if shape.has_qkv_bias:
        parts = [
            graph.op((size, n_tokens), part, inplace=True)
            for size, part in zip(sizes.values(), parts, strict=True)
        ]
    q_cur, k_cur = graph.view(parts[0]), graph.view(parts[1])
    v_cur = graph.view(parts[2])
    if shape.has_qk_norm:
        q_cur = ctx.build_norm(q_cur, (n_embd_head_k, n_head, n_tokens), "attn_q_norm")
        k_cur = ctx.build_norm(k_cur, (n_embd_head_k, n_head_kv, n_tokens), "attn_k_norm")
    q_cur = graph.op((n_embd_head_k, n_head, n_tokens), q_cur, ctx.inp_pos, inplace=True)
    k_cur = graph.op((n_embd_head_k, n_head_kv, n_tokens), k_cur, ctx.inp_pos, inplace=True)
    return _build_attn(ctx, q_cur, k_cur, v_cur)


def _build_attn(ctx: GraphContext, q_cur: Node, k_cur: Node, v_cur: Node) -> Node:
    """Return attention over keys and values as they are, once they are in the cache.

    Source: src/llama-graph.cpp, ``build_attn`` with ``llm_graph_input_attn_kv``;
    src/llama-kv-cache.cpp, ``cpy_k`` and ``cpy_v``.
    """
    graph, shape = ctx.graph, ctx.shape
    n_tokens = ctx.batch.n_tokens
    n_head, n_head_kv = shape.n_head, shape.n_head_kv
    n_embd_head_v = shape.n_embd_head_v
    if ctx.k_rot:
        q_cur = _build_rotation(ctx, q_cur, ctx.k_rot, n_head * shape.n_embd_head_k)
        k_cur = _build_rotation(ctx, k_cur, ctx.k_rot, n_head_kv * shape.n_embd_head_k)
    if ctx.v_rot:
        v_cur = _build_rotation(ctx, v_cur, ctx.v_rot, n_head_kv * n_embd_head_v)
    v_rows = graph.view(v_cur) if ctx.batch.flash_attn else graph.view(graph.view(v_cur))
    graph.build_forward_expand(q_cur, v_cur, k_cur)
    graph.build_forward_expand(graph.store(graph.view(k_cur), ctx.k_idxs))
    graph.build_forward_expand(graph.store(v_rows, ctx.v_idxs))
    if ctx.batch.flash_attn:
        out = graph.view(_build_flash_attn(ctx, q_cur, n_embd_head_v, ctx.kq_mask))
    else:
        kq = _build_kq_soft_max(ctx, q_cur, ctx.kq_mask)
        cached = _cache_copy(ctx, shape.n_embd_v_gqa)
        kqv = graph.op((n_embd_head_v, n_tokens, n_head), kq, *cached)
        out = graph.op((n_embd_head_v * n_head, n_tokens), graph.view(kqv))
    graph.build_forward_expand(out)
    if ctx.v_rot:
        return _build_rotation(ctx, out, ctx.v_rot, n_head * n_embd_head_v)
    return out


def _build_kq_soft_max(ctx: GraphContext, q: Node, mask: Node) -> Node:
    """Return the weights of attention. Source: src/llama-graph.cpp, ``build_attn_mha``."""
    graph = ctx.graph
    shape = (ctx.batch.n_kv, ctx.batch.n_tokens, ctx.shape.n_head)
    cached = _cache_copy(ctx, ctx.shape.n_embd_k_gqa)
    kq = graph.op(shape, graph.view(graph.view(q)), *cached)
    return graph.op(shape, kq, mask, inplace=True)


def _build_rotation(ctx: GraphContext, cur: Node, rotation: Node, size: int) -> Node:
    """Return ``cur`` rotated. Source: src/llama-impl.h, ``llama_mul_mat_hadamard``."""
    rotated = ctx.graph.op((size, ctx.batch.n_tokens), rotation, ctx.graph.view(cur))
    return ctx.graph.view(rotated)


def _build_flash_attn(ctx: GraphContext, q: Node, n_embd_head_v: int, mask: Node) -> Node:
    """Return the result of flash attention; a GPU's kernels want room behind it.

    Source: src/llama-graph.cpp, ``build_attn_mha``; ggml-cuda/fattn.cu,
    ``ggml_cuda_flash_attn_ext_get_alloc_size``; ggml-metal.cpp,
    ``ggml_backend_metal_buffer_type_get_alloc_size``.
    """
    graph, shape = ctx.graph, ctx.shape
    batch = ctx.batch
    sources = (graph.view(graph.view(q)), *_flash_attn_cache_copies(ctx), mask)
    result = 4 * n_embd_head_v * shape.n_head * batch.n_tokens
    kv_f16 = 2 * batch.n_kv * (shape.n_embd_k_gqa + shape.n_embd_v_gqa)
    if ctx.gpu == "cuda" and batch.kv_type.block > 1:
        return graph.op((result + kv_f16,), *sources, width=1)
    if ctx.gpu == "metal":
        extra = kv_f16 + _metal_flash_attn_extra(ctx, n_embd_head_v)
        return graph.op((result + extra,), *sources, width=1)
    return graph.op((n_embd_head_v, shape.n_head, batch.n_tokens), *sources)


def _metal_flash_attn_extra(ctx: GraphContext, n_embd_head_v: int) -> int:
    """Return the bytes that Metal's flash attention wants besides keys and values as f16.

    Source: ggml-metal-ops.cpp, ``ggml_metal_op_flash_attn_ext_extra_pad``, ``…_extra_blk`` and
    ``…_extra_tmp``.
    """
    shape, batch = ctx.shape, ctx.batch
    n_embd_v = shape.n_embd_v_gqa or shape.n_embd_k_gqa
    pad = METAL_CACHE_ITEMS * (2 * (shape.n_embd_k_gqa + n_embd_v) + 2 * batch.n_tokens)
    blocks = batch.n_kv * batch.n_tokens // (METAL_QUERIES * METAL_CACHE_ITEMS)
    rows = min(batch.n_tokens, METAL_MAX_ROWS) * shape.n_head
    partial_results = 4 * rows * METAL_WORKGROUPS * (n_embd_head_v + 2)
    return pad + blocks + partial_results


def _cache_copy(ctx: GraphContext, n_elements: int) -> tuple[Node, ...]:
    """Return a layer's cache that is brought over from RAM; nothing where it is on the device.

    Args:
        ctx: the graph.
        n_elements: elements of the cache a token.
    """
    if not ctx.layer.in_ram:
        return ()
    size = ctx.batch.kv_type.nbytes(n_elements) * ctx.batch.n_kv
    return (ctx.graph.op((size,), width=1),)


def _flash_attn_cache_copies(ctx: GraphContext) -> tuple[Node, ...]:
    """Return the copies of keys and values; of MLA's one cache a copy for either use.

    A third one, because holes of earlier copies do not stay whole.
    """
    n_embd_k, n_embd_v = ctx.shape.n_embd_k_gqa, ctx.shape.n_embd_v_gqa
    return (
        *_cache_copy(ctx, n_embd_k),
        *_cache_copy(ctx, n_embd_v or n_embd_k),
        *_cache_copy(ctx, n_embd_k),
    )
