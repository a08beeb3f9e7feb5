"""Sum the squares of what every weight matrix is multiplied with, while llama.cpp evaluates.

llama.cpp's scheduler asks a callback about each node of a graph, and calls it again with the
computed node. Which nodes count, and how, follows llama.cpp, tools/imatrix/imatrix.cpp
(``collect_imatrix``). Sums are float32 and grow row by row, as there: over many tokens that is
less exact than it could be, by about 1e-4, but the two programs' matrices can be compared.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.convert.recipes.imatrix_sums import ChannelSums, ImatrixSums
from dslocal.errors import EngineError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType

from .graph_tensor import GraphTensor, operation, require_layout, tensor_at

MIN_ROWS = 16  # of activations that a plain multiplication must have to be counted
OP_OFFSET = GraphTensor.op.offset
BLOCK = "blk."
BLOCK_ELEMENTS = 1 << 14  # of activations that are squared at a time

Floats = NDArray[np.float32]


class ActivationCollector:
    """Collects the sums; ``callback`` is llama.cpp's ``cb_eval``.

    Attributes:
        matrix: The sums so far.
        callback: To be set in ``llama_context_params``; must live as long as the context.
        failure: What went wrong in the callback, which ended the evaluation; None for nothing.
    """

    def __init__(self, matrix: ImatrixSums) -> None:
        """Prepare to add to ``matrix``.

        Raises:
            EngineMissingError: The loaded library is not the one that dslocal knows.
        """
        require_layout()
        self.matrix = matrix
        self.failure: BaseException | None = None
        self._plain, self._by_expert = operation("MUL_MAT"), operation("MUL_MAT_ID")
        self._is_host = libraries.symbol(
            "ggml_backend_buffer_is_host", ctypes.c_bool, ctypes.c_void_p
        )
        self._get = libraries.symbol(
            "ggml_backend_tensor_get",
            None,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_size_t,
        )
        self._nbytes = libraries.symbol("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p)
        self.callback: Any = libraries.require().ggml_backend_sched_eval_callback(self._on_node)

    def raise_failure(self) -> None:
        """Raise what went wrong in the callback, if anything did."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def _on_node(self, address: int, asks: bool, _: Any) -> bool:
        """Say whether a node is wanted, or take it; False then ends the evaluation."""
        try:
            op = ctypes.c_int.from_address(address + OP_OFFSET).value
            if op not in (self._plain, self._by_expert):
                return False
            node = tensor_at(address)
            if asks:
                return op == self._by_expert or _counts(node)
            self._take(node, op)
        except BaseException as e:  # ctypes would print it and go on
            self.failure = e
            return asks
        return True

    def _take(self, node: GraphTensor, op: int) -> None:
        weight, inputs = tensor_at(node.src[0]), tensor_at(node.src[1])
        name = _weight_name(weight.name)
        values = self._values(inputs, node.src[1])
        n_slices = weight.ne[2] * weight.ne[3]
        entry = self.matrix.entries.get(name)
        if entry is None:
            n_counts = n_slices if op == self._by_expert else 1
            entry = self.matrix.entries[name] = ChannelSums.zeros(n_slices, inputs.ne[0], n_counts)
        if op == self._by_expert:
            _add_by_expert(entry, values, self._expert_ids(node.src[2]))
        else:
            _add_plain(entry, values, n_slices)

    def _values(self, tensor: GraphTensor, address: int) -> Floats:
        """Return a float32 tensor as ``[ne3, ne2, ne1, ne0]``, a view where it is in RAM."""
        if tensor.type != GgmlType.F32:
            raise EngineError(f"activations of ggml's type {tensor.type} are not summed")
        shape, strides = tuple(reversed(tensor.ne)), tuple(reversed(tensor.nb))
        return np.ndarray(shape, np.float32, self._memory(tensor, address), strides=strides)

    def _expert_ids(self, address: int) -> NDArray[np.int32]:
        """Return the experts of each token: ``[tokens, used]``."""
        tensor = tensor_at(address)
        memory = self._copied(address)
        shape, strides = (tensor.ne[1], tensor.ne[0]), (tensor.nb[1], tensor.nb[0])
        return np.ndarray(shape, np.int32, memory, strides=strides)

    def _memory(self, tensor: GraphTensor, address: int) -> Any:
        if self._is_host(tensor.buffer):
            return (ctypes.c_char * self._nbytes(address)).from_address(tensor.data)
        return self._copied(address)

    def _copied(self, address: int) -> Any:
        """Return a copy of a tensor's bytes, which may be in the memory of a GPU."""
        size = self._nbytes(address)
        memory = np.empty(size, np.uint8)
        self._get(address, memory.ctypes.data, 0, size)
        return memory


def _counts(node: GraphTensor) -> bool:
    """Return whether a plain multiplication counts: by a weight of a block, with enough rows."""
    inputs = tensor_at(node.src[1])
    if inputs.ne[1] < MIN_ROWS or inputs.type != GgmlType.F32:
        return False
    return _weight_name(tensor_at(node.src[0]).name).startswith(BLOCK)


def _weight_name(name: bytes) -> str:
    """Return a weight's name without what the scheduler adds: ``CUDA0#blk.0.attn_k.weight#0``."""
    parts = name.split(b"#", 2)
    return (parts[1] if len(parts) > 1 else name).decode("utf-8", "replace")


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
        raise EngineError("llama.cpp's choice of experts makes no sense")
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
