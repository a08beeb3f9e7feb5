"""Proves that a few hundred checkpoints with random damage end in a GGUF or a DslocalError, and in
no file that is left.

The same cases every time; tests/benchmarks/fuzz_headers.py continues from here for as long as one
likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoints.fuzzer import Fuzzer, bases

CASES = 60


@pytest.mark.parametrize("base", bases())
def test_damage_is_understood(base: str, tmp_path: Path) -> None:
    fuzzer = Fuzzer(base, tmp_path)
    endings = [fuzzer.attempt(seed) for seed in range(CASES)]
    assert (
        len({ending for ending in endings if ending}) > CASES // 4
    )  # it does reach many different refusals
    assert "" in endings
