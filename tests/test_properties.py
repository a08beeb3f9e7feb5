"""Proves that properties hold for new random examples in every run; the other tests use the same
ones each time.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.cli.running import BINARY, clean_environment

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_properties_hold_for_random_examples() -> None:
    selected = ["-n", "0", "-m", "hypothesis", "--hypothesis-profile", "random"]
    done = subprocess.run(
        [str(BINARY.with_name("pytest")), *selected, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
