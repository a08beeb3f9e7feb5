"""Fixtures of the tests of streams and downloads: a small checkpoint, and a hub that has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub.hub_runs import Rig, rig
from support.hub.stream_trials import small_checkpoint


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of a V3-like FP8 checkpoint, less than 1 MB. Not to be written to."""
    return small_checkpoint(tmp_path_factory.mktemp("small"))


@pytest.fixture
def calm(small: Path, tmp_path: Path) -> Iterator[Rig]:
    """A hub with the small checkpoint, and empty folders for all that a run may write."""
    with rig(tmp_path / "rig", small) as it:
        yield it
