"""Proves that guesses are made as llama.cpp chooses, and kept where they pay."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.engine.expert_models import write_moe
from support.engine.streaming import PROMPT

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.graph import EvalCallback, GraphObserver, NodeValues
from dslocal.engine.graph.graph_tensor import NAME_OFFSET, tensor_at
from dslocal.engine.streaming.disk.reader import DiskReader
from dslocal.engine.streaming.expert_layout import read_layout
from dslocal.engine.streaming.lookahead import TRIAL_TOKENS, LookAhead, Trial
from dslocal.engine.streaming.resident import MappedFiles
from dslocal.engine.streaming.system_calls import LinuxCalls
from dslocal.gguf.parts import read_parts


class Choices(GraphObserver):
    """Keeps what each layer's router saw, and what it chose, of the last graph."""

    def __init__(self) -> None:
        self._values = NodeValues()
        self.inputs: dict[int, NDArray[np.float32]] = {}
        self.chosen: dict[int, set[int]] = {}

    def wants(self, address: int) -> bool:
        name = ctypes.string_at(address + NAME_OFFSET, 15)
        return name.startswith((b"ffn_moe_logits-", b"ffn_moe_topk-"))

    def take(self, address: int) -> None:
        node = tensor_at(address)
        layer = int(node.name.rsplit(b"-", 1)[1])
        if node.name.startswith(b"ffn_moe_logits-"):
            self.inputs[layer] = self._values.copy(node.src[1])[0, 0]
        else:
            self.chosen[layer] = set(self._values.copy(address)[0, 0].ravel().tolist())


def open_look_ahead(path: Path) -> LookAhead:
    reader = DiskReader(read_layout(path), LinuxCalls())
    mapped = MappedFiles(reader)
    reader.close()
    return LookAhead(reader.layout, read_parts(path)[1], mapped.maps)


@pytest.mark.parametrize(
    "shape", ["deepseek-moe", "deepseek-v2-lite", "deepseek-v3", "deepseek-v4"]
)
def test_a_router_chooses_as_llama_cpp_does(shape: str, tmp_path: Path) -> None:
    """Proves each layer's choice the one that llama.cpp makes of the same hidden state: scores,
    bias and groups; and V4's first layers' by the token's id.
    """
    path = write_moe(tmp_path, shape)
    look_ahead = open_look_ahead(path)
    choices = Choices()
    by_router = by_token = 0
    with (
        LlamaModel(path) as model,
        LlamaContext(model, 256, n_threads=1, eval_callback=EvalCallback(choices)) as context,
    ):
        for token in PROMPT[:8]:
            context.evaluate([token])
            for layer, chosen in choices.chosen.items():
                certain = look_ahead.by_token(layer, np.array([token], np.int32))
                if certain:
                    assert set(certain) == chosen
                    by_token += 1
                    continue
                guessed = look_ahead.choose(layer, choices.inputs[layer])
                assert guessed is not None
                assert set(guessed) == chosen
                by_router += 1
    assert by_router
    assert bool(by_token) == (shape == "deepseek-v4")


def test_what_layers_add_on_average_is_part_of_the_guess(tmp_path: Path) -> None:
    """Proves that a change between two routers that is always the same is expected again, and
    that a hidden state of an earlier graph is not taken for that of the layer before.
    """
    path = write_moe(tmp_path, "deepseek-v3")
    look_ahead = open_look_ahead(path)
    width = read_layout(path).tensors["blk.1.ffn_gate_inp.weight"].tensor.shape[0]
    random = np.random.default_rng(3)
    before, after, other = (random.normal(size=(1, width)).astype(np.float32) for _ in range(3))
    first, second = 1, 2
    for router_input in (other, after):
        assert set(look_ahead.choose(second, router_input) or ()) != set(
            look_ahead.guess(second, before) or ()
        )
    look_ahead.learn(second, other)  # nothing is known of the layer before
    look_ahead.learn(first, before)
    look_ahead.learn(second, after)
    assert look_ahead.guess(second, before) == look_ahead.choose(second, after)


@pytest.mark.parametrize(("with_guesses", "pays"), [(0.8, True), (1.0, False), (1.2, False)])
def test_guesses_stay_where_tokens_are_quicker(with_guesses: float, pays: bool) -> None:
    """Proves it while the first tokens, which fill the memory, take far longer than the others."""
    trial = Trial()
    for n in range(TRIAL_TOKENS):
        assert trial.verdict is None
        trial.record((with_guesses if trial.is_on else 1.0) * (1 + 20 / (n + 1) ** 2))
    assert trial.verdict is pays
    assert trial.is_on is pays
