"""The graph that llama.cpp computes for one micro-batch, as far as memory goes.

Follows src/llama-graph.cpp (``build_attn``, ``build_attn_mha``, ``build_moe_ffn``, ``build_ffn``)
and src/models/deepseek2.cpp, deepseek.cpp, llama.cpp, qwen2.cpp and qwen3.cpp, node for node.
Layers of one kind are alike, so a few of each stand for all. On a GPU, weights that are in RAM are
copied there for one product at a time (ggml-backend.cpp, ``op_offload``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.memory.shape import Shape

from .allocator import Graph, Node

GpuKind = Literal["cuda", "metal", "other"]
HOST_ALIGNMENT, GPU_ALIGNMENT = 32, 128  # of every tensor in a buffer
# layers of a kind that are gone through; after the first the free blocks lie as they always will
REPEATS = 3
# experts a token whose weighted sum CUDA takes in one go, for which it keeps them to its end
# (ggml-cuda.cu, graph_optimize)
FUSED = 15
MIN_OFFLOAD_BATCH = 32  # tokens from which a product with weights in RAM is done on the GPU
ROTATED = 64  # a quantized cache rotates heads whose length is a multiple of this


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What the size depends on besides the model. ``cells`` is the context as llama.cpp rounds
    it.
    """

    tokens: int
    cells: int
    outputs: int
    kv_type: GgmlType
    flash_attn: bool


@dataclass(frozen=True, slots=True)
class HostResident:
    """What is in RAM of a model that computes on a GPU: all of the first ``layers``, the routed
    experts of the first ``moe_layers`` that have any. ``copies`` holds the bytes of such a weight
    by the name it has inside a layer, the largest of its kind.
    """

    layers: int = 0
    moe_layers: int = 0
    copies: tuple[tuple[str, int], ...] = ()


class ModelGraph:
    """``gpu`` is the kind of device that all but the embeddings is computed on; None for the CPU
    alone.
    """

    def __init__(
        self,
        shape: Shape,
        batch: MicroBatch,
        gpu: GpuKind | None = None,
        remote: HostResident = HostResident(),
    ) -> None:
        self.s, self.b, self.gpu, self.remote = shape, batch, gpu, remote
        self.g = g = Graph(GPU_ALIGNMENT if gpu else HOST_ALIGNMENT)
        self.copies: Mapping[str, int] = {}
        self.here = _Layer(moe=False)
        tokens = batch.tokens
        self.position = g.input(tokens)
        self.out_ids = g.input(batch.outputs)
        self.mask = g.input(batch.cells, tokens, width=2 if batch.flash_attn else 4)
        self.k_index = g.input(tokens, width=8)
        self.v_index = g.input(tokens if batch.flash_attn else tokens * shape.cache_v, width=8)
        turned = batch.kv_type.block > 1 and not shape.mla
        self.k_turn = (
            g.input(_rotation(shape.head_k) ** 2)
            if turned and shape.head_k % ROTATED == 0
            else None
        )
        self.v_turn = g.input(ROTATED * ROTATED) if turned and shape.head_v % ROTATED == 0 else None

    def size(self) -> int:
        """Bytes of the buffer on the device."""
        g, s = self.g, self.s
        x = g.input(s.width, self.b.tokens) if self.gpu else self.embedded()
        for layer, last in _layers(s, self.remote):
            x = self.layer(x, layer, last)
        norm = self.norm(x, s.width, self.b.outputs)
        norm.keep = True
        logits = g.op((s.vocabulary, self.b.outputs), norm)
        logits.keep = True
        g.expand(logits)
        return g.size()

    def host_size(self) -> int:
        """Bytes of the buffer in RAM when layers are computed on a GPU: what goes in, and the
        embeddings' rows.
        """
        values = None if self.s.mla else self.v_index
        given = (
            self.position,
            self.mask,
            self.k_index,
            values,
            self.out_ids,
            self.k_turn,
            self.v_turn,
        )
        self.g.expand(self.embedded(), *(node for node in given if node))
        return self.g.size()

    def embedded(self) -> Node:
        x = self.g.op((self.s.width, self.b.tokens), self.g.input(self.b.tokens))
        self.g.expand(
            x, self.g.input(self.s.width, self.b.tokens)
        )  # for embeddings given instead of ids: unused, but it has its room
        return x

    def draft_size(self) -> int:
        """The MTP layer joins the last token's embedding to the state before it; states of all rows
        are an output.
        """
        g, s, tokens = self.g, self.s, self.b.tokens
        embedding = self.norm(g.op((s.width, tokens), g.input(tokens)), s.width, tokens)
        x = g.op(
            (2 * s.width, tokens), embedding, self.norm(g.input(s.width, tokens), s.width, tokens)
        )
        x = self.layer(g.op((s.width, tokens), x), _Layer(moe=True), last=False)
        norm = self.norm(x, s.width, tokens)
        norm.keep = True
        logits = g.op(
            (s.vocabulary, self.b.outputs), g.op((s.width, self.b.outputs), norm, self.out_ids)
        )
        logits.keep = True
        g.expand(logits)
        return g.size()

    def layer(self, x: Node, layer: _Layer, last: bool) -> Node:
        g, s, rows = self.g, self.s, self.b.tokens
        self.here = layer
        self.copies = {
            name: size
            for name, size in self.remote.copies
            if layer.in_ram or (layer.experts_in_ram and "exps" in name)
        }
        y = self.norm(x, s.width, rows, weight="attn_norm")
        heads = self.mla(y) if s.mla else self.legacy_mla(y) if s.kv_rank else self.attention(y)
        out = self.product("attn_output", (s.width, rows), heads)
        if last:
            rows = self.b.outputs
            if rows < MIN_OFFLOAD_BATCH:
                self.copies = {}
            out, x = (
                g.op((s.width, rows), out, self.out_ids),
                g.op((s.width, rows), x, self.out_ids),
            )
        residual = g.op((s.width, rows), out, x, inplace=True)
        y = self.norm(residual, s.width, rows, weight="ffn_norm")
        y = self.experts(y, rows) if layer.moe else self.dense(y, s.ff, rows, "")
        return g.op((s.width, rows), y, residual, inplace=True)

    def product(self, weight: str, shape: tuple[int, ...], *sources: Node) -> Node:
        """Of ``weight`` and ``sources``; the weight is copied to the GPU for it when it is not
        there.
        """
        return self.g.op(shape, *sources, *self.copy(weight))

    def copy(self, weight: str) -> tuple[Node, ...]:
        size = self.copies.get(weight, 0)
        return (self.g.op((size,), width=1),) if size else ()

    def norm(self, x: Node, *shape: int, weight: str = "") -> Node:
        scale = self.copy(weight)
        return self.g.op(shape, self.g.op(shape, x, inplace=True), *scale, inplace=True)

    def mla(self, y: Node) -> Node:
        """Attention on the compressed cache: all heads share one key, and its first part is the
        value.
        """
        g, s, n = self.g, self.s, self.b.tokens
        q = g.view(self.query(y))
        kv = self.product("attn_kv_a_mqa", (s.kv_rank + s.rope, n), y)
        k_rope = g.op((s.rope, 1, n), g.view(kv), self.position, inplace=True)
        compressed = self.norm(g.view(kv), s.kv_rank, n, weight="attn_kv_a_norm")
        q_rope = g.op((s.rope, s.heads, n), g.view(q), self.position, inplace=True)
        absorbed = self.product("attn_k_b", (s.kv_rank, n, s.heads), g.view(g.view(q)))
        q = g.op((s.kv_rank + s.rope, s.heads, n), g.view(absorbed), q_rope)
        compressed = g.view(compressed)
        k = g.op((s.kv_rank + s.rope, 1, n), compressed, k_rope)
        g.expand(q, compressed, k, g.store(g.view(k), self.k_index))
        if self.b.flash_attn:
            y = self.flash(q, s.kv_rank)
            y = g.view(self.product("attn_v_b", (s.head_v, n, s.heads), g.view(y)))
            out = g.view(g.op((s.head_v, s.heads, n), y))
        else:
            weights = self.weights(q)
            v = g.op((self.b.cells, s.kv_rank), *self.cached_part(s.cache_k), width=2)
            y = g.op((s.kv_rank, n, s.heads), v, weights)
            out = g.op(
                (s.head_v * s.heads, n), g.view(self.product("attn_v_b", (s.head_v, n, s.heads), y))
            )
        g.expand(out)
        return out

    def legacy_mla(self, y: Node) -> Node:
        g, s, n = self.g, self.s, self.b.tokens
        q = g.view(self.query(y))
        kv = self.product("attn_kv_a_mqa", (s.kv_rank + s.rope, n), y)
        k_rope = g.op((s.rope, 1, n), g.view(kv), self.position, inplace=True)
        full = self.product(
            "attn_kv_b",
            (s.heads * (s.head_k - s.rope + s.head_v), n),
            self.norm(g.view(kv), s.kv_rank, n, weight="attn_kv_a_norm"),
        )
        v = g.op((s.head_v, s.heads, n), g.view(full))
        q = g.op((s.head_k, s.heads, n), q, self.position, inplace=True)
        k = g.op((s.head_k, s.heads, n), g.view(full), g.op((s.rope, s.heads, n), k_rope))
        return self.cached(q, k, v)

    def query(self, y: Node) -> Node:
        s, n = self.s, self.b.tokens
        if s.q_rank:
            y = self.norm(
                self.product("attn_q_a", (s.q_rank, n), y), s.q_rank, n, weight="attn_q_a_norm"
            )
        return self.product("attn_q_b" if s.q_rank else "attn_q", (s.heads * s.head_k, n), y)

    def attention(self, y: Node) -> Node:
        g, s, n = self.g, self.s, self.b.tokens
        sizes = (s.heads * s.head_k, s.kv_heads * s.head_k, s.kv_heads * s.head_v)
        q, k, v = (
            self.product(f"attn_{part}", (size, n), y)
            for part, size in zip("qkv", sizes, strict=True)
        )
        if s.qkv_bias:
            q, k, v = (
                g.op((size, n), x, inplace=True) for size, x in zip(sizes, (q, k, v), strict=True)
            )
        q, k, v = g.view(q), g.view(k), g.view(v)
        if s.qk_norm:
            q = self.norm(q, s.head_k, s.heads, n, weight="attn_q_norm")
            k = self.norm(k, s.head_k, s.kv_heads, n, weight="attn_k_norm")
        q = g.op((s.head_k, s.heads, n), q, self.position, inplace=True)
        k = g.op((s.head_k, s.kv_heads, n), k, self.position, inplace=True)
        return self.cached(q, k, v)

    def cached(self, q: Node, k: Node, v: Node) -> Node:
        """Attention over keys and values as they are."""
        g, s, n = self.g, self.s, self.b.tokens
        if self.k_turn:
            q, k = (
                self.turned(q, self.k_turn, s.heads * s.head_k),
                self.turned(k, self.k_turn, s.kv_heads * s.head_k),
            )
        if self.v_turn:
            v = self.turned(v, self.v_turn, s.kv_heads * s.head_v)
        v_rows = g.view(v) if self.b.flash_attn else g.view(g.view(v))
        g.expand(q, v, k, g.store(g.view(k), self.k_index), g.store(v_rows, self.v_index))
        if self.b.flash_attn:
            out = g.view(self.flash(q, s.head_v))
        else:
            y = g.op((s.head_v, n, s.heads), self.weights(q), *self.cached_part(s.cache_v))
            out = g.op((s.head_v * s.heads, n), g.view(y))
        g.expand(out)
        return self.turned(out, self.v_turn, s.heads * s.head_v) if self.v_turn else out

    def weights(self, q: Node) -> Node:
        shape = (self.b.cells, self.b.tokens, self.s.heads)
        return self.g.op(
            shape,
            self.g.op(shape, self.g.view(self.g.view(q)), *self.cached_part(self.s.cache_k)),
            self.mask,
            inplace=True,
        )

    def turned(self, x: Node, by: Node, size: int) -> Node:
        return self.g.view(self.g.op((size, self.b.tokens), by, self.g.view(x)))

    def flash(self, q: Node, head_v: int) -> Node:
        """Flash attention; on a GPU its result has room behind it for what the kernels need."""
        g, s, cells = self.g, self.s, self.b.cells
        half = 2 * cells * (s.cache_k + s.cache_v)  # keys and values as f16
        result = 4 * head_v * s.heads * self.b.tokens
        sources = (g.view(g.view(q)), *self.cache_copies(), self.mask)
        if self.gpu == "cuda" and self.b.kv_type.block > 1:
            return g.op((result + half,), *sources, width=1)
        if self.gpu == "metal":
            partial = 4 * min(self.b.tokens, 32) * s.heads * 32 * (head_v + 2)
            tail = 64 * (2 * (s.cache_k + (s.cache_v or s.cache_k)) + 2 * self.b.tokens)
            return g.op(
                (result + half + partial + tail + cells * self.b.tokens // 512,), *sources, width=1
            )
        return g.op((head_v, s.heads, self.b.tokens), *sources)

    def cached_part(self, size: int) -> tuple[Node, ...]:
        """``size`` elements a token of the layer's cache, brought over from RAM."""
        if not self.here.in_ram:
            return ()
        return (self.g.op((self.b.kv_type.nbytes(size) * self.b.cells,), width=1),)

    def cache_copies(self) -> tuple[Node, ...]:
        """Keys and values; of MLA's one cache a copy for either use. A third because holes of
        earlier copies do not stay whole.
        """
        s = self.s
        return tuple(
            node
            for size in (s.cache_k, s.cache_v or s.cache_k, s.cache_k)
            for node in self.cached_part(size)
        )

    def dense(self, y: Node, ff: int, rows: int, kind: str) -> Node:
        up, gate = (self.product(f"ffn_{part}{kind}", (ff, rows), y) for part in ("up", "gate"))
        return self.product(
            f"ffn_down{kind}", (self.s.width, rows), self.g.op((ff, rows), gate, up)
        )

    def experts(self, y: Node, rows: int) -> Node:
        g, s = self.g, self.s
        logits = self.product("ffn_gate_inp", (s.experts, rows), y)
        probabilities = g.op((s.experts, rows), logits, inplace=True)
        chosen = self.choice(probabilities, rows)
        weights = g.op((1, s.experts_used, rows), g.view(probabilities), chosen)
        if s.expert_norm:
            flat = g.view(weights)
            total = g.op((1, rows), g.op((1, rows), flat), inplace=True)
            weights = g.view(g.op((s.experts_used, rows), flat, total, inplace=True))
        if s.expert_scale not in (0.0, 1.0):
            weights = g.op((1, s.experts_used, rows), weights, inplace=True)
        g.expand(weights)
        each = (s.expert_ff, s.experts_used, rows)
        x = g.view(y)
        if s.fused_gate_up:
            both = self.product(
                "ffn_gate_up_exps", (2 * s.expert_ff, s.experts_used, rows), x, chosen
            )
            gate, up = g.view(both), g.view(both)
        else:
            up, gate = (
                self.product(f"ffn_{part}_exps", each, x, chosen) for part in ("up", "gate")
            )
        down = self.product(
            "ffn_down_exps", (s.width, s.experts_used, rows), g.op(each, gate, up), chosen
        )
        weighted = g.op((s.width, s.experts_used, rows), down, weights, inplace=True)
        g.expand(weighted)
        parts = [g.view(weighted) for _ in range(s.experts_used)]
        g.expand(*parts)
        out = parts[0] if len(parts) > 1 else g.op((s.width, rows), parts[0])
        for part in parts[1:]:
            out = g.op((s.width, rows), out, part, inplace=True)
            g.expand(out)
        if self.gpu == "cuda" and 1 < s.experts_used <= FUSED:
            g.expand(g.store(down, weights))
        return (
            g.op((s.width, rows), out, self.dense(y, s.shared_ff, rows, "_shexp"), inplace=True)
            if s.shared_ff
            else out
        )

    def choice(self, probabilities: Node, rows: int) -> Node:
        """The experts' numbers: among all, or among those of the best groups."""
        g, s = self.g, self.s
        scores = probabilities
        if s.expert_bias:
            scores = g.op((s.experts, rows), scores, inplace=True)
        if s.expert_groups > 1:
            groups, size = s.expert_groups, s.experts // s.expert_groups
            grouped = g.view(scores)
            best = g.view(g.op((size, groups, rows), grouped))
            best = g.op((1, 2, groups, rows), g.view(grouped), best)
            best = g.view(g.op((1, groups, rows), g.view(best)))
            best = g.view(g.op((groups, rows), best))
            kept = g.op((size, s.groups_used, rows), grouped, best)
            emptied = g.op((size, groups, rows), grouped, inplace=True)
            scores = g.view(g.filled(emptied, kept, best))
        return g.view(g.op((s.experts, rows), scores))


def _rotation(head: int) -> int:
    """The largest power of two, 64 or more, that divides a head's length."""
    return head & -head


@dataclass(frozen=True, slots=True)
class _Layer:
    """A kind of layer: with experts or not, and what of it is in RAM though it is computed on the
    GPU.
    """

    moe: bool
    in_ram: bool = False
    experts_in_ram: bool = False


def _layers(shape: Shape, remote: HostResident) -> Iterator[tuple[_Layer, bool]]:
    """The layers that are gone through, in order, and whether each is the last of all."""
    first_moe = shape.dense_layers if shape.experts else shape.layers
    kinds = [
        _Layer(i >= first_moe, i < remote.layers, first_moe <= i < first_moe + remote.moe_layers)
        for i in range(shape.layers)
    ]
    taken: list[_Layer] = []
    for kind in kinds:
        if taken[-REPEATS:] != [kind] * REPEATS:
            taken.append(kind)
    taken += taken[-1:] * (shape.layers > len(taken))
    yield from ((kind, i == len(taken) - 1) for i, kind in enumerate(taken))
