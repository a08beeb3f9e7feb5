"""The limits of the cgroups that this process is in, v1 and v2: its own and those above it, as far
up as can be seen.

Every limit on the way counts, and the tightest one decides. Swap is left out of account: weights
that are swapped are no faster than weights on the SSD. A cgroup is also charged for the files that
its processes read. The part of them that could be dropped does not count as used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .host import parse_number
from .system import System

# A limit of this size or more means unlimited: v1 writes the largest multiple of the page size,
# 9223372036854771712 for 4 KiB.
UNLIMITED = 1 << 60
MAX_DEPTH = 64  # levels
DEFAULT_MOUNT = "/sys/fs/cgroup"
MOUNT = re.compile(
    r"^\d+ \d+ \S+ (?P<root>\S+) (?P<point>\S+) .*? - (?P<type>cgroup2?) \S+ (?P<options>\S+)$",
    re.MULTILINE,
)
BLIND_NOTE = "the cgroup does not report its memory use; half of its limit is assumed to be free"


@dataclass(frozen=True, slots=True)
class CgroupMemory:
    """What all memory controllers leave to this process, in bytes; None where nothing limits.

    Attributes:
        limit: the lowest limit.
        room: what the tightest limit leaves.
        throttle: what may be taken before being slowed down.
        notes: for the user.
    """

    limit: int | None = None
    room: int | None = None
    throttle: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Names:
    """Names of a memory controller's files.

    Attributes:
        limit: the file with the limit.
        used: the file with what is used.
        droppable: counters of ``memory.stat`` for cached files, which can be dropped.
    """

    limit: str
    used: str
    droppable: tuple[str, ...]


V2 = _Names("memory.max", "memory.current", ("inactive_file", "active_file"))
V1 = _Names(
    "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)


def memory_limits(system: System) -> CgroupMemory:
    """Return what all memory controllers leave to this process."""
    levels = [_level(system, folder, names) for folder, names in _folders(system, "memory")]
    return CgroupMemory(
        limit=_least(level.limit for level in levels),
        room=_least(level.room for level in levels),
        throttle=_least(level.throttle for level in levels),
        notes=(BLIND_NOTE,) if any(level.notes for level in levels) else (),
    )


def _level(system: System, folder: str, names: _Names) -> CgroupMemory:
    """Return the limits of one folder of a memory controller."""
    stat = _counters(system.read(f"{folder}/memory.stat"))
    own_limit = parse_number(system.read(f"{folder}/{names.limit}"), UNLIMITED)
    limit = _least((own_limit, stat.get("hierarchical_memory_limit")))
    high = None
    if names is V2:
        high = parse_number(system.read(f"{folder}/memory.high"), UNLIMITED)
    used = parse_number(system.read(f"{folder}/{names.used}"))
    if used is None:
        if limit is None:
            return CgroupMemory()
        return CgroupMemory(limit, limit // 2, notes=(BLIND_NOTE,))
    held = max(0, used - sum(stat.get(name, 0) for name in names.droppable))
    return CgroupMemory(
        limit=limit,
        room=None if limit is None else max(0, limit - held),
        throttle=None if high is None else max(0, high - held),
    )


def cpu_quota(system: System) -> float | None:
    """Return the CPUs' worth of time that the tightest quota pays for; None without a quota."""
    quotas = []
    for folder, names in _folders(system, "cpu"):
        if names is V2:
            quota, period = _before_and_after_space(system.read(f"{folder}/cpu.max"))
        else:
            quota = system.read(f"{folder}/cpu.cfs_quota_us") or ""
            period = system.read(f"{folder}/cpu.cfs_period_us") or ""
        quota_us, period_us = parse_number(quota), parse_number(period)
        if quota_us and period_us:
            quotas.append(quota_us / period_us)
    return min(quotas, default=None)


def _folders(system: System, controller: str) -> Iterator[tuple[str, _Names]]:
    """Yield every folder that could hold a limit.

    From the process's own cgroup up, in each hierarchy that has ``controller`` or is v2's.
    """
    paths = _paths(system.read("/proc/self/cgroup") or "")
    mounts = list(MOUNT.finditer(system.read("/proc/self/mountinfo") or ""))
    for mount in mounts:
        is_v2 = mount["type"] == "cgroup2"
        if not is_v2 and controller not in mount["options"].split(","):
            continue
        path = paths.get("" if is_v2 else controller, "/")
        names = V2 if is_v2 else V1
        for folder in _upward(_unescaped(mount["point"]), path, _unescaped(mount["root"])):
            yield folder, names
    if not mounts:
        for folder in _upward(DEFAULT_MOUNT, paths.get("", "/"), "/"):
            yield folder, V2
        for folder in _upward(f"{DEFAULT_MOUNT}/{controller}", paths.get(controller, "/"), "/"):
            yield folder, V1


def _paths(text: str) -> dict[str, str]:
    """Return the cgroups of this process by controller, "" being v2.

    The lines are such as ``4:memory:/user.slice`` and ``0::/user.slice``.
    """
    found = {}
    for line in text.splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            found.update(dict.fromkeys(fields[1].split(","), fields[2]))
    return found


def _upward(point: str, path: str, root: str) -> Sequence[str]:
    """Return the folders from that of ``path`` up to the mount point.

    In a container ``path`` may be the host's and begin with ``root``, or lead out of what is
    mounted: then the mount point is all.

    Args:
        point: where the hierarchy is mounted.
        path: the process's cgroup.
        root: the cgroup that the mount point shows.
    """
    if root == "/":
        inside = path
    elif path == root or path.startswith(f"{root}/"):
        inside = path.removeprefix(root)
    else:
        inside = "/"
    parts = [part for part in inside.split("/") if part]
    if ".." in parts:
        parts = []
    parts = parts[:MAX_DEPTH]
    return ["/".join((point.rstrip("/"), *parts[:depth])) for depth in range(len(parts), -1, -1)]


def _unescaped(path: str) -> str:
    r"""Return a path as it is: mountinfo writes spaces and the like as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), path)


def _counters(text: str | None) -> dict[str, int]:
    """Return the counters of a ``memory.stat``."""
    found = {}
    for line in (text or "").splitlines():
        name, value = _before_and_after_space(line)
        count = parse_number(value, UNLIMITED)
        if count is not None:
            found[name] = count
    return found


def _before_and_after_space(text: str | None) -> tuple[str, str]:
    parts = (text or "").strip().partition(" ")
    return parts[0], parts[2]


def _least(values: Iterable[int | None]) -> int | None:
    """Return the least of ``values`` that are there; None where none is."""
    return min((value for value in values if value is not None), default=None)
