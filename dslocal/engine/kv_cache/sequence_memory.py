"""llama.cpp's memory of one sequence: it grows with each evaluation, and can be shortened.

Most memories can be cut at any position. DeepSeek-V4's cannot (see
:mod:`dslocal.plan.memory.checkpoints`): there the sequence is taken back to the last checkpoint
before that position, or emptied. A checkpoint is the part of llama.cpp's state that only holds the
end of the sequence. The rest of the state stays in place, so a checkpoint is valid until the
sequence is emptied or shortened to less.
"""

from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import Any, NamedTuple

from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader
from dslocal.plan.memory.checkpoints import (
    CHECKPOINT_SPACING,
    checkpoints_per_sequence,
    needs_checkpoints,
)

PARTIAL_ONLY = 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY of llama.h
N_PROTECTED = 4  # of the newest checkpoints, which are never given up for older ones


class StateCheckpoint(NamedTuple):
    """The state at the end of a sequence of ``length`` tokens."""

    length: int
    state: ctypes.Array[ctypes.c_uint8]


class SequenceMemory:
    """The memory of one sequence of a llama.cpp context.

    Attributes:
        seq_id: llama.cpp's number of the sequence.
        max_checkpoints: How many checkpoints are kept; 0 for a memory that can be cut anywhere.
        checkpoints: The checkpoints, in order of length.
    """

    def __init__(self, handle: Any, seq_id: int = 0, *, max_checkpoints: int = 0) -> None:
        """Manage sequence ``seq_id`` of the context ``handle``, which must outlive this."""
        self._low = libraries.require()
        self._handle = handle
        self._memory = self._low.llama_get_memory(handle)
        self.seq_id = seq_id
        self.max_checkpoints = max_checkpoints
        self.checkpoints: list[StateCheckpoint] = []

    @property
    def checkpoint_lengths(self) -> list[int]:
        """Return the lengths that the sequence can be taken back to, in ascending order."""
        return [checkpoint.length for checkpoint in self.checkpoints]

    def is_checkpoint_due(self, length: int) -> bool:
        """Return whether the last checkpoint is so far behind ``length`` that one is due."""
        newest = self.checkpoints[-1].length if self.checkpoints else 0
        return self.max_checkpoints > 0 and length - newest >= CHECKPOINT_SPACING

    def save_checkpoint(self, length: int) -> None:
        """Keep the state of the sequence, which holds ``length`` tokens now.

        Does nothing for a memory that can be cut anywhere, and where a checkpoint is already. A
        state that llama.cpp does not hand over is not kept.
        """
        if not self.max_checkpoints or length <= 0 or length in self.checkpoint_lengths:
            return
        low, seq_id = self._low, self.seq_id
        size = low.llama_state_seq_get_size_ext(self._handle, seq_id, PARTIAL_ONLY)
        state = (ctypes.c_uint8 * size)()
        if low.llama_state_seq_get_data_ext(self._handle, state, size, seq_id, PARTIAL_ONLY):
            self.checkpoints.append(StateCheckpoint(length, state))
        if len(self.checkpoints) > self.max_checkpoints:
            del self.checkpoints[self._least_useful()]

    def shorten(self, length: int) -> int:
        """Remove what is behind the first ``length`` positions, and more where that is impossible.

        Returns:
            How many positions are left.
        """
        if length <= 0:
            return self.clear()
        if self._cut(length):
            self._drop_checkpoints(length)
            return length
        return self._take_back(length)

    def undo_failed(self, length: int) -> int:
        """Take the sequence back to ``length`` tokens after an evaluation that did not end.

        The states of a memory with checkpoints may be half written then, although it would let
        itself be cut.

        Returns:
            How many positions are left.
        """
        return self._take_back(length) if self.max_checkpoints else self.shorten(length)

    def clear(self) -> int:
        """Empty the sequence, and return that nothing is left."""
        self.checkpoints.clear()
        self._low.llama_memory_seq_rm(self._memory, self.seq_id, -1, -1)
        return 0

    def copy(self, other: SequenceMemory) -> None:
        """Become a copy of another sequence of the same context, checkpoints included."""
        self.clear()
        # sequences with caches of their own can only be copied whole
        self._low.llama_memory_seq_cp(self._memory, other.seq_id, self.seq_id, -1, -1)
        self.checkpoints = list(other.checkpoints)

    def _cut(self, length: int) -> bool:
        return bool(self._low.llama_memory_seq_rm(self._memory, self.seq_id, length, -1))

    def _take_back(self, length: int) -> int:
        """Return to the last checkpoint at or before ``length``, or to an empty sequence."""
        self._drop_checkpoints(length)
        while self.checkpoints:
            checkpoint = self.checkpoints[-1]
            read = self._low.llama_state_seq_set_data_ext(
                self._handle,
                checkpoint.state,
                len(checkpoint.state),
                self.seq_id,
                PARTIAL_ONLY,
            )
            if read and self._cut(checkpoint.length):
                return checkpoint.length
            self.checkpoints.pop()
        return self.clear()

    def _drop_checkpoints(self, length: int) -> None:
        """Give up the checkpoints behind ``length``."""
        while self.checkpoints and self.checkpoints[-1].length > length:
            self.checkpoints.pop()

    def _least_useful(self) -> int:
        """Return the index of the checkpoint without which the smallest gap arises."""
        lengths = [0, *self.checkpoint_lengths]
        candidates = len(self.checkpoints) - min(N_PROTECTED, self.max_checkpoints - 1)
        gaps = [after - before for before, after in pairwise(lengths)]
        return min(range(candidates), key=lambda index: gaps[index] + gaps[index + 1])


def max_checkpoints(header: GgufHeader, n_seq: int) -> int:
    """Return how many checkpoints each of ``n_seq`` sequences keeps; 0 if a cache can be cut."""
    return checkpoints_per_sequence(n_seq) if needs_checkpoints(header) else 0
