"""Proves how many answers at once a server plans for: as requested, else as many as do not shorten
the context of one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dslocal.cli.serving.serve_options import DEFAULT_SLOTS
from dslocal.cli.serving.slot_count import with_slots
from dslocal.errors import DoesNotFitError
from dslocal.gguf.header import read_header
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Machine
from dslocal.plan.overrides import Overrides
from dslocal.plan.search import make_plan

ROOMY = Machine("linux", "test", 2, 1 << 34, 1 << 34)
AUTO = Overrides(mtp=None)


def need(nano: Path, several: int) -> int:
    """Bytes that a plan for so many takes where there is plenty."""
    return make_plan(read_header(nano), ROOMY, Overrides(n_seq=several)).memory.all.host


def overrides(
    nano: Path, monkeypatch: pytest.MonkeyPatch, parallel: int | None, available: int
) -> Overrides:
    monkeypatch.setattr(probe, "probe_machine", lambda: replace(ROOMY, available=available))
    return with_slots(nano, read_header(nano), parallel, AUTO)


@pytest.mark.parametrize(
    ("parallel", "available", "several"),
    [
        (None, lambda nano: 1 << 34, DEFAULT_SLOTS),
        (None, lambda nano: round(need(nano, 3) * 1.025), 3),
        (None, lambda nano: round(need(nano, 1) * 1.025), 1),
        (2, lambda nano: 1 << 34, 2),
        (1, lambda nano: 1 << 34, 1),
        (8, lambda nano: round(need(nano, 2) * 1.025), 8),
    ],
    ids=[
        "plenty",
        "room for three",
        "room for one",
        "as asked",
        "one",
        "as asked, with less for each",
    ],
)
def test_how_many(
    nano: Path,
    monkeypatch: pytest.MonkeyPatch,
    parallel: int | None,
    available: object,
    several: int,
) -> None:
    assert callable(available)
    found = overrides(nano, monkeypatch, parallel, available(nano))
    assert found.n_seq == several
    assert found.mtp is (None if several == 1 else False), "one alone drafts"


def test_too_many_are_refused_when_planned(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dslocal.engine import loader

    wanted = overrides(nano, monkeypatch, 64, round(need(nano, 1) * 1.025))
    with pytest.raises(DoesNotFitError):
        loader.plan_for(nano, read_header(nano), replace(wanted, n_ctx=4096))
