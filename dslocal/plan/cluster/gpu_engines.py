"""Whether the published checkpoint of a model fits GPUs, as vLLM and SGLang load it.

Both keep the weights as they are published, in the memory of GPUs alone, and take a share of that
memory for weights and cache together. MLA's cache is whole on every GPU of a tensor-parallel group.
"""

from __future__ import annotations

from dataclasses import dataclass

MEMORY_SHARE = 0.9  # vLLM's --gpu-memory-utilization, SGLang's --mem-fraction-static is near it
GB = 1e9


@dataclass(frozen=True, slots=True)
class GpuGroup:
    """GPUs alike on machines alike.

    Attributes:
        name: the GPU's name.
        memory: bytes of each.
        bandwidth: bytes a second of each.
        per_box: GPUs of a machine.
        hosts: the machines.
    """

    name: str
    memory: int
    bandwidth: float
    per_box: int
    hosts: tuple[str, ...]

    @property
    def usable_per_box(self) -> float:
        """Return the bytes that an engine takes of a machine's GPUs."""
        return MEMORY_SHARE * self.memory * self.per_box


@dataclass(frozen=True, slots=True)
class GpuFit:
    """How a checkpoint fits.

    Attributes:
        weights: bytes of the checkpoint.
        usable: bytes that an engine takes of all GPUs.
        fits_one: whether one machine's GPUs hold it.
        fits: whether all of them together do.
        cache_tokens: tokens of context that are left room for, with the model on one machine, or
            on all if one does not hold it.
        ceiling: tokens a second that one conversation cannot exceed, since its weights are read.
        arithmetic: the same in words, a line each.
    """

    weights: int
    usable: float
    fits_one: bool
    fits: bool
    cache_tokens: int
    ceiling: float
    arithmetic: tuple[str, ...]


def gpu_fit(weights: int, read: float, kv_bytes: int, group: GpuGroup) -> GpuFit:
    """Return how a checkpoint fits GPUs.

    Args:
        weights: bytes of the checkpoint.
        read: bytes of weights that a token reads.
        kv_bytes: bytes that a token of context takes in the cache.
        group: the GPUs.
    """
    boxes = len(group.hosts)
    usable = group.usable_per_box * boxes
    fits_one, fits = (weights < group.usable_per_box, weights < usable)
    gpus = group.per_box * (1 if fits_one else boxes)
    room = MEMORY_SHARE * group.memory - weights / gpus
    tokens = max(0, int(room / kv_bytes)) if fits else 0
    ceiling = group.bandwidth * gpus / read if fits else 0.0
    lines = [
        f"weights as published: {weights / GB:,.1f} GB",
        f"GPU memory: {boxes} × {group.per_box} × {group.memory / GB:,.1f} GB × {MEMORY_SHARE} = "
        f"{usable / GB:,.1f} GB",
    ]
    if not fits:
        missing = f"{(weights - usable) / GB:,.1f} GB are missing"
        lines.append(f"{weights / GB:,.1f} GB − {usable / GB:,.1f} GB = {missing}")
        return GpuFit(weights, usable, fits_one, fits, 0, 0.0, tuple(lines))
    lines += [
        f"each of {gpus} GPUs: {MEMORY_SHARE} × {group.memory / GB:,.1f} GB − "
        f"{weights / GB:,.1f} GB / {gpus} = {room / GB:,.2f} GB for the cache",
        f"cache: {room / GB:,.2f} GB / {kv_bytes:,} bytes a token = {tokens:,} tokens, if each GPU "
        "has all of it",
        f"at most: {gpus} × {group.bandwidth / GB:,.0f} GB/s / {read / GB:,.2f} GB a token = "
        f"{ceiling:,.0f} tokens/s for one conversation, by memory alone",
    ]
    return GpuFit(weights, usable, fits_one, fits, tokens, ceiling, tuple(lines))
