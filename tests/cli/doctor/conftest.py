"""A home of its own for each test of ``dslocal doctor``."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli.running import Run


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "cache").symlink_to(run.home / "cache")
    return Run(tmp_path / "home")
