"""What is said of a plan that cannot be run: the numbers, and the nearest that fits."""

from __future__ import annotations

from dslocal.errors import DoesNotFitError
from dslocal.files import binary_size
from dslocal.gguf.header import GgufHeader
from dslocal.plan.machine.machine import Machine

from .load_config import LoadConfig
from .search import NO_OVERRIDES, Overrides, Plan, make_plan


def nearest_fit(header: GgufHeader, machine: Machine, overrides: Overrides) -> Plan | None:
    """The plan without what is pinned, when that would fit: what to suggest to someone whose choice
    does not.
    """
    free = make_plan(header, machine)
    return free if overrides != NO_OVERRIDES and free.verdict not in ("no", "ssd") else None


def require_fit(planned: Plan, name: str, machine: Machine, suggestion: Plan | None) -> None:
    """Raises DoesNotFitError, with the numbers and the nearest that fits, for a plan that cannot be
    run.
    """
    if planned.verdict != "no":
        return
    need, load_config = planned.memory.all, planned.load_config
    where = (
        f"{binary_size(need.gpu)} of GPU memory and {binary_size(need.host)} of RAM"
        if need.gpu
        else f"{binary_size(need.host)} of RAM"
    )
    have = (
        f"{binary_size(machine.vram)} and {binary_size(machine.available)}"
        if need.gpu
        else binary_size(machine.available)
    )
    hint = "a smaller quantization or model does: dslocal fit"
    if suggestion:
        hint = f"{_options(suggestion.load_config, load_config)} fits in {binary_size(suggestion.memory.all.total)}"
    raise DoesNotFitError(
        f"{name} needs {where} with {load_config.n_ctx:,} tokens of context; there are {have}",
        hint=hint,
    )


def _options(wanted: LoadConfig, refused: LoadConfig) -> str:
    """What to ask for instead of ``refused``."""
    options = {"--ctx": wanted.n_ctx, "--kv": wanted.kv_type.name.lower()}
    if wanted.n_gpu_layers != refused.n_gpu_layers:
        options["--n-gpu-layers"] = wanted.n_gpu_layers
    if wanted.cpu_moe_layers != refused.cpu_moe_layers:
        options["--cpu-moe"] = wanted.cpu_moe_layers
    return " ".join(f"{name} {value}" for name, value in options.items())
