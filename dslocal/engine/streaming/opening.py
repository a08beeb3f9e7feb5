"""Make a streamer for a loaded model: measure its disk, and keep in RAM what every token needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dslocal.errors import DslocalError, EngineError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_names import ROUTED_EXPERTS, tensor_class
from dslocal.plan.expert_streaming import reserve
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine import probe
from dslocal.plan.memory.placement import EMBEDDINGS, OUTPUT, placed_tensors

from .disk.measurement import best_way, rate_under_load
from .disk.reader import DiskReader, ReadingWay
from .expert_layout import ExpertLayout, Extent, read_layout
from .lookahead import LookAhead
from .own_memory import OwnMemory
from .resident import MappedFiles, keep_resident
from .store import ExpertStore, PageCache
from .streamer import ExpertStreamer
from .system_calls import calls_for, file_error


def open_streamer(path: Path, header: GgufHeader, load_config: LoadConfig) -> ExpertStreamer:
    """Return a streamer for the model at ``path``, which is loaded as ``load_config`` says.

    Raises:
        EngineError: a file cannot be read, or experts cannot be streamed on this system.
    """
    calls = calls_for()
    if calls is None:
        raise EngineError("experts are not streamed on this system", hint="--stream-experts off")
    reader = DiskReader(read_layout(path, header), calls)
    try:
        with contextlib.ExitStack() as opened:  # what is closed where a later step fails
            streamer = _opened(header, load_config, reader, opened)
            opened.pop_all()
            return streamer
    except OSError as e:
        raise file_error(path, e) from e


def _opened(
    header: GgufHeader, load_config: LoadConfig, reader: DiskReader, opened: contextlib.ExitStack
) -> ExpertStreamer:
    """Return a streamer that reads by ``reader``; what it uses is in ``opened`` too."""
    opened.callback(reader.close)
    mapped = MappedFiles(reader)
    ram = probe.probe_machine().ram
    way = best_way(reader, mapped.addresses)
    reader.requests = way.method != "read"
    always = list(_read_for_every_token(reader.layout, header, load_config))
    locked = keep_resident(reader, mapped.addresses, always, ram, way.threads)
    room = ram - sum(extent.nbytes for extent in always)
    layers = reader.layout.layers.values()
    largest_layer = max(sum(tensor.nbytes for tensor in layer) for layer in layers)
    look_ahead = LookAhead(reader.layout, header, mapped.maps)
    unlocked = sum(extent.nbytes for extent in always) - locked
    store = _store(reader, way, reserve(ram) + unlocked)
    opened.callback(store.close)
    return ExpertStreamer(reader, way, store, look_ahead, whole_layers=3 * largest_layer < room)


def _store(reader: DiskReader, way: ReadingWay, kept_free: int) -> ExpertStore:
    """Return what keeps the experts that are read.

    Args:
        reader: Reads the model's files.
        way: How.
        kept_free: The bytes of RAM that are left to everything else.
    """
    if way.method == "direct":
        with contextlib.suppress(OSError):  # a system without such memory: the page cache does
            return OwnMemory(reader, lambda: probe.available_ram() - kept_free)
    return PageCache(reader)


def disk_way(path: Path, cores: int) -> ReadingWay | None:
    """Return how experts of the model at ``path`` are read, and what that gives now.

    The way is chosen now if it is not known; its rate is measured each time.

    Args:
        path: The model's file, or its first.
        cores: How many cores compute meanwhile.

    Returns:
        None if it cannot be measured.
    """
    calls = calls_for()
    if calls is None:
        return None
    try:
        with DiskReader(read_layout(path), calls) as reader:
            mapped = MappedFiles(reader)
            way = best_way(reader, mapped.addresses)
            now = rate_under_load(reader, mapped.addresses, way, cores)
            return replace(way, rate=now or way.rate)
    except (DslocalError, OSError):
        return None


def _read_for_every_token(
    layout: ExpertLayout, header: GgufHeader, load_config: LoadConfig
) -> Iterator[Extent]:
    """Yield the extents of those weights in RAM that every token reads whole."""
    has_output = OUTPUT in layout.tensors
    for tensor, on_gpu in placed_tensors(header, load_config):
        is_row_alone = tensor.name == EMBEDDINGS and has_output
        if not on_gpu and not is_row_alone and tensor_class(tensor.name) != ROUTED_EXPERTS:
            yield layout.tensors[tensor.name].extent
