"""Fixtures of the tests of ``dslocal.quality``: tiny models, and a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoints.tiny_models import TEXT, write_models
from support.evaluation.quality_calls import QualityCall


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    (made / "text.txt").write_text(TEXT)
    return made


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSLOCAL_HOME", str(tmp_path / "home"))


@pytest.fixture
def call(folder: Path) -> QualityCall:
    return QualityCall(folder / "text.txt")


@pytest.fixture(scope="module")
def dense(folder: Path) -> list[Path]:
    """The reference and the model of the dense kind."""
    return write_models(folder, "dense", ("F16", "Q4_0"))
