"""Proves that a chat survives kill -9 with every finished turn, and that two chats at once do not
disturb each other.

``tests/benchmarks/kill_chat.py`` does the same 30 times.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat.killed_chats import run_trials
from support.cli.running import Run


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_finished_turns_survive(run: Run, tmp_path: Path, kills: int) -> None:
    """Proves that turns are in order, files for their owner alone, and no line is damaged."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    trials = run_trials(Run(tmp_path), kills, seed=5)
    assert trials.finished
    assert sum(trials.kills.values()) == kills
