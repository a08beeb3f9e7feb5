"""One model in one quantization on one machine: its plan, its speed, and what it costs to get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dslocal.files import binary_size
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import refusal_reason

from .search import NO_OVERRIDES, Overrides, Plan, make_plan
from .speed import Rates, Speed, forecast

VERDICT_LABELS = {"gpu": "GPU", "offload": "GPU+CPU", "cpu": "CPU", "ssd": "from SSD", "no": "no"}


@dataclass(frozen=True)
class PlannedModel:
    """``download`` is the checkpoint's bytes, 0 when it is here; ``output`` those of the file that
    it is converted to, 0 for a GGUF.

    ``file`` is the GGUF itself, when that is here.
    """

    name: str
    quant: str
    header: GgufHeader
    download: int = 0
    output: int = 0
    file: Path | None = None


@dataclass(frozen=True)
class Assessment:
    """What :func:`assess` finds."""

    model: PlannedModel
    plan: Plan
    speed: Speed

    @property
    def disk(self) -> int:
        """Bytes of disk that getting and converting it takes: the checkpoint beside the output."""
        return self.model.download + self.model.output


def assess(
    model: PlannedModel,
    machine: Machine,
    rates: Rates,
    overrides: Overrides = NO_OVERRIDES,
    planned: Plan | None = None,
) -> Assessment:
    """``planned`` is a plan made already. Raises UsageError when what is pinned cannot be had."""
    planned = planned or make_plan(model.header, machine, overrides)
    speed = (
        forecast(model.header, planned.load_config, planned.memory, machine, rates)
        if planned.verdict != "no"
        else Speed(0.0, 0.0)
    )
    return Assessment(model, planned, speed)


def alternatives(
    found: Assessment, machine: Machine, rates: Rates, overrides: Overrides
) -> list[tuple[str, Assessment]]:
    """What would be with more RAM and with a q8_0 KV cache, where that changes anything."""
    changed = []
    bigger = replace(machine, ram=machine.ram * 2, available=machine.available + machine.ram)
    changed.append(
        (f"{binary_size(bigger.ram)} of RAM", assess(found.model, bigger, rates, overrides))
    )
    q8_0 = replace(found.plan.load_config, kv_type=GgmlType.Q8_0)
    if (
        found.plan.load_config.kv_type is GgmlType.F16
        and overrides.kv_type is None
        and refusal_reason(found.model.header, q8_0) is None
    ):
        changed.append(
            (
                "a q8_0 KV cache",
                assess(found.model, machine, rates, replace(overrides, kv_type=GgmlType.Q8_0)),
            )
        )
    return [(what, other) for what, other in changed if _says(other) != _says(found)]


def _says(found: Assessment) -> tuple[Any, ...]:
    load_config = found.plan.load_config
    return (
        found.plan.verdict,
        load_config.n_ctx,
        load_config.kv_type,
        load_config.cpu_moe_layers,
        load_config.n_gpu_layers,
        found.plan.memory.all.total >> 20,
    )


def as_json(found: Assessment, machine: Machine, bandwidth: float) -> dict[str, Any]:
    """The object that ``dslocal fit --json`` prints. Sizes in bytes."""
    load_config, memory = found.plan.load_config, found.plan.memory
    return {
        "model": found.model.name,
        "quant": found.model.quant,
        "machine": {
            "os": machine.os,
            "cpu": machine.cpu,
            "cores": machine.cores,
            "ram": machine.ram,
            "ram_available": machine.available,
            "gpu": [
                {"name": gpu.name, "kind": gpu.kind, "total": gpu.total, "free": gpu.free}
                for gpu in machine.gpus
            ],
            "unified": machine.unified,
            "bandwidth": round(bandwidth),
            "limited_by": machine.limited_by,
            "notes": list(machine.notes),
        },
        "plan": {
            **load_config.as_json(),
            "repack": load_config.repack,
        },
        "memory": {
            **{
                part: getattr(memory, part).total
                for part in ("weights", "kv", "compute", "output", "overhead")
            },
            "total": memory.all.total,
            "gpu": memory.all.gpu,
            "host": memory.all.host,
        },
        "verdict": found.plan.verdict,
        "lacking": found.plan.lacking,
        "tokens_per_s": {"low": round(found.speed.low, 2), "high": round(found.speed.high, 2)},
        "gave_up": [{"what": step.what, "saved": step.saved} for step in found.plan.gave_up],
        "download": found.model.download,
        "disk_to_convert": found.disk,
    }
