"""Proves that streaming changes nothing but the time, and that every failure is reported."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.engine.expert_models import SHAPES, write_moe
from support.engine.speculation import generate, prompt_ids
from support.engine.streaming import PROMPT, ColdCalls, greedy_logits, loaded, streaming

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.graph import EvalCallback, GraphObserver
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.mtp_draft import MtpDrafter
from dslocal.engine.speculation.speculation import Speculation
from dslocal.engine.streaming import opening
from dslocal.engine.streaming.expert_layout import ExpertTensor, Extent, read_layout
from dslocal.errors import EngineError
from dslocal.plan.load_config import LoadConfig

V4 = "deepseek-v4"


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_moe(tmp_path_factory.mktemp("v3"), "deepseek-v3")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("shape", "split"),
    [*((shape, "one file") for shape in SHAPES), ("deepseek-v3", "split"), (V4, "experts apart")],
)
def test_logits_are_the_same_bit_by_bit(
    shape: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_moe(tmp_path, shape, split)
    with loaded(path, stream=False) as context:
        assert context.eval_callback is None
        expected = greedy_logits(context, 12)
    calls = ColdCalls()
    with streaming(path, monkeypatch, calls) as context:
        assert np.array_equal(greedy_logits(context, 12), expected)
        assert context.streamer is not None
        assert context.streamer.use.missing_bytes > 0
    assert calls.requested


def test_experts_are_requested_matrix_by_matrix(v3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that of one token each layer's matrices are requested in the graph's order, for the
    same experts, and those alone.
    """
    calls = ColdCalls()
    layout = read_layout(v3)
    starts = {
        tensor.extent(n): (tensor, n)
        for tensors in layout.layers.values()
        for tensor in tensors
        for n in range(tensor.n_experts)
    }
    with streaming(v3, monkeypatch, calls) as context:
        assert context.streamer is not None
        context.streamer.allow_guesses(False)
        context.evaluate([5])  # shows in which order the graph needs matrices
        calls.requested.clear()
        context.evaluate([7])
        found = [starts[extent] for extent in calls.requested]
    n_used = 3
    for layer in (1, 2):
        own = [(tensor, n) for tensor, n in found if tensor.layer == layer]
        by_matrix: dict[ExpertTensor, set[int]] = {}
        for tensor, n in own:
            by_matrix.setdefault(tensor, set()).add(n)
        assert len(by_matrix) == 3
        assert len({frozenset(experts) for experts in by_matrix.values()}) == 1
        assert len(own) == 3 * n_used
        assert list(by_matrix)[-1].name == f"blk.{layer}.ffn_down_exps.weight"
    assert [tensor.layer for tensor, _ in found] == sorted(tensor.layer for tensor, _ in found)


def test_what_is_in_memory_is_not_requested(v3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WarmCalls(ColdCalls):
        def missing(self, address: int, nbytes: int) -> int:
            return 0

    calls = WarmCalls()
    with streaming(v3, monkeypatch, calls) as context:
        assert context.streamer is not None
        context.streamer.allow_guesses(False)
        context.evaluate([5])  # shows where tensors are mapped
        calls.requested.clear()
        greedy_logits(context, 4, [5, *PROMPT])
        assert not calls.requested
        assert context.streamer.use.hit_rate == 1.0


def test_a_failing_disk_ends_in_an_error_that_names_the_file(
    v3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves one error, and a context that works again once the disk is back."""
    with loaded(v3, stream=False) as context:
        expected = greedy_logits(context, 3)
    calls = ColdCalls()
    with streaming(v3, monkeypatch, calls) as context:
        context.prefill(PROMPT)
        calls.fails = True
        with pytest.raises(EngineError, match=rf"{v3.name}: cannot be read: Input/output error"):
            context.evaluate([7])
        assert not context.abort.is_set()
        calls.fails = False
        context.clear()
        assert np.array_equal(greedy_logits(context, 3), expected)


def test_a_file_that_is_cut_off_meanwhile_kills_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_moe(tmp_path, "deepseek-v3", "experts apart")
    last = read_layout(path).files[-1]
    with streaming(path, monkeypatch) as context:
        context.prefill(PROMPT)
        with last.open("r+b") as file:
            file.truncate(4096)
        with pytest.raises(EngineError, match=rf"{last.name}: cannot be read: it became shorter"):
            context.evaluate([7])


def test_a_file_that_is_missing_is_named(v3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(ColdCalls):
        def open(self, path: Path) -> int:
            raise FileNotFoundError(2, "No such file or directory")

    before = threading.active_count()
    with (
        pytest.raises(EngineError, match=rf"{v3.name}: cannot be read: No such file"),
        streaming(v3, monkeypatch, Gone()),
    ):
        pass
    assert threading.active_count() == before


def test_fifty_interruptions_leave_nothing_behind(
    v3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the context answers as before after each, and that all threads end with it."""
    before = threading.active_count()
    with loaded(v3, stream=False) as context:
        expected = greedy_logits(context, 2)
    chance = random.Random(0)
    with streaming(v3, monkeypatch) as context:
        context.prefill(PROMPT)
        at_work = threading.active_count()
        for _ in range(50):
            stop = threading.Timer(chance.uniform(0, 0.004), context.abort.set)
            stop.start()
            try:
                while True:
                    context.evaluate([chance.randrange(5, 300)])
                    if len(context.ids) > 300:
                        context.clear()
            except KeyboardInterrupt:
                pass
            stop.join()
            context.abort.clear()
        assert threading.active_count() == at_work
        context.clear()
        assert np.array_equal(greedy_logits(context, 2), expected)
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [ValueError("a fault of ours"), KeyboardInterrupt()])
def test_what_an_observer_raises_does_not_cross_c(v3: Path, error: BaseException) -> None:
    """Proves that it is raised where the evaluation was started, and that the next one works."""

    class Observer(GraphObserver):
        fails = True

        def wants(self, address: int) -> bool:
            return True

        def take(self, address: int) -> None:
            if self.fails:
                raise error

    observer = Observer()
    with LlamaModel(v3) as model:
        with LlamaContext(model, 256, n_threads=1, eval_callback=EvalCallback(observer)) as context:
            kind = EngineError if isinstance(error, Exception) else KeyboardInterrupt
            with pytest.raises(kind):
                context.prefill(PROMPT)
            assert not context.abort.is_set()
            observer.fails = False
            watched = greedy_logits(context, 2)
        with LlamaContext(model, 256, n_threads=1) as context:
            assert np.array_equal(greedy_logits(context, 2), watched)


def test_pieces_are_those_of_the_chosen_experts(v3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that with guesses nothing is requested but whole experts of this model."""
    calls = ColdCalls()
    layout = read_layout(v3)
    known: set[Extent] = {
        tensor.extent(n)
        for tensors in layout.layers.values()
        for tensor in tensors
        for n in range(tensor.n_experts)
    }
    with streaming(v3, monkeypatch, calls) as context:
        assert context.streamer is not None
        context.streamer.allow_guesses(True)
        calls.requested.clear()
        greedy_logits(context, 20)
        use = context.streamer.use
    assert set(calls.requested) <= known
    assert use.guessed >= use.guessed_right > 0


def test_drafts_of_an_mtp_layer_are_streamed_too(
    nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves the same answer, drafts that are right, and the layer's own experts requested."""
    config = LoadConfig(1024, n_outputs=4, mtp=True)
    calls = ColdCalls()
    monkeypatch.setattr(opening, "calls_for", lambda: calls)
    answers = []
    for stream in (False, True):
        loading = replace(config, stream_experts=stream)
        with LlamaModel(nano, loading) as model, LlamaContext(model, loading) as context:
            Speculation(context, MtpDrafter(context), DraftLength([2], optional=False))
            prompt = prompt_ids(model)
            found = generate(context, prompt, max_tokens=40)
            answers.append(found.ids)
            if context.streamer:  # drafts of the layer are not the model's tokens
                evaluated = len(prompt) + len(found.ids) + found.drafted
                assert context.streamer.use.tokens <= evaluated
            assert found.accepted > 0
    assert answers[0] == answers[1]
    layout = read_layout(nano)
    mtp_layer = max(layout.layers)
    own = {tensor.extent(n) for tensor in layout.layers[mtp_layer] for n in range(tensor.n_experts)}
    assert own.intersection(calls.requested)
