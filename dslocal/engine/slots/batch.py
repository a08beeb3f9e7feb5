"""llama.cpp's batch of tokens of several sequences, made once and filled for each step.

It consists of numpy arrays, so that filling it costs little.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dslocal.gguf import libraries


class BatchPart(NamedTuple):
    """Ids of one sequence, and the position of the first of them."""

    seq_id: int
    start: int
    ids: Sequence[int]


class TokenBatch:
    """A ``llama_batch`` (llama.h) for up to ``size`` tokens, each of one sequence.

    Attributes:
        struct: The ``llama_batch``; valid as long as this object lives.
    """

    def __init__(self, size: int) -> None:
        low = libraries.require()
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._seq_counts = np.ones(size, np.int32)
        self._seq_ids = np.zeros(size, np.int32)
        self._has_logits = np.zeros(size, np.int8)
        self._seq_id_pointers = _pointers_to_items(self._seq_ids)
        self.struct: Any = low.llama_batch(
            token=_pointer(self._tokens, ctypes.c_int32),
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._seq_counts, ctypes.c_int32),
            seq_id=self._seq_id_pointers,
            logits=_pointer(self._has_logits, ctypes.c_int8),
        )

    def fill(self, parts: Iterable[BatchPart]) -> None:
        """Replace what is in the batch. The last id of each part gets logits."""
        start = 0
        for part in parts:
            end = start + len(part.ids)
            self._tokens[start:end] = part.ids
            self._positions[start:end] = range(part.start, part.start + len(part.ids))
            self._seq_ids[start:end] = part.seq_id
            self._has_logits[start:end] = 0
            self._has_logits[end - 1] = 1
            start = end
        self.struct.n_tokens = start


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))


def _pointers_to_items(array: NDArray[np.int32]) -> Any:
    """Return a C array of pointers to each item, since a token may be of several sequences."""
    pointer = ctypes.POINTER(ctypes.c_int32)
    first, width = array.ctypes.data, array.itemsize
    addresses = range(first, first + len(array) * width, width)
    return (pointer * len(array))(*(ctypes.cast(address, pointer) for address in addresses))
