"""Ask ``dslocal fit`` of a machine that is always the same: as JSON, and as text in 80 columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.cli.running import Run

from dslocal.plan.machine.machine import Machine

GIB = 1 << 30
QWEN, V3 = "deepseek-r1-distill-qwen-7b", "deepseek-v3"
HERE = Machine("linux", "some CPU", 4, 16 * GIB, 12 * GIB)


def table(run: Run, *args: str | Path) -> dict[str, dict[str, Any]]:
    done = run.inside("fit", "--json", *args)
    assert (done.returncode, done.stderr) == (0, b"")
    return {row["model"]: row for row in json.loads(done.stdout)["models"]}


def one(run: Run, *args: str | Path) -> dict[str, Any]:
    done = run.inside("fit", "--json", *args)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 1)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def text(run: Run, *args: str | Path) -> str:
    done = run.inside("fit", *args, env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    shown = done.stdout.decode()
    assert max(len(line) for line in shown.splitlines()) <= 80
    return shown


MACHINES = [
    [],
    ["--ram", "8GB", "--vram", "0"],
    ["--ram", "64GB", "--vram", "24GB"],
    ["--ram", "96GB", "--vram", "24GB"],
    ["--ram", "512GB", "--os", "macos"],
    ["--ram", "1GiB"],
]
FIELDS = {
    "": [
        "model",
        "quant",
        "machine",
        "plan",
        "memory",
        "verdict",
        "lacking",
        "tokens_per_s",
        "machines",
        "gave_up",
        "download",
        "disk_to_convert",
        "method",
    ],
    "machine": [
        "os",
        "cpu",
        "cores",
        "ram",
        "ram_available",
        "gpu",
        "unified",
        "bandwidth",
        "limited_by",
        "notes",
    ],
    "plan": [
        "n_ctx",
        "kv_type",
        "n_ubatch",
        "flash_attn",
        "n_gpu_layers",
        "cpu_moe_layers",
        "load_mode",
        "stream_experts",
        "split",
        "repack",
    ],
    "memory": ["weights", "kv", "compute", "output", "overhead", "total", "gpu", "host"],
    "tokens_per_s": ["low", "high"],
}


def check(row: dict[str, Any]) -> None:
    for part, names in FIELDS.items():
        assert list(row[part] if part else row) == names
    memory = row["memory"]
    assert (
        memory["total"]
        == sum(memory[part] for part in FIELDS["memory"][:5])
        == memory["gpu"] + memory["host"]
    )
    assert row["verdict"] in ("gpu", "offload", "cpu", "ssd", "no")
    assert (row["tokens_per_s"]["high"] > 0) == (row["verdict"] != "no")
    assert all(
        list(step) == ["what", "saved"] and isinstance(step["saved"], int)
        for step in row["gave_up"]
    )
    assert row["plan"]["kv_type"] in ("f16", "q8_0", "q4_0")
    assert all(
        list(gpu) == ["name", "kind", "total", "free", "bandwidth"] for gpu in row["machine"]["gpu"]
    )
