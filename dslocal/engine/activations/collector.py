"""Sum the squared inputs of every weight matrix while llama.cpp evaluates.

Which nodes of the graph count, and how, follows llama.cpp, tools/imatrix/imatrix.cpp
(``collect_imatrix``). Sums are float32 and grow row by row, as there: over many tokens that is
less exact than it could be, by about 1e-4, but the two programs' matrices can be compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dslocal.convert.recipes.imatrix_sums import ChannelSums, ImatrixSums
from dslocal.engine.graph import GraphObserver, NodeValues
from dslocal.engine.graph.graph_tensor import (
    GraphTensor,
    operation,
    operation_of,
    tensor_at,
    weight_name,
)
from dslocal.errors import EngineError
from dslocal.gguf.tensor_types import GgmlType

MIN_ROWS = 16  # of activations that a plain multiplication must have to be counted
BLOCK = "blk."
BLOCK_ELEMENTS = 1 << 14  # of activations that are squared at a time

Floats = NDArray[np.float32]


class ActivationCollector(GraphObserver):
    """Collects the sums of what it sees.

    Attributes:
        matrix: The sums so far.
    """

    def __init__(self, matrix: ImatrixSums) -> None:
        """Prepare to add to ``matrix``.

        Raises:
            EngineMissingError: The loaded library is not the one that dslocal knows.
        """
        self.matrix = matrix
        self._plain, self._by_expert = operation("MUL_MAT"), operation("MUL_MAT_ID")
        self._values = NodeValues()

    def wants(self, address: int) -> bool:
        """Return whether a node is a multiplication that counts."""
        op = operation_of(address)
        return op == self._by_expert or (op == self._plain and _counts(tensor_at(address)))

    def take(self, address: int) -> None:
        """Add the activations that a weight was multiplied with."""
        node = tensor_at(address)
        weight = tensor_at(node.src[0])
        name = weight_name(weight.name)
        if tensor_at(node.src[1]).type != GgmlType.F32:
            raise EngineError(f"activations of {name} are not float32, and are not summed")
        values = self._values.view(node.src[1])
        n_slices = weight.ne[2] * weight.ne[3]
        by_expert = node.op == self._by_expert
        shape = (n_slices, values.shape[-1])
        entry = self.matrix.entries.get(name)
        if entry is None:
            entry = ChannelSums.zeros(*shape, n_slices if by_expert else 1)
            self.matrix.entries[name] = entry
        elif entry.sums.shape != shape:  # of a file, which does not tell heads apart
            entry.sums = entry.sums.reshape(shape)
        if by_expert:
            _add_by_expert(entry, values, self._values.copy(node.src[2])[0, 0])
        else:
            _add_plain(entry, values, n_slices)


def _counts(node: GraphTensor) -> bool:
    """Return whether a plain multiplication counts: by a weight of a block, with enough rows."""
    inputs = tensor_at(node.src[1])
    if inputs.ne[1] < MIN_ROWS or inputs.type != GgmlType.F32:
        return False
    return weight_name(tensor_at(node.src[0]).name).startswith(BLOCK)


def _add_plain(entry: ChannelSums, values: Floats, n_slices: int) -> None:
    """Add activations ``[ne3, ne2, rows, channels]`` of a weight with so many slices.

    Activations with more slices than the weight go round the weight's slices.
    """
    outer, inner = values.shape[:2]
    rows = values.shape[2]
    if n_slices == 1 and outer == inner == 1:
        _add_squares(entry.sums[0], values[0, 0])
    else:
        for number, part in enumerate(values.reshape(outer * inner, rows, -1)):
            _add_squares(entry.sums[number % n_slices], part)
    entry.counts += outer * inner * rows // n_slices


def _add_by_expert(entry: ChannelSums, values: Floats, ids: NDArray[np.int32]) -> None:
    """Add activations ``[1, tokens, used or 1, channels]`` to the experts that they went to.

    Args:
        entry: The sums of all experts.
        values: The activations, one row for each token, or one for each of its experts.
        ids: The experts of each token: ``[tokens, used]``.
    """
    tokens, rows = values.shape[1:3]
    n_experts = len(entry.sums)
    chosen = ids.T.ravel()  # in llama.cpp's order: the first expert of every token comes first
    if ids.shape[0] != tokens or chosen.min() < 0 or chosen.max() >= n_experts:
        raise EngineError("llama.cpp chose experts that do not exist")
    counts = np.bincount(chosen, minlength=n_experts)
    place, token = np.divmod(np.argsort(chosen, kind="stable"), tokens)
    place %= rows
    start = 0
    for expert in np.flatnonzero(counts):
        part = slice(start, start + counts[expert])
        _add_squares(entry.sums[expert], values[0, token[part], place[part]])
        start = part.stop
    entry.counts += counts


def _add_squares(sums: Floats, rows: Floats) -> None:
    """Add the squares of ``[rows, channels]`` to ``sums``, one row after the other.

    In blocks that stay in the CPU's cache: squares of all rows at once took twice as long.
    """
    channels = rows.shape[1]
    step = max(1, BLOCK_ELEMENTS // channels)
    terms = np.empty((min(step, len(rows)) + 1, channels), np.float32)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        used = terms[: len(block) + 1]
        used[0] = sums
        np.multiply(block, block, out=used[1:])
        np.add.reduce(used, axis=0, out=sums)
