"""Proves what a token reads from which tier, and that forecasts contain the speeds that are known
and never grow with less memory.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gguf.published_shapes import write_header
from support.machines.planning import (
    GIB,
    LITE,
    LLM,
    QWEN_7B,
    QWEN_32B,
    ROOMY,
    V2,
    V3,
    gpu_of,
    header,
    mac_of,
    weights_of,
    with_available,
)

from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.tensor_names import ROUTED_EXPERTS, tensor_class
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.machine.bandwidth import SSD_BANDWIDTH
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Gpu, Machine
from dslocal.plan.memory.footprint import footprint, kv_bytes_per_token
from dslocal.plan.parameter_count import count_parameters
from dslocal.plan.search import make_plan
from dslocal.plan.speed import (
    CORE_RATE,
    CPU_EFFICIENCY,
    GPU_EFFICIENCY,
    OTHER_RAM,
    SPREAD,
    LayerTime,
    Rates,
    Speed,
    Traffic,
    TypeRate,
    forecast,
    layer_seconds,
    rates_for,
    tokens_per_s,
    traffic,
    weight_bytes_per_token,
    weight_reads,
)

CODER = "deepseek-coder-v2-instruct"


def read(
    h: GgufHeader, load_config: LoadConfig, machine: Machine = ROOMY, filled: float = 0.5
) -> Traffic:
    return traffic(h, load_config, footprint(h, load_config), machine, filled=filled)


ALWAYS = ("attention", "dense feed-forward", "shared experts", "router", "norms", "output", "other")


@pytest.mark.parametrize("name", [QWEN_7B, LLM, LITE, CODER, V3])
def test_a_token_reads_all_but_the_experts_that_it_does_not_use(name: str) -> None:
    h = header(name)
    used = (
        h.of_arch("expert_used_count") / h.of_arch("expert_count")
        if h.of_arch("expert_count")
        else 0
    )
    expected = weights_of(h, *ALWAYS) + used * weights_of(h, "routed experts")
    assert weight_bytes_per_token(h, LoadConfig(4096)) == pytest.approx(expected, abs=1)
    assert read(h, LoadConfig(4096), filled=0) == Traffic(
        0, weight_bytes_per_token(h, LoadConfig(4096)), 0
    )
    whole = LoadConfig(4096, n_gpu_layers=999)
    assert read(h, whole, filled=0) == Traffic(weight_bytes_per_token(h, whole), 0, 0)
    f32 = header(name, "F32")  # four bytes a weight: what is read is what is counted as active
    assert weight_bytes_per_token(f32, LoadConfig(4096)) == pytest.approx(
        4 * count_parameters(f32).active, rel=1e-3
    )


def test_the_cache_as_far_as_it_is_filled() -> None:
    h, load_config = header(V3), LoadConfig(32768)
    per_token = kv_bytes_per_token(h)
    assert per_token == 70272
    for filled in (0.0, 0.25, 1.0):
        assert read(h, load_config, filled=filled).ram - read(
            h, load_config, filled=0
        ).ram == round(per_token * 32768 * filled)
    assert (
        read(h, dataclasses.replace(load_config, kv_type=GgmlType.Q8_0), filled=1).total
        < read(h, load_config, filled=1).total
    )


def test_each_tier_has_its_share() -> None:
    h, machine = header(V2), gpu_of(512, 640)
    whole, experts, layers = (
        LoadConfig(32768, n_gpu_layers=n, cpu_moe_layers=m) for n, m in ((61, 0), (61, 59), (30, 0))
    )
    everything = read(h, whole, machine)
    assert (everything.ram, everything.ssd) == (0, 0)
    moved = read(h, experts, machine)
    assert moved.ram == pytest.approx(weights_of(h, "routed experts") * 6 / 160, abs=1)
    half = read(h, layers, machine)
    assert half.gpu == pytest.approx(everything.gpu / 2, rel=0.05)  # the cache's half too
    assert everything.total == pytest.approx(moved.total, abs=2) == pytest.approx(half.total, abs=2)
    assert moved.ssd == 0


def test_embeddings_that_are_the_output_too_are_read_where_the_output_is() -> None:
    h = header(QWEN_7B)
    tied = dataclasses.replace(h, tensors=tuple(t for t in h.tensors if t.name != "output.weight"))
    embeddings = next(t.nbytes for t in h.tensors if t.name == "token_embd.weight")
    output = next(t.nbytes for t in h.tensors if t.name == "output.weight")
    assert (
        weight_bytes_per_token(tied, LoadConfig(512))
        == weight_bytes_per_token(h, LoadConfig(512)) - output + embeddings
    )
    assert read(tied, LoadConfig(512, n_gpu_layers=99)).ram == 0


def mac(cpu: str, cores: int, ram: int) -> Machine:
    budget = ram * GIB * 3 // 4
    return Machine(
        "macos",
        cpu,
        cores,
        ram * GIB,
        (ram - 8) * GIB,
        (Gpu(cpu, "metal", budget, budget),),
        unified=True,
    )


def speed_on(
    machine: Machine, name: str, quant: str = "Q4_K_M", rates: Rates | None = None
) -> Speed:
    found = make_plan(header(name, quant), machine)
    return forecast(
        header(name, quant), found.load_config, found.memory, machine, rates_for(machine, rates)
    )


def test_known_points() -> None:
    """Coder-V2 236B in Q4 on an M2 Ultra of 800 GB/s: 25 tokens/s, 12.9 GB a token. V3 in Q4 on an
    M3 Ultra: 16 to 18.

    The weights are 12.6 GB of these 12.9: a cache of some 4,600 tokens is the rest.
    """
    h = header(CODER)
    assert weight_bytes_per_token(h, LoadConfig(4096)) == pytest.approx(12.9e9, rel=0.03)
    assert weight_bytes_per_token(h, LoadConfig(4096)) + 4600 * kv_bytes_per_token(
        h
    ) == pytest.approx(12.9e9, rel=0.005)
    ultra = mac("Apple M2 Ultra", 16, 192)
    metal = GPU_EFFICIENCY["metal"]
    assert rates_for(ultra).gpu == pytest.approx(metal.share * 800e9)
    assert rates_for(ultra).gpu_layer == metal.layer
    found = speed_on(ultra, CODER)
    assert found.low < 25 < found.high
    assert found.middle == pytest.approx(25, rel=0.35)
    v3 = speed_on(mac("Apple M3 Ultra", 24, 512), V3)
    assert v3.low < 16
    assert v3.high > 18


@pytest.mark.parametrize(
    ("ram", "rate", "words"),
    [
        (8, 100, "a plain M chip"),
        (16, 100, "a plain"),
        (24, 200, "a Pro"),
        (36, 200, "a Pro"),
        (64, 400, "a Max"),
        (128, 400, "a Max"),
        (192, 800, "an Ultra"),
        (512, 800, "an Ultra"),
    ],
)
def test_a_described_mac_is_what_comes_with_that_much_ram(
    ram: int, rate: float, words: str
) -> None:
    machine = mac_of(ram)
    found = rates_for(machine)
    assert found.gpu == pytest.approx(rate * 1e9 * GPU_EFFICIENCY["metal"].share)
    assert found.ram == min(rate * 1e9 * CPU_EFFICIENCY.share, machine.cores * CORE_RATE)
    assert found.ssd == SSD_BANDWIDTH
    assert any(note.startswith(f"{words}") and f"{rate} GB/s" in note for note in machine.notes)


def test_a_described_mac_is_about_as_fast_as_a_real_one() -> None:
    found, real = speed_on(mac_of(512), V3), speed_on(mac("Apple M3 Ultra", 24, 512), V3)
    assert found.middle == pytest.approx(real.middle, rel=0.1)


def test_rates() -> None:
    plain = rates_for(describe_machine(64 * GIB))  # two channels of DDR5
    assert plain.gpu == 0
    assert plain.ram == pytest.approx(89.6e9 * CPU_EFFICIENCY.share)
    assert (plain.ram_layer, plain.ssd) == (CPU_EFFICIENCY.layer, SSD_BANDWIDTH)
    measured, cuda = Rates(0, 2e10, 5e9), GPU_EFFICIENCY["cuda"]
    card = rates_for(gpu_of(64, 24), measured)  # as an RTX 3090
    assert card.gpu == pytest.approx(936e9 * cuda.share)
    assert dataclasses.replace(card, gpu=0) == Rates(0, 2e10, 5e9, cuda.layer)
    assert rates_for(gpu_of(64, 24), Rates(7e11, 2e10, 5e9)).gpu == 7e11
    intel = Machine("macos", "Intel(R) Core(TM) i7", 6, 64 * GIB, 60 * GIB)
    assert rates_for(intel).ram == pytest.approx(OTHER_RAM * CPU_EFFICIENCY.share)
    few = dataclasses.replace(describe_machine(512 * GIB), cores=4)
    assert rates_for(few).ram == 4 * CORE_RATE  # four cores do not read 460 GB/s


def test_forecast_is_bytes_over_rates() -> None:
    h = header(QWEN_7B)
    load_config = LoadConfig(8192)
    rates = Rates(0, 1e10, 1e9)
    memory = footprint(h, load_config)
    found = forecast(h, load_config, memory, ROOMY, rates)
    empty, full = read(h, load_config, filled=0).total, read(h, load_config, filled=1).total
    assert (found.low, found.high) == pytest.approx(
        (1e10 / full * (1 - SPREAD), 1e10 / empty * (1 + SPREAD))
    )
    assert found.low < found.middle < found.high


def test_weights_of_each_type_are_read_at_their_own_rate() -> None:
    h, load_config = header(LITE, "Q4_K_M"), LoadConfig(8192)
    used = h.of_arch("expert_used_count") / h.of_arch("expert_count")
    types = {GgmlType.Q4_K: 6e9, GgmlType.Q6_K: 9e9}
    rates = Rates(0, 1.2e10, 1e9, ram_types=tuple(TypeRate(*one) for one in types.items()))
    seconds = 0.0
    for tensor in h.tensors:
        if tensor.name != "token_embd.weight":
            share = used if tensor_class(tensor.name) == ROUTED_EXPERTS else 1
            seconds += tensor.nbytes * share / types.get(tensor.type, 1.2e10)
    memory = footprint(h, load_config)
    found = tokens_per_s(h, load_config, memory, ROOMY, rates, 0.0)
    assert found == pytest.approx(1 / seconds, rel=1e-6)
    assert found < tokens_per_s(h, load_config, memory, ROOMY, Rates(0, 1.2e10, 1e9), 0.0)
    on_gpu = dataclasses.replace(load_config, n_gpu_layers=99)
    assert weight_reads(h, on_gpu).ram_types == ()


def test_layers_take_time_besides_reading() -> None:
    h, load_config = header(LITE), LoadConfig(8192, n_gpu_layers=99)
    routed = 26  # of 27 layers
    rates = Rates(1e12, 1e10, 1e9, LayerTime(1e-4, 1e-3), LayerTime(1e-2, 1e-1))
    assert layer_seconds(h, load_config, rates) == pytest.approx(27e-4 + routed * 1e-3)
    some = dataclasses.replace(load_config, cpu_moe_layers=6)
    assert layer_seconds(h, some, rates) == pytest.approx(27e-4 + 20e-3 + 0.6)
    none = dataclasses.replace(load_config, n_gpu_layers=0)
    assert layer_seconds(h, none, rates) == pytest.approx(0.27 + routed * 0.1)
    memory = footprint(h, load_config)
    free = dataclasses.replace(rates, gpu_layer=LayerTime(), ram_layer=LayerTime())
    with_layers, without = (
        forecast(h, load_config, memory, ROOMY, one).middle for one in (rates, free)
    )
    assert with_layers < without


def test_dense_weights_miss_whole_when_they_do_not_fit() -> None:
    h, load_config = header(QWEN_32B), LoadConfig(4096)
    memory = footprint(h, load_config)
    weights = weight_bytes_per_token(h, load_config)
    assert read(h, load_config, with_available(memory.all.host)).ssd == 0
    short = read(h, load_config, with_available(memory.all.host - 1), filled=1)
    assert short.ssd == weights
    assert short.ram == kv_bytes_per_token(h) * 4096  # the cache is never on the SSD


def test_experts_miss_as_far_as_they_do_not_fit() -> None:
    h, load_config = header(V3), LoadConfig(4096)
    memory = footprint(h, load_config)
    routed = weights_of(h, "routed experts")
    always = weights_of(h, *ALWAYS)
    rest = memory.all.host - memory.weights.host
    half = read(h, load_config, with_available(round(rest + always + routed / 2)))
    assert half.ssd == pytest.approx(routed * 8 / 256 / 2, rel=1e-6)
    none = read(h, load_config, with_available(rest + always + 1))
    assert none.ssd == pytest.approx(routed * 8 / 256, rel=1e-3)
    assert read(h, load_config, with_available(rest + always - 1)).ssd == weight_bytes_per_token(
        h, load_config
    )


def test_from_the_ssd_is_slow() -> None:
    found = speed_on(describe_machine(64 * GIB), V3)
    assert 0.05 < found.low < found.high < 1
    assert (
        speed_on(gpu_of(64, 24), V3).middle > found.middle
    )  # what every token reads is on the GPU
    dense = speed_on(describe_machine(16 * GIB), LLM)
    assert dense.middle < SSD_BANDWIDTH / weight_bytes_per_token(header(LLM), LoadConfig(4096))


@given(
    st.sampled_from([QWEN_32B, LITE, V2, V3, LLM]),
    st.integers(1, 600),
    st.integers(0, 200),
    st.booleans(),
)
def test_more_ram_is_never_slower(name: str, ram: int, more: int, stream: bool) -> None:
    h, load_config = header(name), LoadConfig(4096, stream_experts=stream)
    memory, rates = footprint(h, load_config), Rates(0, 2e10, 3e9)
    small, large = (
        forecast(h, load_config, memory, with_available(n * GIB), rates) for n in (ram, ram + more)
    )
    assert small.low <= large.low
    assert small.high <= large.high


def test_the_cache_of_a_legacy_file_counts_as_it_is(tmp_path: Path) -> None:
    old, new = (
        read_header(write_header(tmp_path, "v3", legacy=legacy)) for legacy in (True, False)
    )
    grown = [
        read(h, LoadConfig(32768), filled=1).total - read(h, LoadConfig(32768), filled=0).total
        for h in (old, new)
    ]
    assert grown[0] == pytest.approx(71 * grown[1], rel=0.005)
