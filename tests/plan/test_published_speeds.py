"""Proves that the published speeds are well-formed, and that forecasts are near most of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.machines.planning import REGISTRY

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from published_speeds import FILE, forecast, published_speeds

from dslocal.errors import DslocalError

ROWS = list(published_speeds())


def test_rows_name_models_machines_and_sources() -> None:
    assert len(ROWS) >= 10
    assert {row.model for row in ROWS} <= set(REGISTRY)
    assert all(0 < row.tokens_per_s < 1000 for row in ROWS)


def test_most_forecasts_are_within_a_third() -> None:
    errors = [forecast(row) / row.tokens_per_s for row in ROWS]
    near = [error for error in errors if 3 / 4 < error < 4 / 3]
    assert len(near) >= 0.8 * len(errors)
    assert all(0.4 < error < 2.5 for error in errors)


def test_forecasts_of_v4_are_within_a_half() -> None:
    rows = [row for row in ROWS if "v4" in row.model]
    assert len(rows) >= 10
    for row in rows:
        assert 2 / 3 < forecast(row) / row.tokens_per_s < 1.5, row


@pytest.mark.parametrize(
    ("old", "new"),
    [("source: dai}", "source: somebody}"), ("tokens_per_s: 10.2", "tokens_per_s: fast")],
)
def test_a_damaged_row_is_refused(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "speeds.yaml"
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DslocalError, match=r"speeds.yaml:\d+: "):
        list(published_speeds(file))
