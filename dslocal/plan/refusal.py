"""The error for a plan that cannot run: the sizes, and the nearest plan that fits."""

from __future__ import annotations

from dslocal.errors import DoesNotFitError
from dslocal.files import binary_size
from dslocal.gguf.header import GgufHeader
from dslocal.plan.machine.machine import Machine

from .load_config import LoadConfig
from .overrides import NO_OVERRIDES, Overrides
from .search import Plan, make_plan


def nearest_fit(header: GgufHeader, machine: Machine, overrides: Overrides) -> Plan | None:
    """Return the plan without what the user decided, if that would run from memory.

    It is what to suggest to someone whose choice does not fit; None without any choice.
    """
    free = make_plan(header, machine)
    return free if overrides != NO_OVERRIDES and free.verdict not in ("no", "ssd") else None


def require_fit(planned: Plan, name: str, machine: Machine, suggestion: Plan | None) -> None:
    """Raise DoesNotFitError for a plan that cannot be run.

    Args:
        planned: the plan.
        name: what the model is called in the message.
        machine: the machine that was planned for.
        suggestion: the nearest plan that fits, for the hint.
    """
    if planned.verdict != "no":
        return
    need = planned.memory.all
    if machine.workers:
        raise _lacking_with_workers(planned, name, machine, suggestion)
    needed, there = f"{binary_size(need.host)} of RAM", binary_size(machine.available)
    if need.gpu:
        needed = f"{binary_size(need.gpu)} of GPU memory and {needed}"
        there = f"{binary_size(machine.vram)} and {there}"
    hint = "use a smaller quantization or model: dslocal fit"
    if suggestion:
        options = _options(suggestion.load_config, planned.load_config)
        hint = f"{options} fits in {binary_size(suggestion.memory.all.total)}"
    context = f"{planned.load_config.n_ctx:,} tokens of context"
    raise DoesNotFitError(f"{name} needs {needed} with {context}; there are {there}", hint=hint)


def _lacking_with_workers(
    planned: Plan, name: str, machine: Machine, suggestion: Plan | None
) -> DoesNotFitError:
    """Return what is said where a model does not fit a machine and its workers."""
    need = binary_size(planned.memory.all.total)
    free = [f"{binary_size(machine.available + machine.vram)} here"]
    free += [f"{binary_size(each.free)} at {each.endpoint}" for each in machine.workers]
    hint = "add a worker, or use a smaller quantization or model"
    if suggestion:
        hint = f"{_options(suggestion.load_config, planned.load_config)} fits"
    context = f"{planned.load_config.n_ctx:,} tokens of context"
    return DoesNotFitError(
        f"{name} needs {need} with {context}, in whole layers; free are {', '.join(free)}",
        hint=hint,
    )


def _options(suggested: LoadConfig, refused: LoadConfig) -> str:
    """Return the command line's options that ask for ``suggested`` instead of ``refused``."""
    options = [f"--ctx {suggested.n_ctx}", f"--kv {suggested.kv_type.name.lower()}"]
    if suggested.n_gpu_layers != refused.n_gpu_layers:
        options.append(f"--n-gpu-layers {suggested.n_gpu_layers}")
    if suggested.cpu_moe_layers != refused.cpu_moe_layers:
        options.append(f"--cpu-moe {suggested.cpu_moe_layers}")
    return " ".join(options)
