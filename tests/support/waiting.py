"""Waiting for something to become true, however busy the machine is.

A limit only ends a run that hangs. It counts the time in which this process runs: one that is
stopped meanwhile, or on a machine that sleeps, does not use it up.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, AnyStr

LIMIT_S = 60.0
LOOK_EVERY_S = 0.005
STEP_S = 1.0  # the most that counts between two looks


class TimeLimit:
    """The end of a wait that looks again at least once a second."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._left_s, self._looked = limit_s, time.monotonic()

    def is_over(self) -> bool:
        """Return whether the limit is used up."""
        now = time.monotonic()
        self._left_s -= min(now - self._looked, STEP_S)
        self._looked = now
        return self._left_s <= 0


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
    limit = TimeLimit(limit_s)
    while not fact():
        assert process is None or process.poll() is None, f"ended before: {process.communicate()}"
        assert not limit.is_over(), f"not true after {limit_s:.0f} seconds"
        time.sleep(LOOK_EVERY_S)


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
    written: list[tuple[AnyStr, AnyStr]] = []
    # a call of communicate() that timed out does not send the rest of what was to be sent
    reader = threading.Thread(target=lambda: written.append(process.communicate(sent)), daemon=True)
    reader.start()
    limit = TimeLimit(limit_s)
    while reader.is_alive() and not limit.is_over():
        reader.join(STEP_S)
    if reader.is_alive():
        process.kill()
        reader.join()
        raise AssertionError(f"not ended after {limit_s:.0f} seconds: {written}")
    return written[0]


def exit_code_of(process: subprocess.Popen[Any], *, limit_s: float = LIMIT_S) -> int:
    """Return the exit code of ``process``, once it has ended. Raises AssertionError."""
    limit = TimeLimit(limit_s)
    while True:
        try:
            return process.wait(STEP_S)
        except subprocess.TimeoutExpired:
            assert not limit.is_over(), f"not ended after {limit_s:.0f} seconds"


def run_to_end(
    command: Sequence[str | Path],
    *,
    sent: AnyStr,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    limit_s: float = LIMIT_S,
) -> subprocess.CompletedProcess[AnyStr]:
    """Run ``command`` with ``sent`` on stdin, and return how it ended and what it wrote.

    Raises:
        AssertionError: It did not end.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=isinstance(sent, str),
    ) as process:
        out, err = output_of(process, sent, limit_s=limit_s)
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)
