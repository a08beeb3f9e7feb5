"""Waiting for something to become true, however busy the machine is.

A limit only ends a run that hangs. It counts the time in which this process runs: one that is
stopped meanwhile, or on a machine that sleeps, does not use it up.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any, AnyStr

LIMIT_S = 60.0
LOOK_EVERY_S = 0.005
STEP_S = 1.0  # the most that counts between two looks


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
    waited_s, looked = 0.0, time.monotonic()
    while not fact():
        assert process is None or process.poll() is None, f"ended before: {process.communicate()}"
        assert waited_s < limit_s, f"not true after {limit_s:.0f} seconds"
        time.sleep(LOOK_EVERY_S)
        now = time.monotonic()
        waited_s += min(now - looked, STEP_S)
        looked = now


def output_of(
    process: subprocess.Popen[AnyStr], sent: AnyStr | None = None, *, limit_s: float = LIMIT_S
) -> tuple[AnyStr, AnyStr]:
    """Return what ``process`` writes to stdout and stderr until it ends.

    Args:
        process: A process.
        sent: What it gets on stdin.
        limit_s: After so long it is killed.

    Raises:
        AssertionError: It did not end.
    """
    for step in range(round(limit_s / STEP_S)):
        try:
            return process.communicate(sent if step == 0 else None, timeout=STEP_S)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    raise AssertionError(f"did not end within {limit_s:.0f} seconds: {process.communicate()}")
