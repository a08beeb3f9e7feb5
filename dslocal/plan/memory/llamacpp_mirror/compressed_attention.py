"""DeepSeek-V4's layers: attention on a window and on groups of tokens.

Source: llama.cpp, src/models/deepseek4.cpp, node for node; the inputs are those of
src/llama-graph.cpp, ``build_inp_dsv4``, at their largest (src/llama-kv-cache-dsv4.cpp,
``dsv4_build_reserve_comp_plan``).
"""

from __future__ import annotations

from dataclasses import dataclass

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.memory.kv_cache import OVERLAPPING_RATIO, compressed_rows, window_rows

from .allocator import Node
from .experts import build_moe_ffn
from .graph_context import GraphContext, two_power
from .hyper_connections import HyperConnections


@dataclass
class GroupInputs:
    """What a kind of group needs: which rows it reads, and where it writes.

    Attributes:
        ratio: tokens of a group.
        n_blocks: groups that a micro-batch may complete.
        n_rows: rows of keys in the cache.
        state_rows: rows of the running sums.
        n_persist: rows of them that a micro-batch leaves.
        mask: which groups a token may attend to.
    """

    ratio: int
    n_blocks: int
    n_rows: int
    state_rows: int
    n_persist: int
    state_pos: Node
    persist_src: Node
    persist_dst: Node
    restore_src: Node | None
    restore_dst: Node | None
    snapshot_src: Node | None
    snapshot_dst: Node | None
    read: Node
    write: Node
    write_pos: Node
    mask: Node
    rotation: Node | None


class CompressedAttention:
    """Builds V4's layers in ``ctx``."""

    def __init__(self, ctx: GraphContext) -> None:
        """Prepare the inputs."""
        self.ctx = ctx
        self.graph = ctx.graph
        self.streams = HyperConnections(ctx)
        shape, batch = ctx.shape, ctx.batch
        self.n_stream = batch.n_seq
        self.per_stream = batch.n_tokens // batch.n_seq
        self.mask_width = 2 if batch.flash_attn else 4
        self.n_raw = window_rows(shape, batch.n_kv, batch.n_ubatch)
        self.raw_mask = self._mask(self.n_raw, self.mask_width)
        is_quantized = batch.kv_type.block > 1
        head = shape.n_embd_k_gqa
        rotation = self.graph.input(two_power(head) ** 2) if is_quantized else None
        self.rotation = rotation if head % 64 == 0 else None
        self.csa = self._group_inputs(4, self.mask_width, is_quantized)
        self.hca = self._group_inputs(128, self.mask_width, is_quantized)
        self.lid = self._group_inputs(4, 2, is_quantized)
        self.lid.rotation = ctx.indexer_rotation

    def _mask(self, n_rows: int, width: int) -> Node:
        return self.graph.input(n_rows, self.per_stream, 1, self.n_stream, width=width)

    def _group_inputs(self, ratio: int, mask_width: int, is_quantized: bool) -> GroupInputs:
        graph, batch = self.graph, self.ctx.batch
        overlap = 2 if ratio == OVERLAPPING_RATIO else 1
        state_rows = overlap * ratio * self.n_stream
        n_blocks = batch.n_tokens // ratio + self.n_stream
        n_persist = min(batch.n_tokens, state_rows)
        n_restore = state_rows if batch.n_snapshots else 0
        n_snapshot = batch.n_snapshots * state_rows
        n_rows = compressed_rows(batch.n_kv, ratio)
        head = self.ctx.shape.n_embd_k_gqa
        return GroupInputs(
            ratio=ratio,
            n_blocks=n_blocks,
            n_rows=n_rows,
            state_rows=state_rows,
            n_persist=n_persist,
            state_pos=graph.input(batch.n_tokens),
            persist_src=graph.input(n_persist),
            persist_dst=graph.input(n_persist),
            restore_src=graph.input(n_restore) if n_restore else None,
            restore_dst=graph.input(n_restore) if n_restore else None,
            snapshot_src=graph.input(n_snapshot) if n_snapshot else None,
            snapshot_dst=graph.input(n_snapshot) if n_snapshot else None,
            read=graph.input(overlap * ratio * n_blocks),
            write=graph.input(n_blocks, width=8),
            write_pos=graph.input(n_blocks),
            mask=self._mask(n_rows, mask_width),
            rotation=graph.input(two_power(head) ** 2) if is_quantized else None,
        )

    def build_layer(self, inp: Node, ratio: int, *, is_hashed: bool) -> Node:
        """Return what a layer gives: ``inp`` and the result have all streams."""
        graph, ctx = self.graph, self.ctx
        shape, n_tokens = ctx.shape, ctx.batch.n_tokens
        rows = (shape.n_embd, n_tokens)
        hc = self.streams.pre(inp)
        cur = ctx.build_norm(hc.stream, rows, "attn_norm")
        inp = self.streams.post(self._attention(cur, ratio), inp, hc)
        hc = self.streams.pre(inp)
        graph.build_forward_expand(inp, hc.post, hc.comb)
        cur = ctx.build_norm(hc.stream, rows, "ffn_norm")
        selected = None
        if is_hashed:
            selected = graph.op((shape.n_expert_used, n_tokens), ctx.inp_tokens)
        cur = build_moe_ffn(ctx, cur, n_tokens, selected)
        return self.streams.post(cur, inp, hc)

    def build_mtp_layer(self, inp: Node) -> Node:
        """Return the output of the layer that drafts. Source: ``graph_mtp``."""
        ctx, shape = self.ctx, self.ctx.shape
        rows = (shape.n_embd, ctx.batch.n_tokens)
        hc = self.streams.pre(inp)
        cur = ctx.build_norm(hc.stream, rows, "attn_norm")
        inp = self.streams.post(self._attention(cur, 0), inp, hc)
        hc = self.streams.pre(inp)
        cur = ctx.build_norm(hc.stream, rows, "ffn_norm")
        cur = build_moe_ffn(ctx, cur, ctx.batch.n_tokens)
        return self.streams.post(cur, inp, hc)

    def build_head(self, inp: Node, *, is_mtp: bool = False) -> Node:
        """Return the rows whose logits are wanted, of all streams joined and normalised."""
        shape, n_outputs = self.ctx.shape, self.ctx.batch.n_outputs
        wide = (shape.n_embd * shape.n_hc, n_outputs)
        flat = self.graph.op(wide, self.graph.view(inp), self.ctx.inp_out_ids)
        flat.is_output = is_mtp  # the state that the next draft continues from
        return self.ctx.build_norm(self.streams.mix(flat, n_outputs), (shape.n_embd, n_outputs))

    def _attention(self, cur: Node, ratio: int) -> Node:
        """Source: ``build_attention_impl``."""
        graph = self.graph
        ctx = self.ctx
        shape = self.ctx.shape
        n_tokens, head = ctx.batch.n_tokens, shape.n_embd_k_gqa
        heads = (head, shape.n_head, n_tokens)
        qr = ctx.build_lora_mm("attn_q_a", (shape.n_lora_q, n_tokens), cur)
        qr = ctx.build_norm(qr, (shape.n_lora_q, n_tokens), "attn_q_a_norm")
        q = ctx.build_lora_mm("attn_q_b", (head * shape.n_head, n_tokens), qr)
        q = graph.op(heads, graph.view(q), inplace=True)
        q = graph.op(heads, q, ctx.inp_pos, inplace=True)
        kv = ctx.build_lora_mm("attn_kv", (head, n_tokens), cur)
        kv = ctx.build_norm(kv, (head, n_tokens), "attn_kv_a_norm")
        kv = graph.op((head, 1, n_tokens), graph.view(kv), ctx.inp_pos, inplace=True)
        groups = None
        if ratio == OVERLAPPING_RATIO:
            self._compress(self.csa, cur, head, "attn_compressor")
            self._compress(self.lid, cur, shape.indexer_head_size, "indexer_compressor")
            groups = self.csa
        elif ratio:
            self._compress(self.hca, cur, head, "attn_compressor")
            groups = self.hca
        out = self._attend(q, kv, qr, cur, groups)
        out = graph.op(heads, graph.view(out), ctx.inp_pos, inplace=True)
        out = graph.op((shape.n_lora_o, n_tokens, shape.n_groups_o), graph.view(graph.view(out)))
        ranks = (shape.n_lora_o * shape.n_groups_o, n_tokens)
        out = graph.op(ranks, graph.view(out))
        return ctx.build_lora_mm("attn_output_b", (shape.n_embd, n_tokens), out)

    def _compress(self, groups: GroupInputs, cur: Node, head: int, weight: str) -> None:
        """Bring the running sums up to date, and write the keys of groups that are complete."""
        graph, ctx = self.graph, self.ctx
        is_overlapping = groups.ratio == OVERLAPPING_RATIO
        width = 2 * head if is_overlapping else head
        rows = (width, ctx.batch.n_tokens)
        kv = ctx.build_lora_mm(f"{weight}_kv", rows, cur)
        score = ctx.build_lora_mm(f"{weight}_gate", rows, cur)
        score = graph.op(rows, score, graph.op(rows, groups.state_pos), inplace=True)
        restored_kv = self._restore(groups, width)
        restored_score = self._restore(groups, width)
        source = (width, groups.state_rows + ctx.batch.n_tokens)
        source_kv = graph.op(source, *restored_kv, kv)
        source_score = graph.op(source, *restored_score, score)
        if is_overlapping:
            key = self._overlapping_key(groups, source_kv, source_score, head)
        else:
            key = self._key(groups, source_kv, source_score, head)
        if groups.rotation:
            key = self._rotate(key, groups.rotation, (head, 1, groups.n_blocks))
        graph.build_forward_expand(graph.store(graph.view(key), groups.write))
        self._snapshot(groups, width, ((restored_kv, kv), (restored_score, score)))
        for part in (kv, score):
            kept = graph.op((width, groups.n_persist), part, groups.persist_src)
            graph.build_forward_expand(graph.store(kept, groups.persist_dst))

    def _restore(self, groups: GroupInputs, width: int) -> tuple[Node, ...]:
        """Return the running sums; with drafts they are first taken back as far as needed."""
        if not groups.restore_src or not groups.restore_dst:
            return ()
        taken = self.graph.op((width, groups.state_rows), groups.restore_src)
        return (self.graph.view(self.graph.store(taken, groups.restore_dst)),)

    def _snapshot(
        self,
        groups: GroupInputs,
        width: int,
        parts: tuple[tuple[tuple[Node, ...], Node], ...],
    ) -> None:
        """Keep the states after each of the last tokens, for drafts that turn out to be wrong."""
        graph, batch = self.graph, self.ctx.batch
        if not groups.snapshot_src or not groups.snapshot_dst:
            return
        planes = groups.state_rows * (1 + batch.n_snapshots)
        for restored, new in parts:
            source = graph.op((width, planes + batch.n_tokens), *restored, new)
            n_taken = batch.n_snapshots * groups.state_rows
            taken = graph.op((width, n_taken), source, groups.snapshot_src)
            graph.build_forward_expand(graph.store(taken, groups.snapshot_dst))

    def _key(self, groups: GroupInputs, source_kv: Node, source_score: Node, head: int) -> Node:
        """Source: ``build_hca_compressed_kv_from_state``."""
        graph = self.graph
        n_read = groups.ratio * groups.n_blocks
        kv = graph.op((head, n_read), source_kv, groups.read)
        score = graph.op((head, n_read), source_score, groups.read)
        columns = (groups.ratio, head, groups.n_blocks)
        values = graph.op(columns, graph.view(graph.view(kv)))
        scores = graph.op(columns, graph.view(graph.view(score)))
        return self._weighted_key(groups, values, scores, columns)

    def _overlapping_key(
        self, groups: GroupInputs, source_kv: Node, source_score: Node, head: int
    ) -> Node:
        """Source: ``build_overlap_compressed_kv_from_state``."""
        graph = self.graph
        n_read = groups.ratio * groups.n_blocks
        sources = []
        for source in (source_kv, source_score):
            row = graph.op((2 * head,), graph.view(source), inplace=True)
            n_rows = groups.state_rows + self.ctx.batch.n_tokens + 1
            with_empty = graph.op((2 * head, n_rows), source, graph.view(row))
            sources.append(graph.op((2 * head, 2 * n_read), with_empty, groups.read))
        columns = (2 * groups.ratio, head, groups.n_blocks)
        parts = []
        for rows in sources:
            previous = graph.op((head, n_read), graph.view(rows))
            current = graph.op((head, n_read), graph.view(rows))
            joined = (head, 2 * groups.ratio, groups.n_blocks)
            both = graph.op(joined, graph.view(previous), graph.view(current))
            parts.append(graph.op(columns, graph.view(both)))
        return self._weighted_key(groups, parts[0], parts[1], columns)

    def _weighted_key(
        self, groups: GroupInputs, values: Node, scores: Node, columns: tuple[int, int, int]
    ) -> Node:
        graph = self.graph
        head = columns[1]
        weights = graph.op(columns, scores, inplace=True)
        total = graph.op(columns, values, weights, inplace=True)
        total = graph.op((1, head, groups.n_blocks), total)
        key = graph.op((head, 1, groups.n_blocks), graph.view(total))
        key = self.ctx.build_norm(key, (head, 1, groups.n_blocks))
        return graph.op((head, 1, groups.n_blocks), key, groups.write_pos, inplace=True)

    def _attend(self, q: Node, kv: Node, qr: Node, cur: Node, groups: GroupInputs | None) -> Node:
        """Source: ``build_raw_attention``, ``build_csa_lid_attention``, ``build_hca_attention``."""
        graph = self.graph
        batch = self.ctx.batch
        shape = self.ctx.shape
        head = shape.n_embd_k_gqa
        heads = (head, shape.n_head, batch.n_tokens)
        top_k = self._top_k(qr, cur) if groups is self.csa else None
        if self.rotation:
            q = self._rotate(q, self.rotation, heads)
            kv = self._rotate(kv, self.rotation, (head, 1, batch.n_tokens))
        graph.build_forward_expand(q, kv, graph.store(graph.view(kv), self.ctx.k_idxs))
        keys = None
        mask = self.raw_mask
        n_kv = self.n_raw
        if groups:
            n_kv += groups.n_rows
            row_bytes = batch.kv_type.nbytes(head)
            keys = graph.op((row_bytes, n_kv, self.n_stream), width=1)
            group_mask = self._chosen_mask(groups, top_k) if top_k else groups.mask
            shape_of_mask = (n_kv, self.per_stream, 1, self.n_stream)
            mask = graph.op(shape_of_mask, self.raw_mask, group_mask, width=self.mask_width)
        out = self._scores_and_values(q, keys, mask, n_kv)
        graph.build_forward_expand(out)
        return self._rotate(out, self.rotation, heads) if self.rotation else out

    def _scores_and_values(self, q: Node, keys: Node | None, mask: Node, n_kv: int) -> Node:
        """Source: src/llama-graph.cpp, ``build_attn_mha``."""
        graph = self.graph
        batch = self.ctx.batch
        shape = self.ctx.shape
        head = shape.n_embd_k_gqa
        q = graph.view(graph.view(q))
        viewed = (graph.view(keys),) if keys else ()
        again = (graph.view(keys),) if keys else ()
        result = (head, shape.n_head, self.per_stream, self.n_stream)
        if batch.flash_attn:
            if batch.kv_type is GgmlType.F32:
                cast = (head, n_kv, 1, self.n_stream)
                viewed = (graph.op(cast, *viewed, width=2),)
                again = (graph.op(cast, *again, width=2),)
            return graph.view(graph.op(result, q, *viewed, *again, mask))
        scores = (n_kv, self.per_stream, shape.n_head, self.n_stream)
        kq = graph.op(scores, *viewed, q)
        kq = graph.op(scores, kq, mask, inplace=True)
        width = batch.kv_type.nbytes(batch.kv_type.block) // batch.kv_type.block
        transposed = graph.op((n_kv, head, 1, self.n_stream), *map(graph.view, again), width=width)
        kqv = graph.op((head, self.per_stream, shape.n_head, self.n_stream), transposed, kq)
        return graph.op(result, graph.view(kqv))

    def _top_k(self, qr: Node, cur: Node) -> Node:
        """Return the groups that the indexer chooses. Source: ``build_lid_top_k``."""
        graph = self.graph
        ctx = self.ctx
        shape = self.ctx.shape
        n_tokens, size = ctx.batch.n_tokens, shape.indexer_head_size
        heads = (size, shape.n_indexer_head, n_tokens)
        q = ctx.build_lora_mm("indexer.attn_q_b", (size * shape.n_indexer_head, n_tokens), qr)
        q = graph.op(heads, graph.view(q), ctx.inp_pos, inplace=True)
        if self.lid.rotation:
            q = self._rotate(q, self.lid.rotation, heads)
        weights = ctx.build_lora_mm("indexer.proj", (shape.n_indexer_head, n_tokens), cur)
        weights = graph.op((shape.n_indexer_head, n_tokens), weights, inplace=True)
        scores = (self.lid.n_rows, self.per_stream, 1, self.n_stream)
        score = graph.op(scores, graph.view(q), graph.view(weights), self.lid.mask)
        n_chosen = min(self.lid.n_rows, shape.indexer_top_k)
        chosen = (n_chosen, self.per_stream, 1, self.n_stream)
        return graph.op(chosen, graph.op(chosen, score))

    def _chosen_mask(self, groups: GroupInputs, top_k: Node) -> Node:
        """Return the mask without groups that were not chosen. Source: ``build_top_k_mask``."""
        graph = self.graph
        shape = (groups.n_rows, self.per_stream, 1, self.n_stream)
        width = self.mask_width
        empty = graph.op(shape, groups.mask, width=width, inplace=True)
        n_chosen = min(self.lid.n_rows, self.ctx.shape.indexer_top_k)
        ones = (1, n_chosen, self.per_stream, self.n_stream)
        zeros = graph.op(ones, graph.input(*ones, width=width), width=width, inplace=True)
        chosen = graph.set_rows(graph.view(empty), zeros, graph.view(top_k))
        return graph.op(shape, graph.view(chosen), groups.mask, width=width, inplace=True)

    def _rotate(self, cur: Node, rotation: Node, shape: tuple[int, ...]) -> Node:
        """Source: src/llama-impl.h, ``llama_mul_mat_hadamard``."""
        return self.graph.view(self.graph.op(shape, rotation, self.graph.view(cur)))
