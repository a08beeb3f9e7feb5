"""One model in one quantization on one machine: its plan, its speed, and what it costs to get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dslocal.files import binary_size
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.machine.bandwidth import one_gpu_bandwidth
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import refusal_reason

from .load_config import MemoryUse
from .overrides import NO_OVERRIDES, Overrides
from .search import Plan, make_plan
from .speed import SPREAD, Rates, Speed, forecast

MEMORY_PARTS = ("weights", "kv", "compute", "output", "overhead")


@dataclass(frozen=True)
class PlannedModel:
    """A model to plan for.

    Attributes:
        name: what it is called.
        quant: its quantization.
        header: its GGUF header, or the one that a conversion would give.
        download: bytes to fetch, 0 when it is here.
        disk: the most bytes of disk that getting it ever takes, 0 for a GGUF that is here.
        file: the GGUF itself, when that is here.
        method: how it comes here: as a "ready-made" file, or "converted" from a checkpoint; empty
            for a GGUF that is here, and where there is an obstacle.
        obstacle: why nothing of it can be fetched: its weights are pickled, or it can be converted
            only with an importance matrix.
    """

    name: str
    quant: str
    header: GgufHeader
    download: int = 0
    disk: int = 0
    file: Path | None = None
    method: Literal["ready-made", "converted", ""] = ""
    obstacle: Literal["pickled", "imatrix", ""] = ""


@dataclass(frozen=True)
class Assessment:
    """What :func:`assess` finds.

    Attributes:
        model: the model.
        plan: how it runs.
        speed: tokens a second; 0 for a plan that cannot be run.
    """

    model: PlannedModel
    plan: Plan
    speed: Speed


def assess(
    model: PlannedModel,
    machine: Machine,
    rates: Rates,
    overrides: Overrides = NO_OVERRIDES,
    planned: Plan | None = None,
) -> Assessment:
    """Return how a model runs on a machine, and how fast.

    Args:
        model: the model.
        machine: the machine.
        rates: what it reads a second.
        overrides: what the user decided.
        planned: a plan that has been made already.

    Raises:
        UsageError: what the user decided cannot be had.
    """
    planned = planned or make_plan(model.header, machine, overrides)
    if planned.verdict == "no":
        return Assessment(model, planned, Speed(0.0, 0.0))
    if planned.spread is not None:
        middle = 1 / planned.spread.seconds
        return Assessment(model, planned, Speed(middle * (1 - SPREAD), middle * (1 + SPREAD)))
    speed = forecast(model.header, planned.load_config, planned.memory, machine, rates)
    return Assessment(model, planned, speed)


def alternatives(
    found: Assessment, machine: Machine, rates: Rates, overrides: Overrides
) -> list[tuple[str, Assessment]]:
    """Return what would be with more RAM and with a q8_0 KV cache, where that changes anything.

    Where weights come from the SSD, also with one that is twice as fast.

    Returns:
        What is different, in words, and the assessment.
    """
    bigger = replace(machine, ram=machine.ram * 2, available=machine.available + machine.ram)
    others = [(f"{binary_size(bigger.ram)} of RAM", assess(found.model, bigger, rates, overrides))]
    q8_0 = replace(found.plan.load_config, kv_type=GgmlType.Q8_0)
    is_f16 = found.plan.load_config.kv_type is GgmlType.F16
    if is_f16 and overrides.kv_type is None and not refusal_reason(found.model.header, q8_0):
        with_q8_0 = replace(overrides, kv_type=GgmlType.Q8_0)
        others.append(("a q8_0 KV cache", assess(found.model, machine, rates, with_q8_0)))
    others = [(what, other) for what, other in others if _gist(other) != _gist(found)]
    if found.plan.verdict == "ssd":
        faster = assess(
            found.model, machine, replace(rates, ssd=2 * rates.ssd), overrides, found.plan
        )
        others.insert(0, ("an SSD twice as fast", faster))
    return others


def _gist(found: Assessment) -> tuple[Any, ...]:
    """Return the values by which a user tells two assessments apart; memory in MiB."""
    load_config = found.plan.load_config
    return (
        found.plan.verdict,
        load_config.n_ctx,
        load_config.kv_type,
        load_config.cpu_moe_layers,
        load_config.n_gpu_layers,
        found.plan.memory.all.total >> 20,
        found.plan.lacking >> 20,
    )


def as_json(found: Assessment, machine: Machine, bandwidth: float) -> dict[str, Any]:
    """Return the object that ``dslocal fit --json`` prints, sizes in bytes.

    Args:
        found: the assessment.
        machine: the machine that it is of.
        bandwidth: bytes a second of its RAM.
    """
    plan = found.plan
    return {
        "model": found.model.name,
        "quant": found.model.quant,
        "machine": _machine_as_json(machine, bandwidth),
        "plan": {**plan.load_config.as_json(), "repack": plan.load_config.repack},
        "memory": _memory_as_json(plan.memory),
        "verdict": plan.verdict,
        "lacking": plan.lacking,
        "tokens_per_s": {"low": round(found.speed.low, 2), "high": round(found.speed.high, 2)},
        "machines": plan.spread.as_json() if plan.spread else [],
        "gave_up": [{"what": step.what, "saved": step.saved} for step in plan.gave_up],
        "download": found.model.download,
        "disk_to_convert": found.model.disk,
        "method": found.model.method,
    }


def _machine_as_json(machine: Machine, bandwidth: float) -> dict[str, Any]:
    gpus = [
        {
            "name": gpu.name,
            "kind": gpu.kind,
            "total": gpu.total,
            "free": gpu.free,
            "bandwidth": round(one_gpu_bandwidth(gpu, machine)),
        }
        for gpu in machine.gpus
    ]
    return {
        "os": machine.os,
        "cpu": machine.cpu,
        "cores": machine.cores,
        "ram": machine.ram,
        "ram_available": machine.available,
        "gpu": gpus,
        "unified": machine.unified,
        "bandwidth": round(bandwidth),
        "limited_by": machine.limited_by,
        "notes": list(machine.notes),
    }


def _memory_as_json(memory: MemoryUse) -> dict[str, int]:
    sizes = {part: getattr(memory, part).total for part in MEMORY_PARTS}
    return {
        **sizes,
        "total": memory.all.total,
        "gpu": memory.all.gpu,
        "host": memory.all.host,
    }
