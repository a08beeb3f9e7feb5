"""The mixture of experts that streaming is measured with, and how often its experts are chosen.

A random V3-shaped model of 7.1 GB in Q8_0. The biases of its routers are set so that all experts
are chosen equally often, or the n-th most frequent 1/n as often (Zipf).
"""

from __future__ import annotations

import ctypes
import sysconfig
from pathlib import Path
from typing import Any

BINARY = str(Path(sysconfig.get_path("scripts")) / "dslocal")
GIGABYTES = 6.6  # of the checkpoint: 7.1 GB in Q8_0
N_VOCAB = 320
FIRST_TOKEN = 3  # those before are special
CONTEXT = 2048
SHAPING_TOKENS = 256
SHAPING_STEPS = 600


def model(folder: Path) -> Path:
    """Return the model, made where it is missing."""
    from v3_shape import converted_v3_shape  # imports numpy, which llama_cpp must precede

    return converted_v3_shape(folder / "moe.gguf", GIGABYTES)


def random_tokens(count: int) -> list[int]:
    import numpy as np

    found: list[int] = np.random.default_rng(5).integers(FIRST_TOKEN, N_VOCAB, count).tolist()
    return found


def shape_routers(path: Path, router: str) -> None:
    """Set the biases of all routers, in the file, so that experts are chosen as often as wanted.

    What the routers see is taken from the model once; the biases are found on that, step by step,
    as the vendor's own balancing does (DeepSeek-V3, section 2.1.2).
    """
    import numpy as np

    from dslocal.engine import LlamaContext, LlamaModel
    from dslocal.engine.graph import EvalCallback, GraphObserver, NodeValues
    from dslocal.engine.graph.graph_tensor import NAME_OFFSET, tensor_at
    from dslocal.engine.streaming.expert_layout import read_layout
    from dslocal.plan.load_config import LoadConfig

    class Inputs(GraphObserver):
        def __init__(self) -> None:
            self.values = NodeValues()
            self.seen: dict[int, Any] = {}

        def wants(self, address: int) -> bool:
            return ctypes.string_at(address + NAME_OFFSET, 15) == b"ffn_moe_logits-"

        def take(self, address: int) -> None:
            node = tensor_at(address)
            layer = int(node.name.rsplit(b"-", 1)[1])
            self.seen[layer] = self.values.copy(node.src[1])[0, 0]

    inputs = Inputs()
    tokens = random_tokens(SHAPING_TOKENS)
    config = LoadConfig(CONTEXT, n_outputs=SHAPING_TOKENS)
    with (
        LlamaModel(path) as loaded,
        LlamaContext(loaded, config, eval_callback=EvalCallback(inputs)) as context,
    ):
        context.evaluate(tokens, logits_from=0)
    layout = read_layout(path)
    shares = []
    with path.open("r+b") as file:
        for layer, seen in inputs.seen.items():
            stored = layout.tensors[f"blk.{layer}.ffn_gate_inp.weight"]
            file.seek(stored.extent.start)
            weights = np.frombuffer(file.read(stored.extent.nbytes), np.float32).reshape(64, -1)
            scores = 1 / (1 + np.exp(-(seen @ weights.T)))
            bias, frequencies = _balanced(scores, router, layer)
            shares.append(float(np.sort(frequencies)[::-1][:32].sum() / frequencies.sum()))
            file.seek(layout.tensors[f"blk.{layer}.exp_probs_b.bias"].extent.start)
            file.write(bias.astype("<f4").tobytes())
    print(f"{router}: half of the experts are chosen {sum(shares) / len(shares):.0%} of the time")


def _balanced(scores: Any, router: str, layer: int) -> tuple[Any, Any]:
    """Return biases with which experts are chosen as often as wanted, and how often they are."""
    import numpy as np

    wanted = np.ones(64) if router == "uniform" else 1 / np.arange(1, 65)
    wanted = np.random.default_rng(layer).permutation(wanted)
    wanted = 8 * wanted / wanted.sum()
    for _ in range(20):  # no expert is chosen more than once for a token
        wanted = np.minimum(1, wanted * 8 / np.minimum(1, wanted).sum())
    bias, step = np.zeros(64), float(scores.std())
    frequencies = np.zeros(64)
    for n in range(SHAPING_STEPS):
        chosen = scores + bias
        groups = np.sort(chosen.reshape(-1, 8, 8), axis=2)[:, :, -2:].sum(axis=2)
        left_out = np.argsort(-groups, axis=1)[:, 4:]
        mask = np.zeros((len(scores), 8))
        np.put_along_axis(mask, left_out, -np.inf, axis=1)
        best = np.argsort(-(chosen + np.repeat(mask, 8, axis=1)), axis=1)[:, :8]
        frequencies = np.bincount(best.ravel(), minlength=64) / len(scores)
        bias += step * np.clip(wanted - frequencies, -0.3, 0.3) * (1 - n / SHAPING_STEPS)
    return bias, frequencies
