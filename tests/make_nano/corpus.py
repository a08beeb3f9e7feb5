"""The examples as one long row of token ids, and which of them count for the loss: those after the
last question.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing import Pool

import numpy as np
from make_nano.generate import examples
from make_nano.markup import ASSISTANT, FIM_END
from numpy.typing import NDArray
from tokenizers import Tokenizer

FIRST_SEED = 100  # a seed for each part
PART = 20_000  # examples


@dataclass(frozen=True)
class Corpus:
    ids: NDArray[np.uint16]
    counts: NDArray[np.uint8]

    @classmethod
    def of(cls, tokenizer: Tokenizer, count: int) -> Corpus:
        """``count`` examples, rounded down to whole parts, by as many processes as there are
        cores.
        """
        size, definition = min(count, PART), tokenizer.to_str()
        with Pool(os.cpu_count()) as pool:
            parts = pool.starmap(
                _part,
                [(FIRST_SEED + i, size, definition) for i in range(max(1, count // size))],
                chunksize=1,
            )
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )


def _part(seed: int, count: int, definition: str) -> Corpus:
    tokenizer = Tokenizer.from_str(definition)
    answers = {tokenizer.token_to_id(ASSISTANT), tokenizer.token_to_id(FIM_END)}
    ids: list[int] = []
    counts: list[int] = []
    for encoded in tokenizer.encode_batch(list(examples(seed, count)), add_special_tokens=False):
        before = max(i for i, token in enumerate(encoded.ids) if token in answers) + 1
        ids += encoded.ids
        counts += [0] * before + [1] * (len(encoded.ids) - before)
    return Corpus(np.array(ids, np.uint16), np.array(counts, np.uint8))
