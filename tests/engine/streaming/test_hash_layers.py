"""Proves that V4's first layers, which choose experts by token id, are read before they run.

Whenever the graph comes to the choice of such a layer, it is held back until all that was chosen is
requested. Only what was requested ahead can be: nothing else is requested meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.speculation import generate
from support.engine.streaming import PROMPT, ColdCalls

from dslocal.api.conversion import convert
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.graph import NodeValues
from dslocal.engine.graph.graph_tensor import tensor_at
from dslocal.engine.slots.slot_pool import SlotPool
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.dspark_draft import DsparkDrafter
from dslocal.engine.speculation.mtp_draft import MtpDrafter
from dslocal.engine.speculation.speculation import Speculation
from dslocal.engine.streaming import opening
from dslocal.engine.streaming.expert_layout import Extent, read_layout
from dslocal.engine.streaming.streamer import ExpertStreamer
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig

HASH_LAYERS = 3
# So many experts that a few tokens need less than half of them.
SHAPE: Mapping[str, Any] = {"num_hash_layers": HASH_LAYERS, "n_routed_experts": 24}
# Exact sums: a batch's logits are those of single tokens, with drafts and without.
PLAIN = LoadConfig(1024, kv_type=GgmlType.F32, flash_attn=False)
DRAFTING = replace(PLAIN, n_outputs=4, mtp=True)
MAX_WAITS = 300  # of 0.1 seconds, for what is requested never; only a failing test takes them
WAIT_SECONDS = 0.1
CHOICES = tuple(f"ffn_moe_topk-{layer}".encode() for layer in range(HASH_LAYERS))


class GraphGate:
    """Holds the graph back at the choices of hash layers, until what they chose is requested.

    Attributes:
        in_time: The layers at whose choice all was requested, in order.
        late: The layers at whose choice something was not.
    """

    def __init__(self, path: Path) -> None:
        self.in_time: list[int] = []
        self.late: list[int] = []
        self._layers = read_layout(path).layers
        self._changed = threading.Condition()
        self._requested: set[Extent] = set()
        self._values = NodeValues()

    @property
    def graphs(self) -> int:
        """How many graphs were evaluated in which all was in time."""
        assert not self.late
        assert self.in_time == [*range(HASH_LAYERS)] * (len(self.in_time) // HASH_LAYERS)
        return len(self.in_time) // HASH_LAYERS

    def note(self, extent: Extent) -> None:
        """Take note of a request."""
        with self._changed:
            self._requested.add(extent)
            self._changed.notify_all()

    def guard(self, streamer: ExpertStreamer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand before a streamer."""
        wants, take = streamer.wants, streamer.take

        def wants_in_new_graph(address: int) -> bool:
            if tensor_at(address).name == CHOICES[0]:
                with self._changed:
                    self._requested.clear()
            return wants(address)

        def take_when_requested(address: int) -> None:
            name = tensor_at(address).name
            if name in CHOICES and not self.late:
                layer = CHOICES.index(name)
                is_requested = self._is_requested(layer, address)
                (self.in_time if is_requested else self.late).append(layer)
            take(address)

        monkeypatch.setattr(streamer, "wants", wants_in_new_graph)
        monkeypatch.setattr(streamer, "take", take_when_requested)

    def _is_requested(self, layer: int, address: int) -> bool:
        """Return whether all is requested that a layer has chosen, sooner or later."""
        experts = np.unique(self._values.copy(address))
        pieces = {tensor.extent(int(n)) for tensor in self._layers[layer] for n in experts}
        with self._changed:
            return any(
                self._changed.wait_for(lambda: pieces <= self._requested, WAIT_SECONDS)
                for _ in range(MAX_WAITS)
            )


class NotingCalls(ColdCalls):
    """Tells a gate what is requested."""

    def __init__(self, gate: GraphGate) -> None:
        super().__init__()
        self._gate = gate

    def request(self, fd: int, start: int, nbytes: int) -> None:
        super().request(fd, start, nbytes)
        self._gate.note(Extent(self._fds.index(fd), start, nbytes))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))


def written(folder: Path, kind: str) -> Path:
    """Write a V4, and what drafts for it in a file beside it."""
    write_checkpoint(folder / "checkpoint", kind, **SHAPE)
    convert(folder / "checkpoint", folder / "model.gguf", quant="F32", mtp="beside")
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def v4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("v4"), "deepseek-v4")


@pytest.fixture(scope="module")
def v4_dspark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("v4-dspark"), "deepseek-v4-dspark")


@contextmanager
def gated(
    path: Path, monkeypatch: pytest.MonkeyPatch, config: LoadConfig = PLAIN
) -> Iterator[tuple[LlamaContext, GraphGate]]:
    """Yield a context that streams without guesses, and the gate in its graph."""
    gate = GraphGate(path)
    monkeypatch.setattr(opening, "calls_for", lambda: NotingCalls(gate))
    config = replace(config, stream_experts=True)
    with LlamaModel(path, config) as model, LlamaContext(model, config) as context:
        assert context.streamer is not None
        context.streamer.allow_guesses(False)
        gate.guard(context.streamer, monkeypatch)
        yield context, gate


@pytest.mark.parametrize("tokens", [1, 3, len(PROMPT)])
def test_what_a_token_id_chooses_is_requested_before(
    v4: Path, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves it for a token, for several, and for a prompt that needs most experts; from the first
    evaluation on, when llama.cpp has not multiplied with any expert.
    """
    with gated(v4, monkeypatch) as (context, gate):
        for start in range(3):
            context.evaluate(PROMPT[start : start + tokens])
    assert gate.graphs == 3


def test_each_piece_of_a_long_prompt_is_read_ahead(
    v4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves it for pieces of a prompt, and for the micro-batches of each."""
    n_ubatch = 300  # of pieces of 512 tokens
    prompt = [5 + n * n % 300 for n in range(700)]
    with gated(v4, monkeypatch, replace(PLAIN, n_ubatch=n_ubatch)) as (context, gate):
        context.prefill(prompt)
    assert gate.graphs >= 3


def test_conversations_side_by_side_are_read_ahead(
    v4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves it for batches that have tokens of several conversations."""
    config = replace(PLAIN, n_seq=3, n_outputs=3)
    with gated(v4, monkeypatch, config) as (context, gate), SlotPool(context) as pool:
        threads = [
            threading.Thread(
                target=generate, args=(slot, PROMPT[number:]), kwargs={"max_tokens": 20}
            )
            for number, slot in enumerate(pool.slots)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pool.steps < 3 * 20
    assert gate.graphs >= pool.steps


@pytest.mark.parametrize("drafter", [MtpDrafter, DsparkDrafter])
def test_drafted_tokens_are_read_ahead_too(
    drafter: type[MtpDrafter] | type[DsparkDrafter],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proves it for each evaluation, and that the answer is the same as without streaming."""
    path: Path = request.getfixturevalue("v4" if drafter is MtpDrafter else "v4_dspark")
    with LlamaModel(path, PLAIN) as model, LlamaContext(model, PLAIN) as context:
        expected = generate(context, PROMPT, max_tokens=30).ids
    with (
        LlamaModel(path.with_name("model-mtp.gguf"), DRAFTING) as layers,
        gated(path, monkeypatch, DRAFTING) as (context, gate),
    ):
        speculation = Speculation(
            context, drafter(context, layers), DraftLength([2], optional=False)
        )
        found = generate(context, PROMPT, max_tokens=30)
        assert speculation.error is None
    assert found.ids == expected
    assert found.drafted > 20
    assert gate.graphs > found.drafted // 2
