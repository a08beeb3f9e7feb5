"""Compute logits with transformers, following the choices that llama.cpp made.

    python v4_reference.py FOLDER

Run by v4_logits.py in a venv with torch and transformers; imports nothing of dslocal. FOLDER holds
``float32/`` (the checkpoint), ``ids.npy`` and ``choices.npz``: int32 ``[tokens, k]`` for each
``rows.LAYER`` (the indexer's), ``experts.LAYER`` and ``groups.LAYER`` (of experts). Writes
``reference.npz``:

* ``logits``: float32 ``[tokens, vocabulary]``.
* ``choices``, ``different``: how many choices there were, and in how many llama.cpp's set is not
  the one that torch.topk takes from the same scores.
* ``cost``: the most by which a chosen score lies below the one that torch.topk takes, in standard
  deviations of the scores.

Why choices are followed: of two equal scores either is a right choice, and so is either of two
that differ by less than float32 rounds; but the other choice changes every later value. Equal
scores are common in a small model: a row that no head of the indexer takes a positive interest in
scores exactly 0, because of the ReLU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.return_types import topk as TopK
from transformers import AutoModelForCausalLM

_OWN_TOPK = torch.topk


class Replay:
    """Stands in for ``torch.topk``: takes llama.cpp's choices, and measures what they cost.

    Attributes:
        choices: How many were taken where there was one: more than k candidates.
        different: In how many of them ``torch.topk`` takes another set.
        cost: The greatest difference of a score, in standard deviations of the scores.
    """

    def __init__(self, recorded: dict[str, np.ndarray]) -> None:
        self._recorded = recorded
        self._expected: Iterator[str] = iter(())
        self.choices = self.different = 0
        self.cost = 0.0

    def expect(self, *names: str) -> Callable[..., None]:
        """Return a hook that says which choices a module is about to make, in order.

        An empty name is a choice that was not recorded, and is left to ``torch.topk``.
        """

        def hook(*_: Any) -> None:
            self._expected = iter(names)

        return hook

    def topk(self, scores: torch.Tensor, k: int, dim: int = -1, sorted: bool = True) -> TopK:
        """Return llama.cpp's choice among ``scores``, as ``torch.topk`` returns its own."""
        own = _OWN_TOPK(scores, k, dim)
        name = next(self._expected)
        if not name:
            return own
        possible = scores > torch.finfo(scores.dtype).min  # transformers masks with that, or -inf
        free = possible.sum(-1, keepdim=True) > k
        taken = torch.from_numpy(self._recorded[name]).long().reshape(own.indices.shape)
        taken = torch.where(free, taken, own.indices)
        values = scores.gather(dim, taken)
        loss = (own.values - _OWN_TOPK(values, k, dim).values).abs()[free[..., 0]]
        spread = scores[possible & free].std()
        self.cost = max(self.cost, float(loss.max() / spread)) if loss.numel() else self.cost
        unlike = (own.indices.sort(dim).values != taken.sort(dim).values).any(dim)
        self.choices += int(free.sum())
        self.different += int(unlike.sum())
        return TopK((values, taken))


def follow(model: Any, replay: Replay, recorded: dict[str, np.ndarray]) -> None:
    """Make every indexer and every router of ``model`` choose by ``replay``."""
    layers = {id(layer): n for n, layer in enumerate(model.model.layers)}
    for layer in model.model.layers:
        n = layers[id(layer)]
        for module in layer.modules():
            kind = type(module).__name__
            if kind.endswith("Indexer"):
                module.register_forward_pre_hook(replay.expect(f"rows.{n}"))
            elif kind == "DeepseekV4TopKRouter":
                module.register_forward_pre_hook(replay.expect(f"experts.{n}"))
            elif kind == "DeepseekV32TopkRouter":  # ranks groups by the sum of their best two
                groups = f"groups.{n}" if f"groups.{n}" in recorded else ""
                module.register_forward_pre_hook(replay.expect("", groups, f"experts.{n}"))

    def method(scores: torch.Tensor, k: int, dim: int = -1) -> TopK:
        return replay.topk(scores, k, dim)

    torch.topk, torch.Tensor.topk = replay.topk, method


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(2)
    model = AutoModelForCausalLM.from_pretrained(
        folder / "float32", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    recorded = dict(np.load(folder / "choices.npz"))
    replay = Replay(recorded)
    follow(model, replay, recorded)
    with torch.no_grad():
        logits = model(torch.tensor(np.load(folder / "ids.npy"))[None]).logits[0]
    np.savez(
        folder / "reference.npz",
        logits=logits.numpy(),
        choices=replay.choices,
        different=replay.different,
        cost=replay.cost,
    )


if __name__ == "__main__":
    main()
