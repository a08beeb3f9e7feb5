"""Proves what a forecast makes of experts that are read ahead from the SSD."""

from __future__ import annotations

import dataclasses

import pytest
from support.machines.planning import GIB, V3, header, weights_of, with_available

from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.speed import (
    CPU_EFFICIENCY,
    SPREAD,
    LayerTime,
    Rates,
    TokenTime,
    Traffic,
    forecast,
    forecast_times,
    layer_seconds,
    tokens_per_s,
    traffic,
    waited_share,
)


def test_experts_are_read_while_others_are_used() -> None:
    """Proves the sum: what is not an expert, then the longer of reading and using the experts, and
    a third of the shorter; the slower end for experts that are chosen equally often.
    """
    h, config = header(V3), LoadConfig(4096, stream_experts=True)
    memory, machine = footprint(h, config), with_available(64 * GIB)
    found = traffic(h, config, memory, machine, filled=0)
    used = weights_of(h, "routed experts") * 8 / 256
    for ram, ssd in ((2e10, 1e9), (2e9, 1e12)):  # waiting for the disk, and for the CPU
        always = (found.ram + found.ssd - used) / ram
        reading, using = found.ssd / ssd, used / ram
        expected = always + max(reading, using) + min(reading, using) / 3
        speed = tokens_per_s(h, config, memory, machine, Rates(0, ram, ssd), 0.0)
        assert speed == pytest.approx(1 / expected, rel=1e-6)


SHARES = {  # seconds of reading for one of computing: seconds of both together
    "a disk that is slow": (20.0, 401**0.5),
    "reading takes twice as long": (2.0, 5**0.5),
    "as long": (1.0, 2**0.5),
    "half as long": (0.5, 1.25**0.5),
    "a disk that is fast": (0.05, 1.0025**0.5),
    "nothing is missing": (0.0, 1.0),
}


@pytest.mark.parametrize("name", SHARES)
def test_experts_that_are_guessed_are_read_while_all_else_is_computed(name: str) -> None:
    reading, together = SHARES[name]
    missing = 5 * 10**8 if reading else 0
    rates = Rates(0, ram=1e9, ssd=missing / reading if reading else 1e9)
    found = TokenTime(Traffic(0, 10**9 - missing, missing), 6e8, rates, 0.1, guessed=True)
    assert found.computing == pytest.approx(1.0)
    assert found.seconds == pytest.approx(together + 0.1)


DISKS = {  # bytes a second and requests at a time
    "SATA": (0.5e9, 4),
    "NVMe": (3e9, 8),
    "a fast NVMe": (7e9, 16),
    "as fast as RAM": (5e10, 32),
}


@pytest.mark.parametrize("name", DISKS)
@pytest.mark.parametrize("ram", [2e10, 2e11])
@pytest.mark.parametrize("gib", [32, 128])
def test_forecasts_are_between_what_disk_and_cores_give(name: str, ram: float, gib: int) -> None:
    """Proves that no part of a token is left out on slow and fast disks: it takes no less than
    reading and no less than computing, and no more than both and the pauses.
    """
    h, config = header(V3), LoadConfig(4096, stream_experts=True)
    ssd, requests = DISKS[name]
    rates = Rates(0, ram, ssd, ram_layer=CPU_EFFICIENCY.layer, ssd_requests=requests)
    memory, machine = footprint(h, config), with_available(gib * GIB)
    for time in forecast_times(h, config, memory, machine, rates):
        assert time.read.ssd > 0
        assert time.seconds >= max(time.ssd, time.computing) + time.layers
        assert time.seconds <= time.ssd + time.computing + time.layers
        assert 0.03 < time.layers < 0.2


@pytest.mark.parametrize(
    ("missing", "requests", "share"),
    [
        (8, 1, 1 / 3),  # one after the other: the first matrices are a third
        (8, 8, 1 / 3),
        (4, 8, 8 / 12),  # 12 matrices, of which 8 come at the same time
        (8 / 3, 8, 1),
        (0.5, 8, 1),
    ],
)
def test_pieces_that_are_read_at_once_come_at_once(
    missing: float, requests: int, share: float
) -> None:
    assert waited_share(missing, requests) == pytest.approx(share)


def test_reading_few_experts_does_not_overlap_with_using_them() -> None:
    h, config = header(V3), LoadConfig(4096, stream_experts=True)
    memory, rates = footprint(h, config), Rates(0, 2e10, 3e9, ssd_requests=8)
    used = weights_of(h, "routed experts") * 8 / 256
    machine = with_available(memory.all.host - 8 * GIB)
    found = traffic(h, config, memory, machine, filled=0)
    assert 0 < found.ssd < used / 3
    seconds = (found.ram + found.ssd) / 2e10 + found.ssd / 3e9
    assert tokens_per_s(h, config, memory, machine, rates, 0.0) == pytest.approx(1 / seconds)


def test_experts_that_are_read_ahead_take_pauses() -> None:
    h, config = header(V3), LoadConfig(4096)
    rates = Rates(0, 2e10, 3e9, ram_layer=LayerTime(streamed=1e-3))
    assert layer_seconds(h, config, rates) == 0
    ahead = dataclasses.replace(config, stream_experts=True)
    assert layer_seconds(h, ahead, rates) == pytest.approx(58e-3)
    beside_gpu = dataclasses.replace(ahead, n_gpu_layers=99, cpu_moe_layers=99)
    assert layer_seconds(h, beside_gpu, rates) == pytest.approx(58e-3)


def test_a_skewed_router_is_the_high_end() -> None:
    h, config = header(V3), LoadConfig(4096, stream_experts=True)
    memory, machine = footprint(h, config), with_available(128 * GIB)
    rates = Rates(0, 2e10, 1e9)
    likely = traffic(h, config, memory, machine, filled=0, skewed=True)
    assert 0 < likely.ssd < traffic(h, config, memory, machine, filled=0).ssd
    found = forecast(h, config, memory, machine, rates)
    equally = tokens_per_s(h, config, memory, machine, rates, 0.0)
    assert found.low < equally < found.high
    assert found.high == pytest.approx(
        tokens_per_s(h, config, memory, machine, rates, 0.0, skewed=True) * (1 + SPREAD)
    )
