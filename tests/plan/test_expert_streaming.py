"""Proves when a plan reads experts ahead, and what it expects to find in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.gguf.published_shapes import write_header

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan.budget import Budget
from dslocal.plan.expert_streaming import skewed_hit_rate, uniform_hit_rate
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Machine
from dslocal.plan.overrides import Overrides
from dslocal.plan.search import make_plan

GIB = 1 << 30


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufHeader]:
    folder = tmp_path_factory.mktemp("headers")
    return {name: read_header(write_header(folder, name)) for name in ("v2-lite", "qwen-7b")}


def machine(ram: int, vram: int = 0, **changes: Any) -> Machine:
    return replace(describe_machine(ram * GIB, vram=[vram * GIB] if vram else ()), **changes)


DECIDED = {  # model, machine, --stream-experts: the verdict, and whether experts are read ahead
    "it fits": ("v2-lite", machine(64), None, "cpu", False),
    "it does not": ("v2-lite", machine(8), None, "ssd", True),
    "it does not, and off": ("v2-lite", machine(8), False, "ssd", False),
    "it fits, and on": ("v2-lite", machine(64), True, "cpu", True),
    "on a GPU": ("v2-lite", machine(64, 24), None, "gpu", False),
    "experts in RAM that is too small": ("v2-lite", machine(6, 4), None, "ssd", True),
    "not a mixture of experts": ("qwen-7b", machine(4), None, "ssd", False),
    "a system that cannot": ("v2-lite", machine(8, os="windows"), None, "ssd", False),
}


@pytest.mark.parametrize("name", DECIDED)
def test_experts_are_read_ahead_where_weights_do_not_fit(
    name: str, headers: dict[str, GgufHeader]
) -> None:
    model, here, wanted, verdict, streams = DECIDED[name]
    found = make_plan(headers[model], here, Overrides(n_ctx=4096, stream_experts=wanted))
    assert (found.verdict, found.load_config.stream_experts) == (verdict, streams)
    if streams:
        assert found.load_config.load_mode == "mmap"
        assert not found.load_config.repack


# RAM, what is asked: tokens of a micro-batch
LARGE_BATCHES: dict[str, tuple[int, dict[str, Any], int]] = {
    "little memory": (4, {}, 1024),
    "more memory": (8, {}, 2048),
    "a context that is shorter": (8, {"n_ctx": 1536}, 1024),
    "the user's own": (8, {"n_ubatch": 256}, 256),
    "no streaming": (8, {"stream_experts": False}, 512),
    "it fits": (64, {}, 512),
}


@pytest.mark.parametrize("name", LARGE_BATCHES)
def test_micro_batches_are_larger_where_experts_are_streamed(
    name: str, headers: dict[str, GgufHeader]
) -> None:
    """Proves that they are counted, and take no more than a part of the RAM from the experts."""
    ram, wanted, n_ubatch = LARGE_BATCHES[name]
    header, here = headers["v2-lite"], machine(ram)
    overrides = Overrides(**{"n_ctx": 4096, **wanted})
    found = make_plan(header, here, overrides)
    assert found.load_config.n_ubatch == n_ubatch
    assert found.memory == Budget(header, here).memory(found.load_config)
    small = make_plan(header, here, replace(overrides, n_ubatch=wanted.get("n_ubatch", 512)))
    assert found.memory.all.host - small.memory.all.host <= ram * GIB / 16


def test_micro_batches_that_memory_made_small_stay_small(headers: dict[str, GgufHeader]) -> None:
    here = replace(machine(1), ram=600 << 20, available=600 << 20)
    found = make_plan(headers["v2-lite"], here, Overrides(n_ctx=4096))
    assert found.load_config.stream_experts
    assert found.load_config.n_ubatch == 128


REFUSED = {
    "no experts": ("qwen-7b", machine(64), "has no routed experts"),
    "all on the GPU": ("v2-lite", machine(64, 24), "all experts are on the GPU"),
    "Windows": ("v2-lite", machine(8, os="windows"), "Linux and macOS only"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_on_is_refused_where_it_would_do_nothing(name: str, headers: dict[str, GgufHeader]) -> None:
    model, here, reason = REFUSED[name]
    with pytest.raises(UsageError, match=rf"--stream-experts on: .*{reason}"):
        make_plan(headers[model], here, Overrides(n_ctx=4096, stream_experts=True))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0, 1.7])
def test_a_skewed_router_finds_more_in_memory(share: float) -> None:
    uniform, skewed = uniform_hit_rate(share, 1.0), skewed_hit_rate(share, 1.0, 64)
    assert uniform == min(share, 1.0)
    assert uniform <= skewed <= 1.0
    assert (skewed > uniform) == (0 < share < 1)


def test_the_most_frequent_half_of_64_experts_is_chosen_six_times_in_seven() -> None:
    """Proves the harmonic numbers: 1 + 1/2 + … + 1/32 is 4.0585, and to 1/64 4.7439."""
    assert skewed_hit_rate(0.5, 1.0, 64) == pytest.approx(4.0585 / 4.7439, abs=1e-4)
