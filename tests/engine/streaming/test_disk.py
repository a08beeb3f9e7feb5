"""Proves how pieces are read: which system calls, in which way, and what is remembered of a disk.

What is said of macOS is proved on recorded calls; it has not been run on a Mac.
"""

from __future__ import annotations

import json
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from support.engine.expert_models import write_moe
from support.engine.streaming import ColdCalls

from dslocal import home
from dslocal.engine.streaming.disk import measurement
from dslocal.engine.streaming.disk.measurement import best_way
from dslocal.engine.streaming.disk.reader import DiskReader, ReadingWay
from dslocal.engine.streaming.expert_layout import ExpertLayout, Extent, read_layout
from dslocal.engine.streaming.opening import disk_way
from dslocal.engine.streaming.resident import MappedFiles, keep_resident
from dslocal.engine.streaming.system_calls import (
    LinuxCalls,
    MacCalls,
    SystemCalls,
    calls_for,
    page_buffer,
)
from dslocal.errors import EngineError


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> ExpertLayout:
    return read_layout(write_moe(tmp_path_factory.mktemp("moe"), "deepseek-v3"))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("platform", "kind"),
    [("linux", LinuxCalls), ("darwin", MacCalls), ("win32", None), ("freebsd14", None)],
)
def test_each_system_has_its_calls(platform: str, kind: type[SystemCalls] | None) -> None:
    found = calls_for(platform)
    assert found is None if kind is None else type(found) is kind


def test_macos_is_asked_by_fcntl_and_then_read(layout: ExpertLayout) -> None:
    """Proves the recorded calls those of Apple's fcntl(2): F_RDADVISE with offset and count."""
    recorded: list[tuple[int, Any]] = []
    calls = MacCalls(lambda fd, command, argument: recorded.append((command, argument)))
    with DiskReader(layout, calls) as reader:
        reader.fetch(Extent(0, 4096, 1_000_000))
    assert len(recorded) == 1
    command, advisory = recorded[0]
    assert command == 44
    assert struct.unpack("=qi", advisory[:12]) == (4096, 1_000_000)
    assert len(advisory) == 16  # as sizeof(struct radvisory) on 64 bits


def test_a_request_is_cut_into_what_the_device_takes(
    layout: ExpertLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that pieces cover what was asked for: the kernel drops what is longer, silently."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "os.posix_fadvise", lambda fd, start, nbytes, advice: asked.append((start, nbytes))
    )
    monkeypatch.setattr("dslocal.engine.streaming.system_calls._piece_bytes", lambda device: 1000)
    with DiskReader(layout, LinuxCalls()) as reader:
        asked.clear()
        reader.calls.request(reader._fds[0], 500, 2500)
    assert asked == [(500, 1000), (1500, 1000), (2500, 500)]


@pytest.mark.parametrize("requests", [True, False])
def test_either_way_brings_the_bytes_into_memory(layout: ExpertLayout, requests: bool) -> None:
    calls = LinuxCalls()
    with DiskReader(layout, calls) as reader:
        mapped = MappedFiles(reader)
        reader.requests = requests
        tensor = layout.layers[1][0]
        for expert in range(tensor.n_experts):
            extent = tensor.extent(expert)
            reader.fetch(extent, mapped.addresses[0] + extent.start)
        assert calls.missing(mapped.addresses[0] + tensor.start, tensor.nbytes) == 0


def test_a_file_shorter_than_its_header_says_is_refused(tmp_path: Path) -> None:
    layout = read_layout(write_moe(tmp_path, "deepseek-v3"))
    path = layout.files[0]
    with path.open("r+b") as file:
        file.truncate(layout.sizes[0] - 1)
    with pytest.raises(EngineError, match=rf"{path.name}: cannot be read: it became shorter"):
        DiskReader(layout, LinuxCalls())


def test_the_fastest_way_is_remembered(
    layout: ExpertLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that it is measured three times, that the best of each way counts, since other work
    only slows it down, and that more threads must be clearly faster.
    """
    rates = {"request 4": 90e6, "request 8": 100e6, "request 16": 103e6, "read 32": 104e6}
    measured: list[str] = []

    def measure(reader: DiskReader, sample: Any, way: ReadingWay, seconds: float) -> float:
        measured.append(f"{way.method} {way.threads}")
        is_disturbed = len(measured) <= 8 and way.method == "request"
        return rates.get(measured[-1], 50e6) / (2 if is_disturbed else 1)

    monkeypatch.setattr(measurement, "_measure", measure)
    with DiskReader(layout, ColdCalls()) as reader:
        mapped = MappedFiles(reader)
        assert best_way(reader, mapped.addresses) == ReadingWay("read", 32, 104e6)
        for _ in range(4):
            assert best_way(reader, mapped.addresses) == ReadingWay("request", 8, 100e6)
    assert len(measured) == 3 * 8


@pytest.mark.parametrize(
    ("past", "cached", "method"),
    [(60e6, 100e6, "direct"), (40e6, 100e6, "request"), (0.0, 100e6, "request")],
)
def test_reading_past_the_page_cache_is_preferred(
    layout: ExpertLayout, past: float, cached: float, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that, unless it is far slower: a page cache that is full is slower than measured."""

    def measure(reader: DiskReader, sample: Any, way: ReadingWay, seconds: float) -> float:
        return past if way.method == "direct" else cached

    monkeypatch.setattr(measurement, "_measure", measure)
    with DiskReader(layout, ColdCalls(direct=past > 0)) as reader:
        mapped = MappedFiles(reader)
        assert best_way(reader, mapped.addresses).method == method


def test_pieces_of_several_lengths_are_measured(
    layout: ExpertLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that a longer piece may follow a shorter one, as in a file of mixed quantizations."""
    monkeypatch.setattr(measurement, "MIN_SAMPLE_BYTES", 1)
    sample = [(Extent(0, 0, nbytes), 0) for nbytes in (4096, 65536, 8192)]
    with DiskReader(layout, LinuxCalls()) as reader:
        if not reader.is_direct:
            pytest.skip("this file system has no O_DIRECT")
        assert measurement._measure(reader, sample, ReadingWay("direct", 1), 9.0) > 0


def test_what_is_read_past_the_page_cache_is_what_the_file_has(layout: ExpertLayout) -> None:
    tensor = next(iter(layout.layers.values()))[0]
    pages = tensor.extent(1).whole_pages()
    assert pages.nbytes
    memory = page_buffer(pages.nbytes)
    with DiskReader(layout, LinuxCalls()) as reader:
        assert reader.is_direct
        reader.read_direct(pages, memory)
    content = layout.files[pages.file].read_bytes()
    assert bytes(memory) == content[pages.start : pages.start + pages.nbytes]


@pytest.mark.parametrize(("now", "expected"), [(60e6, 60e6), (0.0, 100e6)])
def test_forecasts_take_what_the_disk_gives_now_while_all_cores_compute(
    layout: ExpertLayout, now: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the rate of the chosen way is measured again each time, with busy cores, and that
    only what is measured with idle ones is remembered; it counts where nothing can be measured now.
    """
    at_rest, cores = threading.active_count(), 3

    def measure(reader: DiskReader, sample: Any, way: ReadingWay, seconds: float) -> float:
        is_busy = threading.active_count() == at_rest + cores
        return now if is_busy else 100e6

    monkeypatch.setattr(measurement, "_measure", measure)
    for _ in range(measurement.RUNS + 2):
        way = disk_way(layout.files[0], cores)
        assert way is not None
        assert way.rate == expected
    [entry] = home.read_state(measurement.STATE).values()
    assert set(entry["rates"].values()) == {100e6}
    assert threading.active_count() == at_rest


def test_what_the_disk_gives_now_is_measured(
    layout: ExpertLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "MIN_SAMPLE_BYTES", 1)
    calls = ColdCalls(direct=True)
    with DiskReader(layout, calls) as reader:
        mapped = MappedFiles(reader)
        for way in (ReadingWay("direct", 2), ReadingWay("request", 2)):
            assert measurement.rate_under_load(reader, mapped.addresses, way, 1) > 0
    experts = sum(len(tensors) * tensors[0].n_experts for tensors in layout.layers.values())
    assert len(calls.read_direct) == len(calls.requested) == experts


def test_too_few_bytes_to_measure_are_not_remembered(layout: ExpertLayout) -> None:
    with DiskReader(layout, ColdCalls()) as reader:
        mapped = MappedFiles(reader)
        assert best_way(reader, mapped.addresses) == ReadingWay()
    assert home.read_state(measurement.STATE) == {}


RATE = {"request 8": 1e9}
DAMAGED = {
    "not an object": 7,
    "no rates": {"runs": 1},
    "rates of no way": {"runs": 1, "rates": {"request 7": 1e9}},
    "odd runs": {"runs": 99, "rates": RATE},
    "words": {"runs": "once", "rates": RATE},
    "no speed": {"runs": 1, "rates": {"request 8": 0}},
    "beyond any disk": {"runs": 1, "rates": {"request 8": 1e20}},
    "not a number": {"runs": 1, "rates": {"request 8": "fast"}},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_not_believed(
    layout: ExpertLayout, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "_measure", lambda *_, **__: 100e6)
    with DiskReader(layout, ColdCalls()) as reader:
        mapped = MappedFiles(reader)
        found = best_way(reader, mapped.addresses)
        key = next(iter(home.read_state(measurement.STATE)))
        file = home.state_dir() / f"{measurement.STATE}.json"
        file.write_text(json.dumps({key: DAMAGED[name]}))
        assert best_way(reader, mapped.addresses) == found
        assert json.loads(file.read_text())[key]["runs"] == 1


@pytest.mark.parametrize(
    ("allowed", "ram", "is_locked"),
    [(True, 1 << 30, True), (False, 1 << 30, False), (True, 1 << 20, False)],
)
def test_what_every_token_needs_is_read_and_locked(
    layout: ExpertLayout, allowed: bool, ram: int, is_locked: bool
) -> None:
    """Proves it read in each case, and locked only where that is allowed and leaves room."""

    class Locks(ColdCalls):
        locked = 0

        def lock(self, address: int, nbytes: int) -> bool:
            self.locked += nbytes if allowed else 0
            return allowed

    calls = Locks()
    others = [stored.extent for name, stored in layout.tensors.items() if "_exps" not in name]
    nbytes = sum(extent.nbytes for extent in others)
    with DiskReader(layout, calls) as reader:
        mapped = MappedFiles(reader)
        found = keep_resident(reader, mapped.addresses, others, ram, 4)
    assert found == calls.locked == (nbytes if is_locked else 0)
    assert sum(extent.nbytes for extent in calls.requested) == nbytes
