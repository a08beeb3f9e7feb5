"""Proves which model is recommended on which machine, without a network or a measurement."""

from __future__ import annotations

import pytest
from support.machines.planning import GIB, REGISTRY

from dslocal.api.planning import recommendation
from dslocal.plan.machine import probe
from dslocal.plan.machine.described import describe_machine
from dslocal.plan.machine.machine import Machine
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


def test_this_machine_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe_machine", lambda: describe_machine(64 * GIB))
    monkeypatch.setattr("dslocal.engine.measuring.calibrate.measured_rates", None)
    assert recommendation.best_model_here() is not None


def test_the_models_that_are_recommended_answer_questions_and_are_current() -> None:
    recommended = [entry for entry in REGISTRY.values() if entry.recommended]
    assert all(entry.is_usual and entry.gguf for entry in recommended)
    places = sorted(entry.recommended for entry in recommended)
    assert places == list(range(1, len(places) + 1))
    assert {entry.replaced_by for entry in REGISTRY.values()} - {""} <= set(REGISTRY)
