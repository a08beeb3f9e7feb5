"""A machine for the tests of ``dslocal fit``."""

from __future__ import annotations

import json

import pytest
from support.cli.fit_answers import HERE
from support.cli.running import Run

from dslocal.plan.machine import probe


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """This machine is always the same, and its rates are known."""
    monkeypatch.setattr(probe, "probe_machine", lambda: HERE)
    state = run.home / "state"
    state.mkdir(exist_ok=True)
    (state / "memory-rates.json").write_text(
        json.dumps({f"{HERE.cpu} × {HERE.cores}": {"ram": 2e10, "ssd": 3e9}})
    )
