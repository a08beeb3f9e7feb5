"""ggml's graph allocator, in sizes alone: how large a buffer the results of a graph need when those
that are done with make room.

A graph is a list of nodes in the order in which they are computed. Weights and the KV cache live
elsewhere and do not occur. Source of the rules: ggml/src/ggml-alloc.c
(``ggml_gallocr_alloc_graph_impl``, ``ggml_dyn_tallocr_alloc``) and ggml.c
(``ggml_visit_parents_graph``). Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_ENDLESS = 1 << 62


class Node:
    """A tensor of the graph: an input, the result of an operation, or a view on one.

    ``layout`` says who may take whose place: results of the same shape and type. ``inplace``
    operations reuse a source that nothing else needs. ``keep`` is for outputs, which are never
    freed.
    """

    __slots__ = (
        "children",
        "computed",
        "home",
        "inplace",
        "keep",
        "layout",
        "offset",
        "owned",
        "seen",
        "size",
        "sources",
        "views",
    )

    def __init__(
        self,
        size: int,
        layout: object,
        sources: Sequence[Node],
        *,
        inplace: bool = False,
        home: Node | None = None,
    ) -> None:
        self.size, self.layout, self.sources, self.inplace = size, layout, tuple(sources), inplace
        self.home = home  # what a view looks at
        self.computed = True
        self.keep = self.seen = self.owned = False
        self.children = self.views = self.offset = 0


class Graph:
    """Builds a graph as ggml does, and says what it needs."""

    def __init__(self, alignment: int) -> None:
        self._alignment = alignment
        self._inputs: list[Node] = []
        self._nodes: list[Node] = []

    def input(self, *shape: int, width: int = 4) -> Node:
        """A tensor that is filled in before the graph runs; ``width`` bytes an element."""
        node = Node(self._padded(math.prod(shape) * width), (shape, width), ())
        node.computed = False
        return node

    def op(
        self, shape: tuple[int, ...], *sources: Node, width: int = 4, inplace: bool = False
    ) -> Node:
        """The result of an operation on ``sources``."""
        return Node(
            self._padded(math.prod(shape) * width), (shape, width), sources, inplace=inplace
        )

    def view(self, node: Node) -> Node:
        """``node`` in another shape. Nothing is ever computed in place of a view."""
        return Node(0, None, (node,), home=node.home or node)

    def store(self, *sources: Node) -> Node:
        """A write to memory that is not the graph's, as the KV cache."""
        return Node(0, None, sources)

    def filled(self, into: Node, *sources: Node) -> Node:
        """``into`` after rows of ``sources`` went there."""
        return Node(0, None, (*sources, into), home=into.home or into)

    def expand(self, *nodes: Node) -> None:
        """Puts ``nodes`` and whatever they need, that is not there yet, at the end."""
        for node in nodes:
            self._visit(node)

    def size(self) -> int:
        """Bytes of the buffer."""
        heap = _Heap()
        for node in self._inputs:
            _place(node, heap)
        for node in self._nodes:
            if node.home:
                node.home.views += 1
            for source in node.sources:
                source.children += 1
        for node in self._nodes:
            _place(node, heap)
            for source in node.sources:
                _release(source, heap)
        return heap.peak

    def _visit(self, node: Node) -> None:
        if node.seen:
            return
        node.seen = True
        for source in node.sources:
            self._visit(source)
        (self._nodes if node.computed else self._inputs).append(node)

    def _padded(self, size: int) -> int:
        return -(-size // self._alignment) * self._alignment


class _Heap:
    """Free blocks in order of address, the last of them without end; the best fit wins, and the
    last block only if nothing else does.
    """

    def __init__(self) -> None:
        self.blocks: list[list[int]] = [[0, _ENDLESS]]  # offset, size
        self.peak = 0

    def take(self, size: int) -> int:
        last = len(self.blocks) - 1
        best, best_size = last, _ENDLESS
        for i in range(last):
            if size <= self.blocks[i][1] <= best_size:
                best, best_size = i, self.blocks[i][1]
        block = self.blocks[best]
        offset = block[0]
        block[0], block[1] = offset + size, block[1] - size
        if not block[1]:
            del self.blocks[best]
        self.peak = max(self.peak, offset + size)
        return offset

    def give(self, offset: int, size: int) -> None:
        at = next((i for i, block in enumerate(self.blocks) if block[0] > offset), len(self.blocks))
        self.blocks.insert(at, [offset, size])
        for i, j in ((at, at + 1), (at - 1, at)):
            if i >= 0 and j < len(self.blocks) and sum(self.blocks[i]) == self.blocks[j][0]:
                self.blocks[i][1] += self.blocks[j][1]
                del self.blocks[j]


def _place(node: Node, heap: _Heap) -> None:
    """Gives ``node`` room: a source's, if it may have that."""
    if node.owned or not node.size:
        return
    node.owned = True
    for source in node.sources if node.inplace else ():
        if (
            source.owned
            and not source.keep
            and source.layout == node.layout
            and source.children == 1
            and not source.views
        ):
            source.owned, node.offset = False, source.offset
            return
    node.offset = heap.take(node.size)


def _release(source: Node, heap: _Heap) -> None:
    """One reader of ``source`` is done."""
    source.children -= 1
    if source.children or source.views:
        return
    if source.home:
        source.home.views -= 1
        source = source.home
    if source.owned and not source.keep and not source.children and not source.views:
        heap.give(source.offset, source.size)
        source.owned = False
