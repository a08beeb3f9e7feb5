"""Pieces of memory for experts of one size, and which expert is to make room for another.

Knows positions and bytes alone; what is read and shown there is for :mod:`.own_memory`.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from .expert_layout import ExpertLayout, ExpertTensor, Extent

PAGE = mmap.PAGESIZE
# Each expert that is kept makes two mappings; Linux allows 65,530 in a process (max_map_count).
MAX_KEPT = 24_000


class ExpertKey(NamedTuple):
    """An expert of a tensor."""

    tensor: ExpertTensor
    number: int

    @property
    def extent(self) -> Extent:
        """Return where it is in the file."""
        return self.tensor.extent(self.number)


class PieceUse(NamedTuple):
    """Where an expert is kept, and when it was used last, counted in uses."""

    position: int
    used: int


@dataclass
class PiecePool:
    """Pieces of memory for experts of one size.

    Attributes:
        start: where the pieces begin in the overlay.
        piece_bytes: of one piece.
        n_pieces: how many there are; each takes RAM from when it is written first.
        share: of all the memory, that this size may have.
        kept: the experts that can be used, by layer, those used last at the end.
        free: pieces with RAM that hold nothing.
        given_back: pieces that had RAM before.
        n_tried: how many pieces had RAM at some time, the first ones.
    """

    start: int
    piece_bytes: int
    n_pieces: int
    share: float
    kept: dict[int, OrderedDict[ExpertKey, PieceUse]] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    given_back: list[int] = field(default_factory=list)
    n_tried: int = 0

    @property
    def held_bytes(self) -> int:
        """Return the RAM that the pieces take."""
        return (self.n_tried - len(self.given_back)) * self.piece_bytes

    def find(self, expert: ExpertKey) -> PieceUse | None:
        """Return where an expert is kept."""
        of_layer = self.kept.get(expert.tensor.layer)
        return of_layer.get(expert) if of_layer else None

    def keep(self, expert: ExpertKey, kept: PieceUse) -> None:
        """Keep an expert, as the one used last."""
        of_layer = self.kept.setdefault(expert.tensor.layer, OrderedDict())
        of_layer[expert] = kept
        of_layer.move_to_end(expert)

    def grow(self, allowed: float) -> int | None:
        """Return a piece that holds nothing, if there is one within the bytes allowed for all."""
        if self.free:
            return self.free.pop()
        if self.held_bytes + self.piece_bytes > allowed * self.share:
            return None
        if self.given_back:
            return self.given_back.pop()
        if self.n_tried == self.n_pieces:
            return None
        self.n_tried += 1
        return self.start + (self.n_tried - 1) * self.piece_bytes

    def longest_unused(self) -> ExpertKey | None:
        """Return the expert that was not used for longest."""
        heads = [next(iter(found.items())) for found in self.kept.values() if found]
        return min(heads, key=lambda head: head[1].used)[0] if heads else None

    def furthest_ahead(self, layer: int) -> ExpertKey | None:
        """Return an expert of the layer that is needed last if all follow in order after one."""
        layers = [number for number, found in self.kept.items() if found]
        if not layers:
            return None
        n_layers = max(*layers, layer) + 1
        return next(iter(self.kept[max(layers, key=lambda one: (one - layer) % n_layers)]))


def make_pools(layout: ExpertLayout) -> dict[int, PiecePool]:
    """Return a pool for each size of experts, by that size, with no RAM yet."""
    tensors = [tensor for layer in layout.layers.values() for tensor in layer]
    total = sum(tensor.nbytes for tensor in tensors)
    pools: dict[int, PiecePool] = {}
    start = 0
    for size in sorted({tensor.expert_bytes for tensor in tensors}):
        same = [tensor for tensor in tensors if tensor.expert_bytes == size]
        share = sum(tensor.nbytes for tensor in same) / total
        n_pieces = min(sum(tensor.n_experts for tensor in same), int(MAX_KEPT * share) + 1)
        is_aligned = not size % PAGE and not any(tensor.start % PAGE for tensor in same)
        piece_bytes = size if is_aligned else ((size - 2) // PAGE + 2) * PAGE
        pools[size] = PiecePool(start, piece_bytes, n_pieces, share)
        start += n_pieces * pools[size].piece_bytes
    return pools
