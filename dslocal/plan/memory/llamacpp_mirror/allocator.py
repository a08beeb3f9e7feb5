"""ggml's graph allocator, in sizes alone: how large a buffer the results of a graph need when those
that are not needed any more make room.

A graph is a list of nodes in the order in which they are computed. Weights and the KV cache are in
buffers of their own and do not occur. Source: llama.cpp, ggml/src/ggml-alloc.c and ggml/src/ggml.c.
Knows nothing of models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_ENDLESS = 1 << 62  # bytes of the last free block


@dataclass(slots=True, eq=False)
class Node:
    """A tensor of the graph: an input, the result of an operation, or a view of one.

    The second half mirrors ``struct hash_node`` (ggml-alloc.c) and belongs to the allocator.

    Attributes:
        size: bytes, rounded up to the buffer's alignment; 0 where nothing is allocated.
        layout: a result may take the place of a source that has the same layout.
        sources: the tensors that it is computed from.
        is_input: whether it is filled in before the graph runs.
        can_inplace: whether its operation may write over a source (``ggml_op_can_inplace``).
        view_src: the tensor that a view looks at.
        is_output: whether it is an output, which is never freed (``GGML_TENSOR_FLAG_OUTPUT``).
        visited: whether it is in the graph.
        allocated: whether it has a place in the buffer that is its own.
        offset: where that is, in bytes.
        n_children: operations still to come that read it.
        n_views: views of it that are still read.
    """

    size: int
    layout: object = None
    sources: tuple[Node, ...] = ()
    is_input: bool = False
    can_inplace: bool = False
    view_src: Node | None = None
    is_output: bool = False
    visited: bool = False
    allocated: bool = False
    offset: int = 0
    n_children: int = 0
    n_views: int = 0


class Graph:
    """Builds a graph as ggml does, and says how large a buffer it needs."""

    def __init__(self, alignment: int) -> None:
        """Start an empty graph.

        Args:
            alignment: bytes to a multiple of which every tensor in the buffer is rounded up.
        """
        self._alignment = alignment
        self._leafs: list[Node] = []
        self._nodes: list[Node] = []

    def input(self, *shape: int, width: int = 4) -> Node:
        """Return a tensor that is filled in before the graph runs.

        Args:
            shape: its dimensions.
            width: bytes an element.
        """
        return Node(self._padded(math.prod(shape) * width), (shape, width), is_input=True)

    def op(
        self, shape: tuple[int, ...], *sources: Node, width: int = 4, inplace: bool = False
    ) -> Node:
        """Return the result of an operation.

        Args:
            shape: the dimensions of the result.
            sources: what it is computed from.
            width: bytes an element.
            inplace: whether it may be written over a source of the same shape.
        """
        size = self._padded(math.prod(shape) * width)
        return Node(size, (shape, width), sources, can_inplace=inplace)

    def view(self, node: Node) -> Node:
        """Return ``node`` in another shape. Nothing is ever computed in place of a view."""
        return Node(0, sources=(node,), view_src=node.view_src or node)

    def store(self, *sources: Node) -> Node:
        """Return a write to memory that is not the graph's, such as the KV cache."""
        return Node(0, sources=sources)

    def set_rows(self, target: Node, *sources: Node) -> Node:
        """Return ``target`` after rows of ``sources`` were written to it (``ggml_set_rows``)."""
        return Node(0, sources=(*sources, target), view_src=target.view_src or target)

    def build_forward_expand(self, *nodes: Node) -> None:
        """Append ``nodes`` and what they need, as far as it is not in the graph yet.

        Source: ggml.c, ``ggml_build_forward_expand``.
        """
        for node in nodes:
            self._visit_parents(node)

    def buffer_size(self) -> int:
        """Return the bytes of the buffer that the graph needs.

        Source: ggml-alloc.c, ``ggml_gallocr_alloc_graph_impl``.
        """
        heap = _DynTallocr()
        for leaf in self._leafs:
            _allocate_node(leaf, heap)
        for node in self._nodes:
            if node.view_src:
                node.view_src.n_views += 1
            for source in node.sources:
                source.n_children += 1
        for node in self._nodes:
            _allocate_node(node, heap)
            for source in node.sources:
                _release_parent(source, heap)
        return heap.max_size

    def _visit_parents(self, node: Node) -> None:
        """Source: ggml.c, ``ggml_visit_parents_graph``."""
        if node.visited:
            return
        node.visited = True
        for source in node.sources:
            self._visit_parents(source)
        (self._leafs if node.is_input else self._nodes).append(node)

    def _padded(self, size: int) -> int:
        return -(-size // self._alignment) * self._alignment


@dataclass(slots=True)
class _FreeBlock:
    """Bytes that are free, from ``offset`` on."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class _DynTallocr:
    """Free blocks in order of address, the last of them without end.

    Source: ggml-alloc.c, ``struct ggml_dyn_tallocr``.
    """

    def __init__(self) -> None:
        self.free_blocks = [_FreeBlock(0, _ENDLESS)]
        self.max_size = 0

    def alloc(self, size: int) -> int:
        """Take ``size`` bytes; return their offset.

        The best fit wins, and the last block only if no other fits. Source: ggml-alloc.c,
        ``ggml_dyn_tallocr_alloc``.
        """
        last = len(self.free_blocks) - 1
        best_index, best_size = last, _ENDLESS
        for i in range(last):
            if size <= self.free_blocks[i].size <= best_size:
                best_index, best_size = i, self.free_blocks[i].size
        block = self.free_blocks[best_index]
        offset = block.offset
        block.offset += size
        block.size -= size
        if not block.size:
            del self.free_blocks[best_index]
        self.max_size = max(self.max_size, offset + size)
        return offset

    def free_bytes(self, offset: int, size: int) -> None:
        """Give ``size`` bytes back, and join the block with its neighbours.

        Source: ggml-alloc.c, ``ggml_dyn_tallocr_free_bytes``.
        """
        blocks = self.free_blocks
        index = next((i for i, block in enumerate(blocks) if block.offset > offset), len(blocks))
        blocks.insert(index, _FreeBlock(offset, size))
        self._join(index)
        self._join(index - 1)

    def _join(self, index: int) -> None:
        """Join a block with the next one, if they touch."""
        blocks = self.free_blocks
        if 0 <= index < len(blocks) - 1 and blocks[index].end == blocks[index + 1].offset:
            blocks[index].size += blocks[index + 1].size
            del blocks[index + 1]


def _allocate_node(node: Node, heap: _DynTallocr) -> None:
    """Give ``node`` a place: that of a source, if it may have it.

    Source: ggml-alloc.c, ``ggml_gallocr_allocate_node``.
    """
    if node.allocated or not node.size:
        return
    node.allocated = True
    parents = node.sources if node.can_inplace else ()
    for parent in parents:
        if _can_reuse(parent, node):
            parent.allocated = False
            node.offset = parent.offset
            return
    node.offset = heap.alloc(node.size)


def _can_reuse(parent: Node, node: Node) -> bool:
    """Return whether ``node`` may take the place of ``parent``, which nothing else reads."""
    return (
        parent.allocated
        and not parent.is_output
        and parent.layout == node.layout
        and parent.n_children == 1
        and not parent.n_views
    )


def _release_parent(parent: Node, heap: _DynTallocr) -> None:
    """Note that one reader of ``parent`` is done, and free what nothing reads any more.

    Source: the end of ``ggml_gallocr_alloc_graph_impl``, and ``ggml_gallocr_free_node``.
    """
    parent.n_children -= 1
    if parent.n_children or parent.n_views:
        return
    if parent.view_src:
        parent.view_src.n_views -= 1
        parent = parent.view_src
    if parent.allocated and not parent.is_output and not parent.n_children and not parent.n_views:
        heap.free_bytes(parent.offset, parent.size)
        parent.allocated = False
