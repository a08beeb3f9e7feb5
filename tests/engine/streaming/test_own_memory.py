"""Proves that memory shown in place of the file holds the file's bytes at every moment."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.engine.expert_models import SHAPES, write_moe
from support.engine.streaming import PROMPT, ColdCalls, greedy_logits, loaded, streaming

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.streaming import opening, own_memory
from dslocal.engine.streaming.disk.reader import DiskReader
from dslocal.engine.streaming.expert_layout import ExpertLayout, ExpertTensor, read_layout
from dslocal.engine.streaming.overlay import Overlay
from dslocal.engine.streaming.own_memory import PAGE, OwnMemory
from dslocal.engine.streaming.resident import MappedFiles
from dslocal.engine.streaming.store import PageCache
from dslocal.errors import EngineError
from dslocal.plan.load_config import LoadConfig

PLENTY = 1 << 40


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose experts are at least three pages long."""
    return write_moe(tmp_path_factory.mktemp("v3"), "deepseek-v3", recipe="BF16")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(own_memory, "CHECK_SECONDS", 0.0)


class MappedModel:
    """A store over a mapped file, with as much room as a test says.

    Attributes:
        room: Bytes that may be taken in all.
    """

    def __init__(self, path: Path, calls: ColdCalls) -> None:
        self.room = PLENTY
        self.layout: ExpertLayout = read_layout(path)
        self.reader = DiskReader(self.layout, calls)
        self._files = MappedFiles(self.reader)
        self.store = OwnMemory(self.reader, lambda: self.room - self.held)
        self.tensors = [tensor for layer in self.layout.layers.values() for tensor in layer]
        for tensor in self.tensors:
            self.store.place(tensor, self._files.addresses[tensor.file] + tensor.start)
        self._content = [path.read_bytes() for path in self.layout.files]

    @property
    def held(self) -> int:
        return self.store.held_bytes if hasattr(self, "store") else 0

    def seen(self, tensor: ExpertTensor) -> bytes:
        """Return the bytes that llama.cpp would see of a tensor."""
        mapped: NDArray[np.uint8] = np.frombuffer(self._files.maps[tensor.file], np.uint8)
        return mapped[tensor.start : tensor.start + tensor.nbytes].tobytes()

    def stored(self, tensor: ExpertTensor) -> bytes:
        """Return the bytes that the file has of a tensor."""
        return self._content[tensor.file][tensor.start : tensor.start + tensor.nbytes]

    def is_own(self, tensor: ExpertTensor, byte: int) -> bool:
        """Return whether memory of the store is shown where this byte of a tensor is."""
        address = self._files.addresses[tensor.file] + tensor.start + byte
        for line in Path("/proc/self/maps").read_text().splitlines():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address < end:
                return "memfd:" in line
        return False

    def close(self) -> None:
        self.store.close()
        self.reader.close()


@pytest.fixture
def calls() -> ColdCalls:
    return ColdCalls(direct=True)


@pytest.fixture
def kept(v3: Path, calls: ColdCalls) -> Iterator[MappedModel]:
    opened = MappedModel(v3, calls)
    yield opened
    opened.close()


@pytest.mark.parametrize("room", [PLENTY, 300_000, 0])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_the_same_bit_by_bit(
    shape: str, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: ColdCalls
) -> None:
    """Proves it with room for all experts, for some, and for none."""
    path = write_moe(tmp_path, shape, recipe="BF16")
    with loaded(path, stream=False) as context:
        expected = greedy_logits(context, 12)
    stores: list[OwnMemory] = []

    def store(reader: DiskReader, _: object) -> OwnMemory:
        stores.append(OwnMemory(reader, lambda: room - (stores[0].held_bytes if stores else 0)))
        return stores[0]

    monkeypatch.setattr(opening, "OwnMemory", store)
    with streaming(path, monkeypatch, calls) as context:
        calls.read_direct.clear()
        assert np.array_equal(greedy_logits(context, 12), expected)
        assert context.streamer is not None
        assert context.streamer.way.method == "direct"
        assert stores[0].held_bytes <= room
    has_pages = any(
        tensor.extent(1).whole_pages().nbytes
        for layer in read_layout(path).layers.values()
        for tensor in layer
    )
    assert bool(calls.read_direct) is bool(room and has_pages)


def test_a_streamer_that_cannot_be_made_closes_its_memory(
    v3: Path, monkeypatch: pytest.MonkeyPatch, calls: ColdCalls
) -> None:
    made: list[int] = []

    def fail(*_: object, **__: object) -> None:
        made.append(len(open_memory()))
        raise EngineError("no streamer")

    monkeypatch.setattr(opening, "ExpertStreamer", fail)
    before = open_memory()
    with pytest.raises(EngineError, match="no streamer"), streaming(v3, monkeypatch, calls):
        pass
    assert made[0] > len(before)
    assert open_memory() == before


def open_memory() -> list[str]:
    """Return the files without a name that this process has open."""
    opened = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    return [name for name in opened if "memfd:" in name]


def test_every_byte_is_the_files_at_every_moment(kept: MappedModel) -> None:
    """Proves it while four threads read experts, memory comes and goes, and another one looks."""
    chance = random.Random(5)
    experts = [(tensor, n) for tensor in kept.tensors for n in range(tensor.n_experts)]
    done = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        while not done.is_set():
            tensor = chance.choice(kept.tensors)
            if kept.seen(tensor) != kept.stored(tensor):
                wrong.append(tensor.name)

    watcher = threading.Thread(target=look)
    watcher.start()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(60):
            kept.room = chance.choice([0, 50_000, 200_000, 500_000, PLENTY])
            kept.store.begin_graph()
            kept.store.begin_layer(chance.choice([1, 2]), whole=chance.random() < 0.5)
            some = chance.sample(experts, 12)
            list(pool.map(lambda one: kept.store.fetch(*one), some))
            for tensor, n in some:
                kept.store.use(tensor, n)
    done.set()
    watcher.join()
    assert not wrong
    kept.store.close()
    assert all(kept.seen(tensor) == kept.stored(tensor) for tensor in kept.tensors)
    kept.store = OwnMemory(kept.reader, lambda: 0)


def test_an_expert_is_read_once_while_there_is_room(kept: MappedModel, calls: ColdCalls) -> None:
    tensor = kept.tensors[0]
    assert kept.store.use(tensor, 2) == tensor.expert_bytes
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: kept.store.fetch(tensor, 2), range(8)))
    assert kept.store.use(tensor, 2) == 0
    assert calls.read_direct == [tensor.extent(2).covering_pages()]


def test_what_was_not_used_for_longest_makes_room(kept: MappedModel) -> None:
    tensor = kept.tensors[0]
    for n in range(3):
        kept.store.fetch(tensor, n)
    kept.room = kept.held
    kept.store.begin_graph()
    kept.store.use(tensor, 0)
    kept.store.fetch(tensor, 3)
    assert [kept.store.missing(tensor, n) > 0 for n in range(4)] == [False, True, False, False]


def test_a_page_that_two_experts_share_stays_with_either(
    kept: MappedModel, calls: ColdCalls
) -> None:
    """Proves that no byte of a kept expert is left to the page cache, which may drop it."""
    tensor = kept.tensors[0]
    length = tensor.expert_bytes
    assert (tensor.start + length) % PAGE
    calls.requested.clear()
    kept.store.fetch(tensor, 0)
    kept.store.fetch(tensor, 1)
    kept.room = kept.held
    kept.store.begin_graph()
    kept.store.fetch(tensor, 2)  # in the place of the first
    assert [kept.store.missing(tensor, n) > 0 for n in range(3)] == [True, False, False]
    assert not kept.is_own(tensor, length - PAGE)
    assert all(kept.is_own(tensor, byte) for byte in range(length - 1, 3 * length, PAGE))
    assert kept.is_own(tensor, 3 * length)
    assert kept.seen(tensor) == kept.stored(tensor)
    assert not calls.requested


def test_of_whole_layers_in_turn_the_last_one_makes_room(kept: MappedModel) -> None:
    """Proves that some layers stay from one pass over all to the next, which LRU would drop."""
    first, second = (kept.layout.layers[layer][0] for layer in (1, 2))
    assert first.expert_bytes == second.expert_bytes
    kept.store.fetch(first, 0)
    kept.store.fetch(second, 0)
    kept.room = kept.held
    kept.store.begin_graph()
    kept.store.begin_layer(2, whole=True)  # the first is needed next
    kept.store.fetch(second, 1)
    assert kept.store.missing(first, 0) > 0
    kept.store.begin_layer(1, whole=True)
    kept.store.fetch(first, 1)
    assert kept.store.missing(second, 1) == 0


def test_memory_that_others_need_is_given_back(kept: MappedModel) -> None:
    for tensor in kept.tensors:
        for n in range(tensor.n_experts):
            kept.store.fetch(tensor, n)
    everything = kept.held
    kept.room = everything // 3
    kept.store.begin_graph()
    assert 0 < kept.held <= everything // 3
    kept.room = 0
    kept.store.begin_graph()
    assert kept.held == 0
    kept.room = PLENTY
    kept.store.begin_graph()
    for tensor in kept.tensors:
        for n in range(tensor.n_experts):
            kept.store.fetch(tensor, n)
    assert kept.held == everything


def test_memory_is_given_back_within_a_graph(kept: MappedModel) -> None:
    """Proves it layer by layer: a long prompt is one graph, in which all memory can be taken."""
    tensor = kept.tensors[0]
    for expert in range(4):
        kept.store.fetch(tensor, expert)
    assert kept.held > 0
    kept.room = 0
    kept.store.begin_layer(1, whole=True)
    assert kept.held == 0
    assert kept.seen(tensor) == kept.stored(tensor)


def test_a_prompt_reads_each_expert_once(
    v3: Path, monkeypatch: pytest.MonkeyPatch, calls: ColdCalls
) -> None:
    """Proves that layers are known where they are mapped before the graph comes to them: experts
    that are read ahead go to where they stay.
    """
    layout = read_layout(v3)
    first = min(layout.layers)
    later = [
        tensor for number, layer in layout.layers.items() if number > first for tensor in layer
    ]
    assert later
    with streaming(v3, monkeypatch, calls) as context:
        calls.requested.clear()
        calls.read_direct.clear()
        context.prefill(list(range(5, 205)))
    experts = [tensor.extent(n) for tensor in later for n in range(tensor.n_experts)]
    assert not set(experts).intersection(calls.requested)
    for extent in experts:
        assert calls.read_direct.count(extent.covering_pages()) <= 1
    assert any(extent.covering_pages() in calls.read_direct for extent in experts)


def test_of_a_failing_disk_nothing_is_kept(kept: MappedModel, calls: ColdCalls) -> None:
    tensor = kept.tensors[0]
    calls.fails = True
    with pytest.raises(EngineError, match="cannot be read: Input/output error"):
        kept.store.fetch(tensor, 1)
    assert kept.store.missing(tensor, 1) == tensor.expert_bytes
    calls.fails = False
    kept.store.fetch(tensor, 1)
    assert kept.seen(tensor) == kept.stored(tensor)


@pytest.mark.parametrize("step", ["show", "hide"])
def test_too_many_mappings_change_no_byte(
    kept: MappedModel, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves it for a system that refuses to show memory, or to hide it again."""
    tensor = kept.tensors[0]
    kept.store.fetch(tensor, 0)
    kept.room = kept.held
    kept.store.begin_graph()

    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(Overlay, step, refuse)
        for n in range(tensor.n_experts):
            kept.store.fetch(tensor, n)
        assert kept.seen(tensor) == kept.stored(tensor)
    kept.store.fetch(tensor, 1)
    assert kept.store.missing(tensor, 1) == 0
    assert kept.seen(tensor) == kept.stored(tensor)


def test_a_second_context_leaves_the_tensors_to_the_first(
    v3: Path, monkeypatch: pytest.MonkeyPatch, calls: ColdCalls
) -> None:
    """Proves the same logits of both, in turns, and of the second after the first is closed."""
    with loaded(v3, stream=False) as context:
        expected = greedy_logits(context, 4)
    config = LoadConfig(512, stream_experts=True)
    monkeypatch.setattr("dslocal.engine.streaming.opening.calls_for", lambda: calls)
    with LlamaModel(v3, config) as model:
        with LlamaContext(model, config, n_threads=1) as first:
            second = LlamaContext(model, config, n_threads=1)
            for context in (first, second, first):
                context.clear()
                assert np.array_equal(greedy_logits(context, 4), expected)
        second.clear()
        assert np.array_equal(greedy_logits(second, 4), expected)
        second.close()


def test_a_system_without_such_memory_uses_the_page_cache(
    v3: Path, monkeypatch: pytest.MonkeyPatch, calls: ColdCalls
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("os.memfd_create", refuse)
    with streaming(v3, monkeypatch, calls) as context:
        context.prefill(PROMPT)
        assert context.streamer is not None
        assert isinstance(context.streamer._store, PageCache)
    assert calls.requested
