"""V4's hyper-connections: several residual streams, of which each step of a layer reads a mixture.

Source: llama.cpp, src/models/deepseek4.cpp, node for node.
"""

from __future__ import annotations

from typing import NamedTuple

from .allocator import Node
from .graph_context import GraphContext


class HyperConnection(NamedTuple):
    """One stream made of all, and the weights that bring its result back into them."""

    stream: Node
    post: Node
    comb: Node


class HyperConnections:
    """Builds what joins and parts the streams in ``ctx``."""

    def __init__(self, ctx: GraphContext) -> None:
        """Take the context of the graph."""
        self.ctx = ctx
        self.graph = ctx.graph

    def pre(self, inp: Node) -> HyperConnection:
        """Return the stream that a step reads. Source: ``build_hc_pre``."""
        graph, shape = self.graph, self.ctx.shape
        n_tokens, n_hc = self.ctx.batch.n_tokens, shape.n_hc
        wide = (shape.n_embd * n_hc, n_tokens)
        normalised = graph.op(wide, graph.view(inp), inplace=True)
        mixes = graph.op(((2 + n_hc) * n_hc, n_tokens), normalised)
        pre = graph.view(mixes)
        post = graph.view(mixes)
        for _ in range(4):  # times scale, plus base, sigmoid, scaled
            pre = graph.op((n_hc, n_tokens), pre, inplace=True)
            post = graph.op((n_hc, n_tokens), post, inplace=True)
        comb = graph.op((n_hc, n_hc, n_tokens), mixes)
        return HyperConnection(graph.op((shape.n_embd, n_tokens), inp, pre), post, comb)

    def post(self, cur: Node, residual: Node, hc: HyperConnection) -> Node:
        """Return all streams with the result of a step in them. Source: ``build_hc_post``."""
        shape = self.ctx.shape
        streams = (shape.n_embd, shape.n_hc, self.ctx.batch.n_tokens)
        return self.graph.op(streams, cur, residual, hc.post, hc.comb)

    def mix(self, flat: Node, n_rows: int) -> Node:
        """Return one stream made of all. Source: ``build_hc_head``."""
        graph, shape = self.graph, self.ctx.shape
        wide = (shape.n_embd * shape.n_hc, n_rows)
        normalised = graph.op(wide, graph.view(graph.view(flat)), inplace=True)
        weights = graph.op((shape.n_hc, n_rows), normalised)
        for _ in range(4):  # times scale, plus base, sigmoid, plus epsilon
            weights = graph.op((shape.n_hc, n_rows), weights, inplace=True)
        rows = (shape.n_embd, n_rows)
        total = graph.op(rows, graph.view(flat), graph.view(weights), inplace=True)
        for _ in range(shape.n_hc - 1):
            part = graph.op(rows, graph.view(flat), graph.view(weights), inplace=True)
            total = graph.op(rows, total, part, inplace=True)
        return total

    def build_mean(self, inp: Node) -> None:
        """Hand over the mean of all streams of ``inp``. Source: ``build_hc_mean``."""
        graph, shape = self.graph, self.ctx.shape
        rows = (shape.n_embd, self.ctx.batch.n_tokens)
        total = graph.view(inp)
        for _ in range(shape.n_hc - 1):
            total = graph.op(rows, total, graph.view(inp), inplace=True)
        mean = graph.op(rows, total, inplace=True)
        mean.is_output = True
        graph.build_forward_expand(mean)
