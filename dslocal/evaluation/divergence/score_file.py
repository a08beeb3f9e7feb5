"""Scores of a model's tokens on the disk: an interrupted run is resumed, a finished one read.

A line of JSON says which model and reference they belong to and how long they are; the scores
follow as they are in memory.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from dslocal.files import write_atomic

from .log_probabilities import SCORE, Scores

MARK = "dslocal_scores"  # the first key; its value is the format
FORMAT = 1
MAX_BYTES = 1 << 33
MAX_LINE = 1000  # bytes


def read_scores(path: Path, identity: str) -> Scores:
    """Return the scores in a file; none where it is missing, damaged, or of something else."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return _none()
        with path.open("rb") as file:
            line = json.loads(file.readline(MAX_LINE))
            data = file.read()
    except (OSError, ValueError, RecursionError):
        return _none()
    if line != _line(data, identity) or len(data) % SCORE.itemsize:
        return _none()
    return np.frombuffer(data, SCORE).copy()


def write_scores(path: Path, identity: str, scores: Scores, *, beside: Path) -> None:
    """Write scores, durably; ``beside`` is written first, and is this process's alone.

    Raises:
        OSError: They cannot be written.
    """
    data = scores.tobytes()
    write_atomic(path, json.dumps(_line(data, identity)).encode() + b"\n" + data, beside=beside)


def _line(data: bytes, identity: str) -> dict[str, str | int]:
    return {MARK: FORMAT, "of": identity, "bytes": len(data), "crc32": zlib.crc32(data)}


def _none() -> Scores:
    return np.zeros(0, SCORE)
