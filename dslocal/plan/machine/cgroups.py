"""The limits of the cgroups that this process is in, v1 and v2: its own and those above it, as far
up as can be seen.

Every limit on the way counts, the tightest one binds. Swap is left out of account: weights that are
swapped are no faster than weights on the SSD. A cgroup is charged for the files that its processes
read as well; what of them could be dropped, the limit does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .host import parse_number
from .system import System

UNLIMITED = (
    1 << 60
)  # v1 has no word for it, but the largest multiple of the page size: 9223372036854771712 for 4 KiB
DEEPEST = 64  # levels
DEFAULT_MOUNT = "/sys/fs/cgroup"
MOUNT = re.compile(
    r"^\d+ \d+ \S+ (?P<root>\S+) (?P<point>\S+) .*? - (?P<type>cgroup2?) \S+ (?P<options>\S+)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class CgroupMemory:
    """Bytes, None where nothing limits: the lowest limit, what the tightest leaves, and what may be
    taken before being slowed down.
    """

    limit: int | None = None
    room: int | None = None
    throttle: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Names:
    """The files of a memory controller, and the counters of its ``memory.stat`` for files that can
    be dropped.
    """

    limit: str
    used: str
    droppable: tuple[str, ...]


V2 = _Names("memory.max", "memory.current", ("inactive_file", "active_file"))
V1 = _Names(
    "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)


def memory_limits(runner: System) -> CgroupMemory:
    """What all memory controllers leave to this process."""
    limits, rooms, throttles = [], [], []
    blind = False
    for folder, names in _all(runner, "memory"):
        stat = _counters(runner.read(f"{folder}/memory.stat"))
        limit = _least(
            _limit(runner.read(f"{folder}/{names.limit}")), stat.get("hierarchical_memory_limit")
        )
        high = _limit(runner.read(f"{folder}/memory.high")) if names is V2 else None
        if limit is None and high is None:
            continue
        used = parse_number(runner.read(f"{folder}/{names.used}"))
        held = (
            None
            if used is None
            else max(0, used - sum(stat.get(name, 0) for name in names.droppable))
        )
        if limit is not None:
            blind = blind or held is None
            limits.append(limit)
            rooms.append(limit // 2 if held is None else max(0, limit - held))
        if high is not None and held is not None:
            throttles.append(max(0, high - held))
    notes = ("the cgroup does not say what it uses; half of its limit is assumed",) if blind else ()
    return CgroupMemory(_least(*limits), _least(*rooms), _least(*throttles), notes)


def cpu_quota(runner: System) -> float | None:
    """CPUs' worth of time that the tightest quota pays for."""
    found = []
    for folder, names in _all(runner, "cpu"):
        if names is V2:
            quota, _, period = (runner.read(f"{folder}/cpu.max") or "").strip().partition(" ")
        else:
            quota, period = (
                runner.read(f"{folder}/cpu.cfs_{what}_us") or "" for what in ("quota", "period")
            )
        if (time := parse_number(quota)) and (of := parse_number(period)):
            found.append(time / of)
    return min(found, default=None)


def _all(runner: System, controller: str) -> Iterator[tuple[str, _Names]]:
    """Every folder that could hold a limit, from the process's own cgroup up, in each hierarchy
    that has ``controller`` or is v2's.
    """
    paths = _paths(runner.read("/proc/self/cgroup") or "")
    mounts = list(MOUNT.finditer(runner.read("/proc/self/mountinfo") or ""))
    for mount in mounts:
        v2 = mount["type"] == "cgroup2"
        if v2 or controller in mount["options"].split(","):
            path = paths.get("" if v2 else controller, "/")
            yield from (
                (folder, V2 if v2 else V1)
                for folder in _upward(_plain(mount["point"]), path, _plain(mount["root"]))
            )
    if not mounts:
        yield from ((folder, V2) for folder in _upward(DEFAULT_MOUNT, paths.get("", "/"), "/"))
        yield from (
            (folder, V1)
            for folder in _upward(f"{DEFAULT_MOUNT}/{controller}", paths.get(controller, "/"), "/")
        )


def _paths(text: str) -> dict[str, str]:
    """Where this process is, by controller, "" being v2, from lines such as
    ``4:memory:/user.slice`` and ``0::/user.slice``.
    """
    fields = [line.split(":", 2) for line in text.splitlines()]
    return {
        controller: path
        for _, names, path in (f for f in fields if len(f) == 3)
        for controller in names.split(",")
    }


def _upward(point: str, path: str, root: str) -> Sequence[str]:
    """Folders from that of ``path`` up to the mount point, which shows the cgroup ``root``.

    In a container ``path`` may be the host's and begin with ``root``, or lead out of what is
    mounted: then the mount point is all.
    """
    inside = (
        path
        if root == "/"
        else path.removeprefix(root)
        if path == root or path.startswith(f"{root}/")
        else "/"
    )
    parts = [part for part in inside.split("/") if part]
    if ".." in parts:
        parts = []
    parts = parts[:DEEPEST]
    return ["/".join((point.rstrip("/"), *parts[:depth])) for depth in range(len(parts), -1, -1)]


def _plain(path: str) -> str:
    r"""mountinfo writes spaces and the like as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), path)


def _limit(text: str | None) -> int | None:
    """A limit in bytes; None for ``max``, for v1's huge number, and for what is no number."""
    return parse_number(text, UNLIMITED)


def _counters(text: str | None) -> dict[str, int]:
    found = {
        name: parse_number(value, UNLIMITED)
        for name, _, value in (line.partition(" ") for line in (text or "").splitlines())
    }
    return {name: value for name, value in found.items() if value is not None}


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)
