"""Waiting for something to become true, however busy the machine is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

LIMIT_S = 60.0
LOOK_EVERY_S = 0.005


def wait_until(
    fact: Callable[[], object],
    process: subprocess.Popen[Any] | None = None,
    *,
    limit_s: float = LIMIT_S,
) -> None:
    """Wait until ``fact()`` is true.

    Raises:
        AssertionError: It did not become true within ``limit_s``, or ``process`` ended before.
    """
    deadline = time.monotonic() + limit_s
    while not fact():
        assert process is None or process.poll() is None, f"ended before: {process.communicate()}"
        assert time.monotonic() < deadline, f"not true after {limit_s:.0f} seconds"
        time.sleep(LOOK_EVERY_S)
