"""Proves that llama.cpp's own sizing is the last word on a plan for this machine, and that a plan
stands where it has none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dslocal.engine import loader
from dslocal.engine.sizing import no_alloc
from dslocal.errors import EngineError
from dslocal.gguf.header import read_header
from dslocal.plan.load_config import DeviceShare, LoadConfig, MemoryUse
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Machine
from dslocal.plan.overrides import NO_OVERRIDES, Overrides
from dslocal.plan.search import make_plan

MIB = 1 << 20
ROOMY = Machine("linux", "test", 2, 1 << 34, 1 << 34)


def test_the_real_sizing_agrees_with_the_plan(nano: Path) -> None:
    header = read_header(nano)
    planned = make_plan(header, ROOMY)
    checked = loader.verify_plan(nano, header, planned, ROOMY, NO_OVERRIDES)
    assert checked.load_config == planned.load_config
    assert checked.memory == planned.memory


def test_more_than_was_planned_makes_another_plan(
    nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = read_header(nano)
    first = make_plan(header, ROOMY)
    tight = replace(ROOMY, available=round(first.memory.all.host * 1.03))
    planned = make_plan(header, tight)

    def larger(_: Path, load_config: LoadConfig, **__: object) -> MemoryUse:
        return replace(
            planned.memory, compute=DeviceShare(0, planned.memory.compute.host + 30 * MIB)
        )

    monkeypatch.setattr(no_alloc, "exact_memory_use", larger)
    checked = loader.verify_plan(nano, header, planned, tight, NO_OVERRIDES)
    assert checked.memory.all.host < planned.memory.all.host
    assert checked.gave_up
    chosen = Overrides(
        n_ctx=planned.load_config.n_ctx,
        kv_type=planned.load_config.kv_type,
        n_ubatch=planned.load_config.n_ubatch,
    )
    assert loader.verify_plan(nano, header, planned, tight, chosen).verdict in ("ssd", "no")


def test_a_plan_stands_where_llama_cpp_cannot_size(
    nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> MemoryUse:
        raise EngineError("no")

    monkeypatch.setattr(no_alloc, "exact_memory_use", refuses)
    header = read_header(nano)
    planned = make_plan(header, ROOMY)
    assert loader.verify_plan(nano, header, planned, ROOMY, NO_OVERRIDES) is planned


@pytest.mark.parametrize(("share", "asked"), [(0.5, False), (0.97, True)])
def test_only_a_tight_plan_is_checked_before_an_answer(
    nano: Path, monkeypatch: pytest.MonkeyPatch, share: float, asked: bool
) -> None:
    header = read_header(nano)
    need = make_plan(header, ROOMY).memory.all.host
    calls: list[Path] = []

    def count(path: Path, *_: object, **__: object) -> MemoryUse:
        calls.append(path)
        raise EngineError("counted")

    monkeypatch.setattr(no_alloc, "exact_memory_use", count)
    monkeypatch.setattr(
        probe, "probe_machine", lambda: replace(ROOMY, available=round(need / share))
    )
    loader.plan_for(nano, header)
    assert bool(calls) is asked
