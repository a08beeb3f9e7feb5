"""Runs of ``expert_streaming.py`` as a child with as much memory as wanted, and what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from disk_rates import forget
from moe_routers import CONTEXT

SCRIPT = str(Path(__file__).with_name("expert_streaming.py"))
GIB = 1 << 30


def measured(path: Path, gib: float, *asked: str) -> dict[str, Any]:
    """Return what a child prints that runs in a cgroup of so many GiB."""
    from support.machines.cgroup_limit import confined

    forget(path)
    with confined(round(gib * GIB)) as prefix:
        command = [*prefix, sys.executable, SCRIPT, str(path.parent), "child", *asked]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{asked}: {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def planned_ubatch(path: Path) -> int:
    """Return the tokens of a micro-batch that a plan takes for streaming in this memory."""
    from dslocal.gguf.header import read_header
    from dslocal.plan.machine.probe import probe_machine
    from dslocal.plan.overrides import Overrides
    from dslocal.plan.search import make_plan

    wanted = Overrides(n_ctx=CONTEXT, n_gpu_layers=0, stream_experts=True)
    return make_plan(read_header(path), probe_machine(), wanted).load_config.n_ubatch
