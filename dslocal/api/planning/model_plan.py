"""The plan that :func:`dslocal.plan` returns: settings, memory and speed of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.api.arguments.argument_types import PATH, TEXT, TEXTS, require
from dslocal.api.load_options import overrides, streams_experts

from .assess import assess_named
from .machines import MachineOptions, machine_and_rates

if TYPE_CHECKING:
    from dslocal.plan.load_config import LoadConfig, MemoryUse


@dataclass(frozen=True)
class ModelPlan:
    """How a model runs on a machine.

    Attributes:
        model: the name of the model.
        quant: its quantization.
        verdict: "gpu", "offload" (GPU and CPU), "cpu", "ssd" (read from the disk as needed), or
            "no".
        settings: the settings for loading it.
        memory: bytes by part of the model and by device.
        tokens_per_second: the forecast for decoding: with a full context, and with an empty one.
        gave_up: the reduction steps that make it fit, in their order.
        lacking: bytes of memory that are missing if the verdict is "ssd" or "no".
        download: bytes to download; 0 for a model on this machine.
    """

    model: str
    quant: str
    verdict: str
    settings: LoadConfig
    memory: MemoryUse
    tokens_per_second: tuple[float, float]
    gave_up: tuple[str, ...]
    lacking: int
    download: int

    @property
    def fits(self) -> bool:
        """Return whether the model runs."""
        return self.verdict != "no"


def plan(
    model: str | Path,
    *,
    quant: str | None = None,
    n_ctx: int | None = None,
    kv_type: str | None = None,
    n_gpu_layers: int | None = None,
    cpu_moe: int | str | None = None,
    stream_experts: str = "auto",
    ram: str | None = None,
    vram: str | Sequence[str] = (),
    os: str | None = None,
    gpu: str | Sequence[str] = (),
    cpu: str | None = None,
    chip: str | None = None,
    bandwidth: str | None = None,
) -> ModelPlan:
    """Plan how a model runs on this machine, or on one that is described.

    Args:
        model: a name, a GGUF file, a checkpoint folder, or OWNER/NAME on the Hugging Face Hub.
        quant: the quantization, such as "Q4_K_M". By default the best that is fast enough on that
            machine.
        n_ctx: tokens of context.
        kv_type: "f16", "q8_0" or "q4_0" for the KV cache.
        n_gpu_layers: layers on the GPU.
        cpu_moe: layers whose experts stay in RAM: a number, "all" or "auto".
        stream_experts: "auto", "on" or "off", as for :func:`dslocal.load`.
        ram: the memory of another machine, such as "128GiB".
        vram: the memory of its GPU, or of each of them; "0" for none.
        os: "linux", "macos" or "windows".
        gpu: its GPU by name, such as "RTX 4090", or each of them.
        cpu: its CPU by name, such as "EPYC 9554".
        chip: its chip, where CPU and GPU share the RAM, such as "M4 Max".
        bandwidth: GB/s of the GPU's memory, or of the RAM where no GPU has memory of its own.

    Returns:
        The plan, also if the model does not fit: see ``fits``.

    Raises:
        NotFoundError: the model does not exist.
        UsageError: an argument is out of range, or the chosen settings are not possible on any
            machine.
    """
    require(PATH, model=model)
    require(TEXT.or_none, quant=quant, ram=ram, os=os, cpu=cpu, chip=chip, bandwidth=bandwidth)
    require(TEXTS, vram=vram, gpu=gpu)
    chosen = overrides(n_ctx, kv_type, n_gpu_layers=n_gpu_layers, cpu_moe=cpu_moe)
    chosen = replace(chosen, stream_experts=streams_experts(stream_experts))
    options = MachineOptions(ram, _texts(vram), os, _texts(gpu), cpu, chip, bandwidth)
    machine, rates = machine_and_rates(options)
    described = options.is_other
    found = assess_named(str(model), quant, machine, rates, chosen, described=described).assessment
    return ModelPlan(
        model=found.model.name,
        quant=found.model.quant,
        verdict=found.plan.verdict,
        settings=found.plan.load_config,
        memory=found.plan.memory,
        tokens_per_second=(found.speed.low, found.speed.high),
        gave_up=tuple(step.what for step in found.plan.gave_up),
        lacking=found.plan.lacking,
        download=found.model.download,
    )


def _texts(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
