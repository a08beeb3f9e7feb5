"""Have every layer's experts read as soon as its router has chosen them.

Sees llama.cpp's graph (:mod:`dslocal.engine.graph`). The graph pauses after ``ffn_moe_topk-L``, the
choice of layer L: all its matrices of the chosen experts are queued, in the order in which the
graph multiplies with them. Before each of these multiplications the graph pauses again, until that
matrix's pieces are there; meanwhile the next ones are read. The threads that read find pages that
cannot be read, before llama.cpp touches them and is killed by SIGBUS.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.engine.graph import GraphObserver, NodeSelection, NodeValues
from dslocal.engine.graph.graph_tensor import (
    NAME_OFFSET,
    OP_OFFSET,
    GraphTensor,
    operation,
    tensor_at,
    weight_name,
)
from dslocal.types import StreamingUse

from .disk.reader import DiskReader, ReadingWay
from .expert_layout import ExpertTensor
from .lookahead import LookAhead, Trial
from .read_queue import MAX_GUESSES, ReadGroup, ReadQueue, Urgency
from .store import ExpertStore
from .tensor_places import TensorPlaces

CHOICE = b"ffn_moe_topk-"  # the node with the chosen experts: int32 [tokens, used]
ROUTER = b"ffn_moe_logits-"  # the router's multiplication; its input is the hidden state
HEAD_BYTES = NAME_OFFSET + len(ROUTER) - OP_OFFSET  # of a node: its operation up to its name
MOST_EXPERTS = 0.5  # the share of a layer's experts from which on the whole next layer is read
MAX_GUESS_TOKENS = 8  # tokens of a batch for which single experts are guessed
SURE = 0.9  # the share of right guesses from which on all threads read them
MEAN_LAYERS = 50  # that this share is the mean of, roughly
NO_TOKENS: NDArray[np.int32] = np.zeros(0, np.int32)


class ExpertStreamer(GraphObserver):
    """Reads experts ahead for one context. Close it after the context.

    Attributes:
        way: How pieces are read.
        is_aborted: Says whether a wait for the disk is to end.
    """

    def __init__(
        self,
        reader: DiskReader,
        way: ReadingWay,
        store: ExpertStore,
        look_ahead: LookAhead,
        *,
        whole_layers: bool = True,
    ) -> None:
        """Stream the experts of ``reader``'s model, and close reader and store at the end.

        Args:
            reader: Reads the model's files.
            way: How.
            store: Keeps the experts.
            look_ahead: Guesses the next layer's experts.
            whole_layers: Whether there is room to read a whole layer ahead while a prompt is
                evaluated.
        """
        self.way = way
        self.is_aborted: Callable[[], bool] = lambda: False
        self._use = _UseCounter()
        self._reader = reader
        self._store = store
        self._layout = reader.layout
        self._look_ahead = look_ahead
        self._whole_layers = whole_layers
        self._trial = Trial()
        self._values = NodeValues()
        self.selection = NodeSelection(operation("MUL_MAT_ID"), (CHOICE, ROUTER))
        self._multiplication = bytes(ctypes.c_int(self.selection.operation))
        self._lookup = operation("GET_ROWS")
        self._tensors = {t.name: t for layer in self._layout.layers.values() for t in layer}
        self._order = {layer: list(found) for layer, found in self._layout.layers.items()}
        self._by_token = [layer for layer in self._order if look_ahead.chooses_by_token(layer)]
        self._places = TensorPlaces(self._layout, store.place)
        self._groups: dict[str, ReadGroup] = {}  # what each tensor's multiplication waits for
        self._router_inputs: dict[int, int] = {}
        self._guessed: dict[int, set[int]] = {}  # experts by layer, of the present graph
        self._right_share = 0.0  # of the guesses for the last layers
        self._graph_tokens = 0
        self._tokens = NO_TOKENS  # of the present graph, where its first layer chooses by them
        self._graph_began = self._last_choice = 0.0
        self._last_layer = -1
        self._queue = ReadQueue(way.threads)  # the last, since it starts threads

    @property
    def use(self) -> StreamingUse:
        """Return what was read so far."""
        return self._use.total

    def close(self) -> None:
        """End the threads and close the files."""
        self._queue.close()
        self._store.close()
        self._reader.close()

    def allow_guesses(self, on: bool) -> None:
        """Switch guesses on or off, without measuring whether they pay."""
        self._trial.end(on)

    def wants(self, address: int) -> bool:
        """Pause after a choice; wait for a multiplication's experts, and pause for the next one's.

        A pause takes time, so the graph does not pause if nothing is left to wait for.
        """
        head = ctypes.string_at(address + OP_OFFSET, HEAD_BYTES)  # one call, for there are many
        if head.startswith(self._multiplication):
            return self._before_multiplication(tensor_at(address))
        name = head[NAME_OFFSET - OP_OFFSET :]
        if name == ROUTER:
            self._note_router(tensor_at(address))
        is_choice = name.startswith(CHOICE)
        if is_choice:
            self._before_choice(tensor_at(address))
        return is_choice

    def take(self, address: int) -> None:
        """Have the chosen experts of a layer read."""
        node = tensor_at(address)
        if not node.name.startswith(CHOICE):
            return
        layer = _layer(node.name)
        if layer not in self._order:
            return
        chosen = self._values.view(address)[0, 0]
        self._last_layer, self._last_choice = layer, time.perf_counter()
        experts = np.unique(chosen).tolist()
        is_whole = self._are_most(layer, experts, len(chosen))
        self._store.begin_layer(layer, whole=is_whole)
        in_ram = self._values.in_ram(node)  # gives the GIL up, which threads that read take then
        self._request(layer, experts)
        if not in_ram:  # a GPU may copy weights before the next pause
            for tensor in self._order[layer]:
                self._wait_for(tensor)
        self._read_ahead(layer, chosen, is_whole=is_whole)

    def _before_choice(self, node: GraphTensor) -> None:
        """Begin a graph before its first layer is computed, and read what is certain by then."""
        layer = _layer(node.name)
        if layer not in self._order or 0 <= self._last_layer < layer:
            return
        is_model = layer == min(self._order)  # not the MTP layer's own graph
        self._begin_graph(node.ne[1] if is_model else 0)
        if node.op == self._lookup:  # the layer chooses by token id, and so its input is tokens
            self._tokens = self._values.copy(node.src[1]).ravel()
        for following in self._by_token:
            experts = self._look_ahead.by_token(following, self._tokens)
            if following == layer or not self._are_most(following, experts, len(self._tokens)):
                self._queue_ahead(following, experts, Urgency.SOON)

    def _begin_graph(self, tokens: int) -> None:
        """Take note of a new graph, which evaluates so many tokens of the model, not of drafts."""
        self._reader.check_sizes()
        if self._graph_tokens == 1:
            self._trial.record(self._last_choice - self._graph_began)
        self._graph_began = time.perf_counter()  # first: _fetch_ahead compares it
        self._queue.forget_all()
        self._store.begin_graph()
        self._guessed.clear()
        self._last_layer = -1
        self._tokens = NO_TOKENS
        self._graph_tokens = tokens
        self._use.add(tokens=tokens)

    def _request(self, layer: int, experts: Sequence[int]) -> None:
        """Queue the reads of a layer's chosen experts, in the order of need."""
        self._queue.forget(layer)
        guessed = self._guessed.pop(layer, set())
        if guessed:
            self._count_guesses(len(guessed), len(guessed.intersection(experts)))
        for tensor in self._order[layer]:
            if not self._places.is_elsewhere(tensor):
                reads = self._missing_reads(tensor, experts)
                self._groups[tensor.name] = self._queue.submit(reads, Urgency.NOW, layer)

    def _count_guesses(self, guessed: int, right: int) -> None:
        """Take note of how many guesses for a layer were right."""
        self._use.add(guessed=guessed, guessed_right=right)
        self._right_share += (right / guessed - self._right_share) / MEAN_LAYERS
        is_sure = self._right_share >= SURE
        self._queue.max_guesses = self.way.threads if is_sure else MAX_GUESSES

    def _missing_reads(self, tensor: ExpertTensor, experts: Iterable[int]) -> list[partial[None]]:
        """Return the reads of those experts that are not in memory, and count them."""
        reads: list[partial[None]] = []
        needed = missing = 0
        for expert in experts:
            absent = self._store.use(tensor, expert)
            if absent:
                reads.append(partial(self._store.fetch, tensor, expert))
            needed += tensor.expert_bytes
            missing += absent
        if self._places.is_seen(tensor):
            self._use.add(needed_bytes=needed, missing_bytes=missing)
        return reads

    def _read_ahead(self, layer: int, chosen: NDArray[Any], *, is_whole: bool) -> None:
        """Have experts of the next layer read, those that are certain or those that are likely."""
        following = layer + 1
        is_known = following in self._order
        if is_whole:
            if is_known and self._whole_layers:
                certain = self._look_ahead.by_token(following, self._tokens)
                every = range(self._order[following][0].n_experts)
                self._queue_ahead(following, certain or every, Urgency.SOON)
            return
        router_input = self._router_inputs.get(layer)
        if not router_input or len(chosen) > MAX_GUESS_TOKENS or self._trial.verdict is False:
            return
        hidden = self._values.copy(router_input)[0, 0]
        self._look_ahead.learn(layer, hidden)
        if is_known and following not in self._by_token and self._trial.is_on:
            guess = partial(self._guess, following, hidden)
            self._queue.submit([guess], Urgency.GUESS, following)

    def _are_most(self, layer: int, experts: Sequence[int], n_tokens: int) -> bool:
        """Return whether several tokens need so many experts that a layer is read whole."""
        return n_tokens > 1 and len(experts) >= MOST_EXPERTS * self._order[layer][0].n_experts

    def _guess(self, layer: int, hidden: NDArray[np.float32]) -> None:
        """Guess the experts of a layer and queue their reads; runs in a thread of the queue."""
        experts = self._look_ahead.guess(layer, hidden)
        if experts and self._last_layer == layer - 1:
            self._guessed[layer] = set(experts)
            self._queue_ahead(layer, experts, Urgency.GUESS)

    def _queue_ahead(self, layer: int, experts: Iterable[int], urgency: Urgency) -> None:
        """Queue reads for a later layer, as far as llama.cpp has that mapped, and so may use it."""
        listed = list(experts)
        for tensor in self._order[layer]:
            if self._places.is_mapped(tensor):
                reads = [partial(self._fetch_ahead, tensor, expert) for expert in listed]
                self._queue.submit(reads, urgency, layer)

    def _fetch_ahead(self, tensor: ExpertTensor, expert: int) -> None:
        """Read an expert before it is certain that it is needed now, where it is missing."""
        absent = self._store.missing(tensor, expert)
        if absent:
            graph = self._graph_began
            self._store.fetch(tensor, expert)
            is_in_time = self._last_layer < tensor.layer and self._graph_began == graph
            if self._places.is_seen(tensor) and is_in_time:  # else it was counted as missing
                self._use.add(ahead_bytes=absent)

    def _before_multiplication(self, node: GraphTensor) -> bool:
        """Wait for a multiplication's experts; return whether others of the layer are awaited."""
        weight = tensor_at(node.src[0])
        tensor = self._tensors.get(weight_name(weight.name))
        if tensor is None:
            return False
        if not self._places.is_seen(tensor) and b"#" not in weight.name:
            self._note_place(tensor, weight)
        if self._places.is_elsewhere(tensor):
            return False
        self._wait_for(tensor)
        return any(
            other.name in self._groups and not self._groups[other.name].is_done
            for other in self._order[tensor.layer]
        )

    def _note_place(self, tensor: ExpertTensor, weight: GraphTensor) -> None:
        """Take note of where llama.cpp has a tensor, the first time that it comes."""
        if self._places.note(tensor, weight):
            self._order[tensor.layer] = sorted(  # those that have come keep their order
                self._order[tensor.layer], key=lambda one: not self._places.is_seen(one)
            )

    def _note_router(self, node: GraphTensor) -> None:
        """Take note of where a router's input is, and the first time, of where its weights are."""
        layer = _layer(node.name)
        if layer not in self._router_inputs:
            weight = tensor_at(node.src[0])
            stored = self._layout.tensors.get(weight_name(weight.name))
            if stored:
                self._places.note_neighbour(stored.extent, weight)
        self._router_inputs[layer] = node.src[1]

    def _wait_for(self, tensor: ExpertTensor) -> None:
        group = self._groups.pop(tensor.name, None)
        if group is None:
            return
        began = time.perf_counter()
        try:
            group.wait(self.is_aborted)
        finally:
            self._use.add(waited_s=time.perf_counter() - began)


class _UseCounter:
    """Adds up how much several threads read."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {field.name: 0 for field in fields(StreamingUse)}
        self._lock = threading.Lock()

    @property
    def total(self) -> StreamingUse:
        """Return the sums."""
        with self._lock:
            return StreamingUse(**self._sums)

    def add(self, **more: float) -> None:
        """Add to fields of the total, by name."""
        with self._lock:
            for name, value in more.items():
                self._sums[name] += value


def _layer(name: bytes) -> int:
    """Return the layer that the name of a node ends with."""
    return int(name.rsplit(b"-", 1)[1])
