"""Proves that threads are counted by what a cgroup's quota pays for, not only by the cores of the
host.
"""

from __future__ import annotations

import pytest

from dslocal.plan.machine import probe
from dslocal.plan.machine.system import LocalSystem

V2 = {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "{quota} 100000\n"}
V1 = {
    "/proc/self/cgroup": "4:cpu,cpuacct:/\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "{quota}\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
@pytest.mark.parametrize(
    ("quota", "cores"),
    [("100000", 1), ("50000", 1), ("250000", 2), ("9900000", 64), ("max", 64), ("-1", 64)],
)
def test_a_quota_on_a_large_host(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: str, cores: int
) -> None:
    host = {path: text.format(quota=quota) for path, text in files.items()}
    monkeypatch.setattr(LocalSystem, "platform", "linux")
    monkeypatch.setattr(LocalSystem, "cores", lambda _: 64)
    monkeypatch.setattr(LocalSystem, "read", lambda _, path: host.get(path))
    assert probe.usable_cores() == cores
