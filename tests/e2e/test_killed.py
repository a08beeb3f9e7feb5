"""Proves that a chat survives kill -9 with every finished turn, and that two chats at once do not
disturb each other.

``tests/benchmarks/kill_chat.py`` does the same 30 times.
"""

from __future__ import annotations

from pathlib import Path

from support.chat.killed_chats import run_trials
from support.cli.running import Run


def test_finished_turns_survive(run: Run, tmp_path: Path) -> None:
    """Proves it for a few kills: turns in order, files for their owner alone, no damaged line."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    trials = run_trials(Run(tmp_path), 3, seed=5)
    assert trials.finished
    assert sum(trials.kills.values()) == 3
