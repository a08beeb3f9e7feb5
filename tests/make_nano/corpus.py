"""The examples as windows of token ids, and which of them count for the loss: the answers that are
to be learned.

A window holds whole examples, one after the other, so that nothing is cut; the trainer keeps them
from seeing each other. Windows are drawn by other processes while training runs, and none is seen
twice.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from make_nano.exchange import Example
from make_nano.generate import examples
from make_nano.markup import PAD
from numpy.typing import NDArray
from tokenizers import Tokenizer

FIRST_SEED = 1000  # a seed for each part
PART = 8_000  # examples
AHEAD = 2  # parts for each process that wait to be trained on


class Windows(NamedTuple):
    """Token ids and whether they count, of shape [windows, tokens]."""

    ids: NDArray[np.uint16]
    counts: NDArray[np.bool_]


def parts(
    tokenizer: Tokenizer, length: int, size: int = PART, processes: int = 0, first: int = 0
) -> Iterator[Windows]:
    """Draw windows without end, always the same ones, by as many processes as there are cores.

    Args:
        tokenizer: The vocabulary.
        length: Tokens of a window.
        size: Examples of a part.
        processes: How many draw; 0 for one a core.
        first: The number of the first part, for a training that goes on.
    """
    definition = tokenizer.to_str()
    processes = processes or os.cpu_count() or 1
    with get_context("spawn").Pool(processes) as pool:
        waiting = deque(
            pool.apply_async(draw_part, (FIRST_SEED + number, size, definition, length))
            for number in range(first, first + processes * AHEAD)
        )
        number = first + len(waiting)
        while True:
            yield waiting.popleft().get()
            seed = FIRST_SEED + number
            waiting.append(pool.apply_async(draw_part, (seed, size, definition, length)))
            number += 1


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a token. Raises KeyError where the vocabulary has none of that name."""
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return found


def draw_part(seed: int, count: int, definition: str, length: int) -> Windows:
    """Draw one part; examples that are longer than a window are left out."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_str(definition)
    rows, counted = _encoded(tokenizer, list(examples(seed, count)), length)
    bins = pack([len(row) for row in rows], length)
    ids = np.full((len(bins), length), token_id(tokenizer, PAD), np.uint16)
    counts = np.zeros((len(bins), length), np.bool_)
    for window, members in enumerate(bins):
        at = 0
        for member in members:
            end = at + len(rows[member])
            ids[window, at:end] = rows[member]
            counts[window, at:end] = counted[member]
            at = end
    order = np.random.default_rng(seed).permutation(len(bins))
    return Windows(ids[order], counts[order])


def _encoded(
    tokenizer: Tokenizer, drawn: list[Example], length: int
) -> tuple[list[NDArray[np.uint16]], list[NDArray[np.bool_]]]:
    """Return the ids of every example that fits into a window, and which of them count."""
    parts = [part for example in drawn for part in example.parts]
    encoded = tokenizer.encode_batch([part.text for part in parts], add_special_tokens=False)
    found = iter(zip(encoded, parts, strict=True))
    rows, counted = [], []
    for example in drawn:
        pieces = [next(found) for _ in example.parts]
        ids = np.concatenate([np.array(piece.ids, np.uint16) for piece, _ in pieces])
        if len(ids) <= length:
            rows.append(ids)
            counted.append(
                np.repeat([p.counts for _, p in pieces], [len(e.ids) for e, _ in pieces])
            )
    return rows, counted


def pack(lengths: list[int], room: int) -> list[list[int]]:
    """Return which examples share a window: the longest first, each where it still fits."""
    left = np.zeros(0, np.int64)
    bins: list[list[int]] = []
    for member in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = np.flatnonzero(left >= lengths[member])
        if not len(fits):
            bins.append([])
            left = np.append(left, room)
            fits = np.array([len(bins) - 1])
        bins[fits[0]].append(member)
        left[fits[0]] -= lengths[member]
    return bins
