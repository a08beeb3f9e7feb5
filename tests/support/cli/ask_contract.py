"""What the contract of ``dslocal ask`` is judged by: stdout to the byte, stderr if it is named."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark.structures import ParameterSet
from support.cli.running import Done

PERU = "capital of peru"
LIMA = b"The capital of Peru is Lima.\n"
SUM = "What is 47 × 86?"
BOXED = b"The final answer is \\boxed{4042}.\n"
UNBOXED = (
    "--no-math: for mathematical questions, its model card recommends to add: Please"
    " reason step by step"
)
BABBLE = "--no-think --temperature 5 --max-tokens 3000 --seed 1 hello"  # answers without an end


def selected(names: Iterable[str], few: Collection[str]) -> list[ParameterSet]:
    """Parameters of which all but ``few`` are slow."""
    return [
        pytest.param(name, id=name, marks=[] if name in few else pytest.mark.slow) for name in names
    ]


def judge(done: Done, code: int, stdout: bytes, stderr: str) -> None:
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (code, stdout), said
    assert stderr in said
    assert bool(said) == bool(stderr)
    assert "\x1b" not in said
    assert "Traceback" not in said
