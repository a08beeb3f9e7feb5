"""Proves that the filter in C hides only nodes that were not selected, with and without it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from support.engine.expert_models import write_moe
from support.engine.streaming import PROMPT

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.graph import EvalCallback, GraphObserver, NodeSelection, eval_callback
from dslocal.engine.graph.graph_tensor import operation, tensor_at
from dslocal.engine.graph.node_filter import INTERFACE, LIBRARY, load_library

NAMES = (b"ffn_moe_topk-", b"attn_norm-2")


class Recorder(GraphObserver):
    """Wants what it selected, and records what it is asked about and given."""

    def __init__(self) -> None:
        self.selection = NodeSelection(operation("MUL_MAT_ID"), NAMES)
        self.asked: list[bytes] = []
        self.taken: list[bytes] = []

    def wants(self, address: int) -> bool:
        node = tensor_at(address)
        self.asked.append(node.name)
        return self.is_selected(node.op, node.name)

    def take(self, address: int) -> None:
        self.taken.append(tensor_at(address).name)

    def is_selected(self, op: int, name: bytes) -> bool:
        assert self.selection is not None
        return op == self.selection.operation or name.startswith(NAMES)


def test_an_observer_is_asked_about_what_it_selected_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that it is given the same nodes in the same order where no filter was compiled."""
    if load_library() is None:
        pytest.skip("no C compiler was there when dslocal was installed")
    path = write_moe(tmp_path, "deepseek-v3")
    filtered, unfiltered = Recorder(), Recorder()
    with LlamaModel(path) as model:
        with LlamaContext(model, 256, n_threads=1, eval_callback=EvalCallback(filtered)) as context:
            context.prefill(PROMPT)
        monkeypatch.setattr(eval_callback, "load_library", lambda: None)
        callback = EvalCallback(unfiltered)
        with LlamaContext(model, 256, n_threads=1, eval_callback=callback) as context:
            context.prefill(PROMPT)
    assert filtered.taken == unfiltered.taken
    assert filtered.asked == filtered.taken
    assert len(unfiltered.asked) > 5 * len(unfiltered.taken)
    assert {name[:13] for name in filtered.taken} > {NAMES[0]}
    assert NAMES[1] in filtered.taken


def test_a_filter_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Older:
        def node_filter_interface(self) -> int:
            return INTERFACE - 1

    asked: list[str] = []

    def library(path: str) -> Older:
        asked.append(path)
        return Older()

    monkeypatch.setattr(ctypes, "CDLL", library)
    load_library.cache_clear()
    try:
        assert load_library() is None
    finally:
        load_library.cache_clear()
    assert asked == [str(LIBRARY)]
