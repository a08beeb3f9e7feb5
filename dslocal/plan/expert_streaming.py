"""Decide whether experts are read ahead, and estimate how many of them are already in memory.

Experts are read ahead if the weights are larger than the memory, unless the user decided
otherwise. :mod:`dslocal.engine.streaming` does it.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.errors import UsageError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_names import ROUTED_EXPERTS, tensor_class
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.placement import placed_tensors

from .load_config import LoadConfig

SYSTEMS = ("linux", "macos")  # where a program can have pieces of a file read ahead
OPTION = "--stream-experts on"
# Of the RAM, this part is left to other programs and to what grows in this one, at least so much.
RESERVE_PART, MIN_RESERVE = 20, 128 << 20


def with_streaming(
    header: GgufHeader, machine: Machine, config: LoadConfig, wanted: bool | None, *, from_ssd: bool
) -> LoadConfig:
    """Return ``config``, with experts read ahead where that is wanted.

    Args:
        header: the model's header.
        machine: where it runs.
        config: how it is loaded.
        wanted: what the user decided; None leaves it to the plan.
        from_ssd: whether the weights are larger than the memory.

    Raises:
        UsageError: it is wanted, and cannot be done.
    """
    if wanted is False or (wanted is None and not from_ssd):
        return config
    obstacle = _obstacle(header, machine, config)
    if obstacle is None:
        return replace(config, stream_experts=True, load_mode="mmap", repack=False)
    if wanted:
        raise obstacle
    return config


def reserve(ram: int) -> int:
    """Return the bytes of RAM that experts leave free on a machine with ``ram`` bytes of it."""
    return max(ram // RESERVE_PART, MIN_RESERVE)


def uniform_hit_rate(cached: float, experts: float) -> float:
    """Return the share of chosen experts that are in memory when all are equally likely.

    Args:
        cached: the bytes of experts that fit into memory.
        experts: the bytes of all experts.
    """
    return max(0.0, min(1.0, cached / experts)) if experts else 1.0


def skewed_hit_rate(cached: float, experts: float, n_experts: int) -> float:
    """Return that share if the n-th most frequent expert of a layer is chosen 1/n as often.

    The most frequent ones are in memory then. Trained routers are between this and uniform.
    """
    held = uniform_hit_rate(cached, experts) * n_experts
    total = harmonic_number(n_experts)
    return harmonic_number(held) / total if total else 1.0


def harmonic_number(count: float) -> float:
    """Return 1 + 1/2 + … + 1/count; between whole numbers, on a straight line."""
    whole = int(count)
    return sum(1 / n for n in range(1, whole + 1)) + (count - whole) / (whole + 1)


def _obstacle(header: GgufHeader, machine: Machine, config: LoadConfig) -> UsageError | None:
    """Return why experts cannot be read ahead, or None if they can."""
    placed = [
        on_gpu
        for tensor, on_gpu in placed_tensors(header, config)
        if tensor_class(tensor.name) == ROUTED_EXPERTS
    ]
    if not placed:
        return UsageError(f"{OPTION}: this model has no routed experts", hint="auto leaves it off")
    if machine.os not in SYSTEMS:
        return UsageError(
            f"{OPTION}: experts are read ahead on Linux and macOS only", hint="auto leaves it off"
        )
    if all(placed):
        return UsageError(
            f"{OPTION}: all experts are on the GPU", hint="--cpu-moe all keeps them in RAM"
        )
    if config.n_gpu_layers and config.load_mode != "mmap":
        return UsageError(
            f"{OPTION}: with layers on this GPU, the whole model is read into memory",
            hint="--n-gpu-layers 0 leaves the weights in the file",
        )
    return None
