"""Turn logits into 16-bit log-probabilities, and compare logits with such a row.

A packed row consists of uint16 values. The first four are two float32: the step and the lowest
log-probability. Then there is one value for each token; if their number is odd, one more value is
unused. Probabilities below e⁻¹⁶ of the highest are cut. Source: llama.cpp,
tools/perplexity/perplexity.cpp (``log_softmax``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PackedRows = NDArray[np.uint16]
Tokens = NDArray[np.int32]

MAX_STEPS = 65535  # of a 16-bit number
DEPTH = np.float32(16)  # how far below the highest logit a row reaches
MIN_LOG_PROBABILITY = np.float32(-16)  # what is below counts as probability 0
SCALE_WORDS = 4  # uint16 before the tokens
BLOCK_ELEMENTS = 1 << 16  # logits that are worked on at a time, and stay in the CPU's cache

# What a scored token has: the divergence of the whole distribution, minus the logarithm of the
# probability that each model gave the token that came, and whether both expected the same one.
SCORE = np.dtype([("kl", "<f8"), ("nll", "<f4"), ("nll_reference", "<f4"), ("same_top", "?")])
Scores = NDArray[np.void]


def row_words(n_vocab: int) -> int:
    """Return the uint16 of a packed row."""
    return 2 * ((n_vocab + 1) // 2) + SCALE_WORDS


class _Softmax(NamedTuple):
    """Rows of logits: the index of the highest of each, that logit, and log-probabilities."""

    top: NDArray[np.intp]
    highest: Floats
    log_probabilities: Floats


class RowWorker:
    """Packs and compares rows, on several threads: numpy lets others run meanwhile."""

    def __init__(self, threads: int) -> None:
        """Take the number of threads. Use as a context manager."""
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> RowWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def pack(self, logits: Floats) -> PackedRows:
        """Return packed rows ``[tokens, words]`` of ``logits [tokens, n_vocab]``."""
        packed = np.zeros((len(logits), row_words(logits.shape[1])), np.uint16)

        def work(rows: slice) -> None:
            for block in _blocks(rows, logits.shape[1]):
                _pack(logits[block], packed[block])

        self._divide(len(logits), work)
        return packed

    def score(self, logits: Floats, packed: PackedRows, following: Tokens) -> Scores:
        """Return the score of each row.

        Args:
            logits: ``[tokens, n_vocab]`` of the model that is measured.
            packed: The reference's rows.
            following: The token that came after each.
        """
        scores = np.zeros(len(logits), SCORE)

        def work(rows: slice) -> None:
            for block in _blocks(rows, logits.shape[1]):
                _score(logits[block], packed[block], following[block], scores[block])

        self._divide(len(logits), work)
        return scores

    def _divide(self, count: int, work: Callable[[slice], None]) -> None:
        """Call ``work`` for every part of ``count`` rows."""
        step = max(1, -(-count // self._threads))
        parts = [slice(start, min(start + step, count)) for start in range(0, count, step)]
        list(self._pool.map(work, parts))


def _blocks(rows: slice, columns: int) -> Iterator[slice]:
    step = max(1, BLOCK_ELEMENTS // columns)
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop))


def _softmax(logits: Floats) -> _Softmax:
    top = logits.argmax(1)
    highest = np.take_along_axis(logits, top[:, None], 1)
    shifted = logits - highest
    log_sum = np.log(np.exp(shifted).sum(1, keepdims=True))
    shifted -= log_sum
    return _Softmax(top, highest[:, 0], shifted)


def _pack(logits: Floats, packed: PackedRows) -> None:
    found = _softmax(logits)
    lowest = np.maximum(logits.min(1), found.highest - DEPTH)
    step = (found.highest - lowest) / np.float32(MAX_STEPS)
    scales = packed[:, :SCALE_WORDS].view(np.float32)
    scales[:, 0] = step
    top = np.take_along_axis(found.log_probabilities, found.top[:, None], 1)[:, 0]
    scales[:, 1] = lowest - found.highest + top
    inverse = np.divide(1, step, out=np.zeros_like(step), where=step > 0)
    steps = logits - lowest[:, None]
    steps *= inverse[:, None]
    np.rint(steps, out=steps)
    np.maximum(steps, 0, out=steps)
    packed[:, SCALE_WORDS : SCALE_WORDS + logits.shape[1]] = steps


def _score(logits: Floats, packed: PackedRows, following: Tokens, scores: Scores) -> None:
    found = _softmax(logits)
    scales = packed[:, :SCALE_WORDS].view(np.float32)
    steps = packed[:, SCALE_WORDS : SCALE_WORDS + logits.shape[1]]
    reference = steps.astype(np.float32)
    reference *= scales[:, :1]
    reference += scales[:, 1:]
    picked = following[:, None]
    scores["nll"] = -np.take_along_axis(found.log_probabilities, picked, 1)[:, 0]
    scores["nll_reference"] = -np.take_along_axis(reference, picked, 1)[:, 0]
    scores["same_top"] = found.top == steps.argmax(1)
    is_cut = reference <= MIN_LOG_PROBABILITY
    probabilities = np.exp(reference)
    reference -= found.log_probabilities
    reference *= probabilities
    np.copyto(reference, 0, where=is_cut)
    scores["kl"] = reference.sum(1)
