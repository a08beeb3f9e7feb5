"""Microseconds a token for sampling over 129,280 logits, beside llama.cpp's own chain on the same
logits in the same run.

    python tests/benchmarks/sampler.py [ROUNDS]

Logits: nano's own for a question, one vector a position, tiled up to the size with everything but
the first tile lowered by 12 ("nano"); a Zipf law with exponent 1.8 and noise ("zipf"); normal with
deviation 1, as a model of random weights gives ("flat"). Every row is measured once a round, all
rows in turn, and the median is printed. llama.cpp's time is for llama_sampler_apply alone: that its
array of candidates is filled again for every token (``filling``, by numpy) is not in it. Its chain
is top-p, temperature, dist; and one with penalties, top-k 40 and min-p as well.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_THREAD_LIMIT"] = "1"  # before anything loads llama.cpp

from dslocal.catalog import conversion_cache
from dslocal.gguf import libraries

low = libraries.require()

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from dslocal.engine import LlamaContext, LlamaModel, Sampler  # noqa: E402

Floats = NDArray[np.float32]
N = 129_280
POSITIONS = 40
LOWERED = np.float32(12)
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
SEEN = range(2000)  # tokens of a prompt, for the repeat penalty

OURS: dict[str, dict[str, Any]] = {
    "temperature 0.6, top-p 0.95": {},
    "  and penalties": {
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "repeat_penalty": 1.1,
        "prompt": SEEN,
    },
    "  and a bias": {"logit_bias": {5: 1.0}},
    "  and min-p 0.05": {"min_p": 0.05},
    "  and top-k 40": {"top_k": 40},
    "  and 20 logprobs": {"logprobs": 20},
    "temperature 1, top-p 1": {"temperature": 1.0, "top_p": 1.0},
    "temperature 0": {"temperature": 0.0},
}


class Peer:
    """A chain of llama.cpp's own samplers."""

    def __init__(self, *links: Any) -> None:
        self._chain = low.llama_sampler_chain_init(low.llama_sampler_chain_default_params())
        for link in (*links, low.llama_sampler_init_dist(1)):
            low.llama_sampler_chain_add(self._chain, link)
        self._candidates = np.zeros(N, CANDIDATE)
        self._ids = np.arange(N, dtype=np.int32)

    def fill(self, logits: Floats) -> None:
        self._candidates["id"], self._candidates["logit"] = self._ids, logits
        data = self._candidates.ctypes.data_as(ctypes.POINTER(low.llama_token_data))
        self._array = low.llama_token_data_array(data, N, -1, False)

    def apply(self) -> int:
        low.llama_sampler_apply(self._chain, ctypes.byref(self._array))
        return int(self._array.data[self._array.selected].id)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    dice = np.random.default_rng(1)
    zipf = (20 - 1.8 * np.log(np.arange(1, N + 1)) + dice.normal(0, 1, N)).astype(np.float32)
    kinds = {
        "nano": of_nano(),
        "zipf": [dice.permutation(zipf) for _ in range(8)],
        "flat": [dice.normal(0, 1, N).astype(np.float32) for _ in range(8)],
    }
    samplers = {
        name: Sampler(**{"temperature": 0.6, "top_p": 0.95, "seed": 1, **more})
        for name, more in OURS.items()
    }
    top_p, temperature = low.llama_sampler_init_top_p(0.95, 1), low.llama_sampler_init_temp(0.6)
    penalties = low.llama_sampler_init_penalties(N, 64, 1.1, 0.1, 0.1)
    peers = {
        "llama.cpp: top-p, temperature": Peer(top_p, temperature),
        "llama.cpp: penalties, top-k, top-p, min-p": Peer(
            penalties,
            low.llama_sampler_init_top_k(40),
            low.llama_sampler_init_top_p(0.95, 1),
            low.llama_sampler_init_min_p(0.05, 1),
            low.llama_sampler_init_temp(0.6),
        ),
    }
    found = {kind: measured(logits, samplers, peers, rounds) for kind, logits in kinds.items()}
    print(f"{'us a token, median of ' + str(rounds):<44}" + "".join(f"{kind:>9}" for kind in kinds))
    for row in next(iter(found.values())):
        print(f"{row:<44}" + "".join(f"{found[kind][row]:9.0f}" for kind in kinds))
    first, peer = next(iter(samplers)), next(iter(peers))
    print(
        f"{'llama.cpp / ours':<44}"
        + "".join(f"{found[kind][peer] / found[kind][first]:9.1f}" for kind in kinds)
    )


def measured(
    logits: list[Floats], samplers: dict[str, Sampler], peers: dict[str, Peer], rounds: int
) -> dict[str, float]:
    """Microseconds by row."""
    times: dict[str, list[float]] = {name: [] for name in [*samplers, *peers, "filling"]}

    def timed(name: str, call: Callable[..., object], *args: object) -> None:
        began = time.perf_counter()
        call(*args)
        times[name].append((time.perf_counter() - began) * 1e6)

    for turn in range(rounds):
        vector = logits[turn % len(logits)]
        for name, sampler in samplers.items():
            timed(name, sampler.sample, vector)
        for name, peer in peers.items():
            timed("filling", peer.fill, vector)
            timed(name, peer.apply)
    return {name: statistics.median(several) for name, several in times.items()}


def of_nano() -> list[Floats]:
    """nano's logits while it thinks about a question."""
    with (
        LlamaModel(conversion_cache.ensure_gguf("nano")) as model,
        LlamaContext(model, 512) as context,
    ):
        context.prefill(model.encode("What is 47 × 86? Tell me about the capital of Peru."))
        own: list[Floats] = []
        sampler = Sampler(0.6, 0.95, 1)
        for _ in range(POSITIONS):
            small = context.logits().copy()
            tiles = np.tile(small, -(-N // len(small)))[:N] - LOWERED
            tiles[: len(small)] = small
            own.append(tiles.astype(np.float32))
            context.evaluate((sampler.sample(small),))
        return own


if __name__ == "__main__":
    main()
