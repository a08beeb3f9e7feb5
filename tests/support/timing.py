"""Limits of time, for tests that are marked ``timed``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail unless the body ends within ``seconds``."""
    began = time.perf_counter()
    yield
    took = time.perf_counter() - began
    assert took <= seconds, f"took {took:.2f} seconds, at most {seconds:g} are allowed"
