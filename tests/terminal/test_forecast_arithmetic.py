"""Proves that a forecast follows from the lines that are printed above it: whoever computes them
with a calculator gets the printed ends, for every kind of model and machine.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.machines.planning import (
    GIB,
    LITE,
    LLM,
    QWEN_7B,
    QWEN_32B,
    V2,
    V3,
    gpu_of,
    header,
    mac_of,
)
from support.terminal.calculator import assert_right, equations, evaluate, quantities, rounded

from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.assessment import Assessment, PlannedModel, assess
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Gpu, Machine
from dslocal.plan.machine.remote import RemoteDevice
from dslocal.plan.overrides import NO_OVERRIDES, Overrides
from dslocal.plan.speed import CPU_EFFICIENCY, Rates, TypeRate, rates_for
from dslocal.terminal.reports.arithmetic.figures import Row, figure
from dslocal.terminal.reports.arithmetic.forecast_rows import forecast_rows, kv_cache_split
from dslocal.terminal.reports.fit_arithmetic import kv_cache_lines
from dslocal.terminal.reports.speed_text import short_number

V4 = "deepseek-v4-flash"
MEASURED = Rates(0.0, 17e9, 2.4e9)
BY_TYPE = replace(
    MEASURED,
    ram_layer=CPU_EFFICIENCY.layer,
    ram_types=tuple(
        TypeRate(kind, rate)
        for kind, rate in (
            (GgmlType.Q2_K, 8.2e9),
            (GgmlType.Q3_K, 7.9e9),
            (GgmlType.Q4_K, 12.3e9),
            (GgmlType.Q6_K, 15.1e9),
        )
    ),
    ssd_requests=12,
)
WORKER = RemoteDevice("10.0.0.7:50052", 0, "a CPU", "cpu", 6 * GIB, 6 * GIB, 21e9, 0.0003)


def cpu(ram: int) -> Machine:
    return describe_machine(ram * GIB)


def two_gpus() -> Machine:
    cards = tuple(
        Gpu(name, "cuda", size * GIB, size * GIB, rate)
        for name, size, rate in (("one", 24, 936e9), ("other", 16, 448e9))
    )
    return replace(cpu(64), gpus=cards)


def with_worker(machine: Machine) -> Machine:
    return replace(machine, rate=rates_for(machine).ram, workers=(WORKER,))


WINDOWS = replace(cpu(64), os="windows")
CASES: dict[str, tuple[str, Machine, str, Overrides]] = {
    "a CPU": (QWEN_7B, cpu(16), "cpu", NO_OVERRIDES),
    "few cores": (QWEN_7B, replace(cpu(256), cores=4), "cpu", NO_OVERRIDES),
    "a CPU, with experts": (LITE, cpu(32), "cpu", NO_OVERRIDES),
    "a small cache": (LITE, cpu(32), "cpu", Overrides(n_ctx=5000, kv_type=GgmlType.Q8_0)),
    "a GPU": (QWEN_32B, gpu_of(64, 24), "gpu", NO_OVERRIDES),
    "two GPUs that differ": (QWEN_32B, two_gpus(), "gpu", NO_OVERRIDES),
    "a Mac": (V3, mac_of(512), "gpu", NO_OVERRIDES),
    "some layers on the GPU": (QWEN_32B, gpu_of(64, 12), "offload", NO_OVERRIDES),
    "experts in RAM": (V2, gpu_of(192, 24), "offload", NO_OVERRIDES),
    "V4": (V4, gpu_of(256, 24), "offload", NO_OVERRIDES),
    "experts from the SSD": (V3, cpu(64), "ssd", NO_OVERRIDES),
    "experts from the SSD, beside a GPU": (V3, gpu_of(64, 24), "ssd", NO_OVERRIDES),
    "experts of V4 from the SSD": (V4, cpu(64), "ssd", NO_OVERRIDES),
    "few experts from the SSD": (V3, cpu(232), "ssd", NO_OVERRIDES),
    "some experts from the SSD": (V3, cpu(160), "ssd", NO_OVERRIDES),
    "page by page": (V3, WINDOWS, "ssd", NO_OVERRIDES),
    "dense weights from the SSD": (LLM, cpu(16), "ssd", NO_OVERRIDES),
    "what every token reads does not fit": (V3, cpu(8), "ssd", NO_OVERRIDES),
    "two machines": (QWEN_7B, with_worker(cpu(4)), "workers", NO_OVERRIDES),
    "two machines, with experts": (LITE, with_worker(cpu(8)), "workers", NO_OVERRIDES),
}
RATES = {"described": None, "measured": MEASURED, "measured by type": BY_TYPE}


def assessed(name: str, measured: Rates | None) -> tuple[Assessment, list[Row]]:
    """Return a case's forecast and what is printed of it."""
    model, machine, verdict, overrides = CASES[name]
    quant = "Q2_K" if model == V3 else "Q4_K_M"
    rates = rates_for(machine, measured)
    planned = PlannedModel(model, quant, header(model, quant))
    found = assess(planned, machine, rates, overrides)
    assert found.plan.verdict == verdict
    lines = [("", line) for line in kv_cache_lines(found)]
    return found, [*lines, *kv_cache_split(found), *forecast_rows(found, rates, machine)]


@pytest.mark.parametrize("measured", RATES.values(), ids=RATES)
@pytest.mark.parametrize("name", CASES)
def test_every_line_is_right_and_leads_to_the_ends(name: str, measured: Rates | None) -> None:
    found, rows = assessed(name, measured)
    texts = [text for _, text in rows]
    for text in texts:
        assert_right(text)
    ends = [text for title, text in rows if title in ("speed:", "low end:", "high end:")]
    for text, end in zip(ends, (found.speed.low, found.speed.high), strict=True):
        said = text.rpartition(" = ")[2]
        assert said == f"{figure(end)} tokens/s"
        assert evaluate(text.partition(" = ")[0]).meets(rounded(figure(end), "tokens/s"))


@pytest.mark.parametrize("measured", RATES.values(), ids=RATES)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2] != "workers"])
def test_nothing_is_used_that_is_not_shown_before(name: str, measured: Rates | None) -> None:
    found, rows = assessed(name, measured)
    headings = [number for number, (title, _) in enumerate(rows) if not title]
    first_end = next(n for n in headings if rows[n][1].startswith("low end"))
    shown = {quantity for _, text in rows[:first_end] for quantity in quantities(text)}
    for title, text in rows[first_end:]:
        for left, _ in equations(text):
            assert set(quantities(left)) <= shown, (title, text)
        shown.update(quantities(text))
    assert rows[-1][0] == "forecast:"
    for end in (found.speed.low, found.speed.middle, found.speed.high):
        assert short_number(end) in rows[-1][1]


def test_what_cannot_be_run_has_no_forecast() -> None:
    machine = cpu(1)
    rates = rates_for(machine)
    found = assess(PlannedModel(V3, "Q4_K_M", header(V3)), machine, rates)
    assert found.plan.verdict == "no"
    assert list(forecast_rows(found, rates, machine)) == []


@pytest.mark.parametrize(
    "line",
    [
        "RAM: (1,000 MB + 20.0 MB of KV cache) / 10.00 GB/s = 103.0 ms",
        "together: 10.00 ms + 30.00 ms / 3 + 1.000 ms = 22.00 ms",
        "H(2.500) / H(4) = 1.667 / 2.083 = 81.00 %",
        "61 layers × 576 values in q8_0 = 70,272 bytes a token",
    ],
)
def test_the_calculator_notices_what_is_wrong(line: str) -> None:
    with pytest.raises(AssertionError):
        assert_right(line)


FIGURES = [
    (0, "0"),
    (0.012345, "0.01235"),
    (9.9999, "10.00"),
    (-2.5, "-2.500"),
    (58.24, "58.24"),
    (9441.6, "9,442"),
]


def test_figures_have_four_digits() -> None:
    for value, text in FIGURES:
        assert figure(value) == text
