"""A cgroup that limits the memory of the processes in it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@contextlib.contextmanager
def confined(nbytes: int) -> Iterator[list[str]]:
    """Yield the beginning of a command that runs the rest with ``nbytes`` of RAM and no swap. Skips
    the test where that is not possible.

    The files that the command reads are charged to the cgroup too; they cost it page cache, not
    failure.
    """
    folder, limits = (
        (V1, ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"))
        if V1.is_dir()
        else (V2, ("memory.max",))
    )
    box = folder / f"dslocal-test-{os.getpid()}-{nbytes}"
    try:
        box.mkdir()
    except OSError as e:
        pytest.skip(f"no cgroup can be made here: {e}")
    try:
        try:
            for name in limits:
                (box / name).write_text(str(nbytes))
            if folder == V2:
                (box / "memory.swap.max").write_text("0")
        except OSError as e:
            pytest.skip(f"this cgroup takes no limit: {e}")
        yield ["sh", "-c", ENTER, str(box)]
    finally:
        _remove(box)


def kills(command: list[str]) -> int:
    """Return how many processes in the cgroup of ``command`` the kernel has killed so far."""
    box = Path(command[-1])
    report = next(
        file for file in (box / "memory.events", box / "memory.oom_control") if file.exists()
    )
    return int(dict(line.split() for line in report.read_text().splitlines())["oom_kill"])


def _remove(box: Path) -> None:
    """Remove the cgroup, which a process that has just ended keeps busy for a moment."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            return box.rmdir()
        time.sleep(0.1)
    return box.rmdir()
