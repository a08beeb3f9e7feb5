"""llama.cpp's batch of tokens of several sequences, kept and filled anew: made of arrays, so that
filling it costs little.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dslocal.gguf import libraries


class TokenBatch:
    """llama.cpp's batch for up to ``size`` tokens, each of one sequence, filled anew every time."""

    def __init__(self, size: int) -> None:
        low = libraries.require()
        self._tokens, self._places = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self._counts, self._sequence, self._wanted = (
            np.ones(size, np.int32),
            np.zeros(size, np.int32),
            np.zeros(size, np.int8),
        )
        start, width = self._sequence.ctypes.data, self._sequence.itemsize
        self._sequences = (ctypes.POINTER(ctypes.c_int32) * size)(
            *(ctypes.cast(start + i * width, ctypes.POINTER(ctypes.c_int32)) for i in range(size))
        )
        arrays: dict[str, Any] = {
            "token": self._tokens,
            "pos": self._places,
            "n_seq_id": self._counts,
            "logits": self._wanted,
        }
        pointers = {
            name: array.ctypes.data_as(ctypes.POINTER(_KINDS[array.dtype.itemsize]))
            for name, array in arrays.items()
        }
        self.struct: Any = low.llama_batch(seq_id=self._sequences, **pointers)

    def fill(self, stretches: Iterable[tuple[int, int, Sequence[int]]]) -> list[int]:
        """Puts stretches in: each a sequence, the position of its first id, and ids. Returns where
        their last ids are, which get logits.
        """
        at, last = 0, []
        for sequence, start, ids in stretches:
            end = at + len(ids)
            self._tokens[at:end] = ids
            self._places[at:end] = range(start, start + len(ids))
            self._sequence[at:end] = sequence
            self._wanted[at:end] = 0
            self._wanted[end - 1] = 1
            last.append(end - 1)
            at = end
        self.struct.n_tokens = at
        return last


_KINDS: dict[int, Any] = {1: ctypes.c_int8, 4: ctypes.c_int32}
