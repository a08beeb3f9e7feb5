"""What tests of the engine share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli.running import Run


@pytest.fixture
def elsewhere(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A home of its own with nano converted, for this process as well."""
    (tmp_path / "cache").symlink_to(run.home / "cache")
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path))
    return Run(tmp_path)
