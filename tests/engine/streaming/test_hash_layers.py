"""Proves that V4's first layers, which choose experts by token id, are read before they run.

The disk here holds back something that a layer cannot do without, until all that the next of these
layers will need is requested too. If that were requested only when the graph comes to the layer, it
never would be.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.engine.speculation import generate
from support.engine.streaming import PROMPT, ColdCalls

from dslocal.api.conversion import convert
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.graph.graph_tensor import tensor_at
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.dspark_draft import DsparkDrafter
from dslocal.engine.speculation.mtp_draft import MtpDrafter
from dslocal.engine.speculation.speculation import Speculation
from dslocal.engine.streaming import opening
from dslocal.engine.streaming.expert_layout import Extent, read_layout
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


class HashTables:
    """Which experts the hash layers of a file choose, as gguf's own reader finds them."""

    def __init__(self, path: Path) -> None:
        self._layers = read_layout(path).layers
        found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
        self._rows = [
            np.asarray(found[f"blk.{layer}.ffn_gate_tid2eid.weight"])
            for layer in range(HASH_LAYERS)
        ]

    def pieces(self, layer: int, tokens: Sequence[int]) -> set[Extent]:
        """Return all that a layer reads for these tokens."""
        experts = np.unique(self._rows[layer][list(tokens)])
        return {tensor.extent(int(n)) for tensor in self._layers[layer] for n in experts}


class HoldingCalls(ColdCalls):
    """Holds a piece of each hash layer back until all of the next hash layer is requested.

    Attributes:
        held: How many pieces were held back.
        late: The layers that were not requested meanwhile.
    """

    def __init__(self, tables: HashTables) -> None:
        super().__init__()
        self.held = 0
        self.late: list[int] = []
        self._tables = tables
        self._changed = threading.Condition()
        self._seen: set[Extent] = set()
        self._next_layers: dict[Extent, int] = {}
        self._tokens: Sequence[int] = ()

    def expect(self, tokens: Sequence[int]) -> None:
        """Take note of the tokens that are evaluated next."""
        with self._changed:
            self._tokens = tokens
            self._seen.clear()
            self._next_layers = {
                min(self._tables.pieces(layer - 1, tokens)): layer
                for layer in range(1, HASH_LAYERS)
            }

    def is_requested(self, layer: int) -> bool:
        """Return whether all that a layer needs is requested, sooner or later."""
        pieces = self._tables.pieces(layer, self._tokens)
        with self._changed:
            return any(
                self._changed.wait_for(lambda: pieces <= self._seen, WAIT_SECONDS)
                for _ in range(MAX_WAITS)
            )

    def request(self, fd: int, start: int, nbytes: int) -> None:
        super().request(fd, start, nbytes)
        extent = Extent(self._fds.index(fd), start, nbytes)
        with self._changed:
            self._seen.add(extent)
            self._changed.notify_all()
            layer = self._next_layers.pop(extent, None)
        if layer is not None and not self.late:
            self.held += 1
            if not self.is_requested(layer):
                self.late.append(layer)


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
def holding(
    path: Path, monkeypatch: pytest.MonkeyPatch, config: LoadConfig = PLAIN
) -> Iterator[tuple[LlamaContext, HoldingCalls]]:
    """Yield a context that streams without guesses, and the disk that it reads from."""
    calls = HoldingCalls(HashTables(path))
    monkeypatch.setattr(opening, "calls_for", lambda: calls)
    config = replace(config, stream_experts=True)
    with LlamaModel(path, config) as model, LlamaContext(model, config) as context:
        assert context.streamer is not None
        context.streamer.allow_guesses(False)
        evaluate = context.evaluate

        def evaluate_expected(ids: Sequence[int], *, logits_from: int | None = None) -> None:
            calls.expect(ids)
            evaluate(ids, logits_from=logits_from)

        monkeypatch.setattr(context, "evaluate", evaluate_expected)
        yield context, calls


@pytest.mark.parametrize("tokens", [1, 3, len(PROMPT)])
def test_the_next_hash_layer_is_read_while_one_runs(
    v4: Path, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves it for a token, for one with drafts, and for a prompt that needs most experts; from
    the first evaluation on, when llama.cpp has not multiplied with any expert.
    """
    with holding(v4, monkeypatch) as (context, calls):
        for start in range(3):
            context.evaluate(PROMPT[start : start + tokens])
    assert calls.held == 3 * (HASH_LAYERS - 1)
    assert not calls.late


@pytest.mark.parametrize("tokens", [1, 3, len(PROMPT)])
def test_the_first_hash_layer_is_read_before_the_graph_comes_to_it(
    v4: Path, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that its experts are requested before its choice is computed."""
    found = []
    with holding(v4, monkeypatch) as (context, calls):
        streamer = context.streamer
        assert streamer is not None
        take = streamer.take

        def take_later(address: int) -> None:
            if tensor_at(address).name == b"ffn_moe_topk-0":
                found.append(calls.is_requested(0))
            take(address)

        monkeypatch.setattr(streamer, "take", take_later)
        for start in range(3):
            context.evaluate(PROMPT[start : start + tokens])
    assert found == [True] * 3


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
        holding(path, monkeypatch, DRAFTING) as (context, calls),
    ):
        speculation = Speculation(
            context, drafter(context, layers), DraftLength([2], optional=False)
        )
        found = generate(context, PROMPT, max_tokens=30)
        assert speculation.error is None
    assert found.ids == expected
    assert found.drafted > 20
    assert calls.held > 20 * (HASH_LAYERS - 1)
    assert not calls.late
