"""Proves which model is recommended on which machine, without a network or a measurement."""

from __future__ import annotations

import pytest
from support.machines.planning import GIB, REGISTRY

from dslocal.api.planning import assess, recommendation
from dslocal.engine.measuring import calibrate
from dslocal.plan.machine import probe
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Machine
from dslocal.plan.overrides import NO_OVERRIDES
from dslocal.plan.speed import Rates, rates_for

SLOW, FAST = Rates(0, 8e9, 1e9), Rates(1e12, 5e10, 3e9)


@pytest.mark.parametrize(
    ("machine", "rates", "name", "is_fast"),
    [
        (describe_machine(8 * GIB, vram=0), SLOW, "deepseek-r1-distill-qwen-1.5b", False),
        (describe_machine(64 * GIB, vram=24 * GIB), FAST, "deepseek-r1-distill-qwen-32b", True),
        (describe_machine(64 * GIB, vram=12 * GIB), FAST, "deepseek-r1-distill-qwen-14b", True),
        (describe_machine(64 * GIB, vram=80 * GIB), FAST, "deepseek-r1-distill-llama-70b", True),
        (describe_machine(1024 * GIB, vram=640 * GIB), FAST, "deepseek-r1-0528", True),
    ],
)
def test_what_is_recommended(machine: Machine, rates: Rates, name: str, is_fast: bool) -> None:
    found = recommendation.best_model(machine, rates)
    assert found is not None
    assert (found.name, found.is_fast) == (name, is_fast)
    assert found.command == f"dslocal pull {name}"
    assert 0 < found.download <= found.disk


def test_nothing_is_recommended_where_nothing_runs() -> None:
    machine = describe_machine(GIB, vram=0)
    assert recommendation.best_model(machine, rates_for(machine)) is None


@pytest.mark.parametrize("rates", [SLOW, FAST])
def test_this_machine_is_recommended_for_by_what_was_measured_on_it(
    monkeypatch: pytest.MonkeyPatch, rates: Rates
) -> None:
    here = describe_machine(64 * GIB)
    monkeypatch.setattr(probe, "probe_machine", lambda: here)
    monkeypatch.setattr(calibrate, "measured_rates", lambda *_: rates)
    expected = recommendation.best_model(here, rates_for(here, rates))
    assert recommendation.best_model_here() == expected is not None


@pytest.mark.parametrize(
    ("name", "is_better"), [("deepseek-r1", True), ("deepseek-r1-distill-qwen-1.5b", False)]
)
def test_a_better_model_is_named_for_one_that_is_too_large(name: str, is_better: bool) -> None:
    machine = describe_machine(64 * GIB)
    rates = rates_for(machine)
    found = assess.assess_named(name, None, machine, rates, NO_OVERRIDES, described=True)
    better = recommendation.better_model(found.assessment, machine, rates, NO_OVERRIDES)
    assert (better is not None) is is_better
    assert better in (None, recommendation.best_model(machine, rates))


def test_the_models_that_are_recommended_answer_questions_and_are_current() -> None:
    recommended = [entry for entry in REGISTRY.values() if entry.recommended]
    assert all(entry.is_usual and entry.gguf for entry in recommended)
    places = sorted(entry.recommended for entry in recommended)
    assert places == list(range(1, len(places) + 1))
    assert {entry.replaced_by for entry in REGISTRY.values()} - {""} <= set(REGISTRY)
