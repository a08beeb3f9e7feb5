"""Which weights a token reads, and how many of them are in memory."""

from __future__ import annotations

from collections.abc import Iterator

from dslocal.plan.expert_streaming import harmonic_number
from dslocal.plan.speed import WeightReads, WeightRoom

from .figures import Row, figure, mb, percent


def weight_rows(reads: WeightReads) -> Iterator[Row]:
    """Yield how much of the weights a token reads on the GPU, and in RAM."""
    tiers = (("GPU:", reads.gpu, reads.gpu_experts), ("RAM:", reads.ram, reads.ram_experts))
    for title, always, experts in tiers:
        if always:
            yield title, f"{mb(always)}" + (" without experts" if reads.experts else "")
        if experts:
            used = f"{mb(experts)} of experts × {reads.used} / {reads.experts}"
            yield title, f"{used} = {mb(experts * reads.used_share)}"


def room_rows(room: WeightRoom, reads: WeightReads, *, streams: bool) -> Iterator[Row]:
    """Yield what of the weights is in memory."""
    yield "", "not all of that is in memory"
    kept_free = f" − {mb(room.kept_free)} kept free" if room.kept_free else ""
    yield (
        "room:",
        f"{mb(room.available)} available − {mb(room.taken)} of KV cache and buffers{kept_free}"
        f" = {mb(room.size)}",
    )
    if room.dense_missing:
        yield "", "  what every token reads does not fit there: all of it is read again each time"
        return
    held = 1 - room.experts_missing
    yield (
        "experts:",
        f"({mb(room.size)} − {mb(reads.ram)}) / {mb(reads.ram_experts)} = {percent(held)}"
        " are in memory",
    )
    yield "missing:", _missing(held) + (", if all are chosen equally often" if streams else "")
    if streams:
        yield from _skewed_rows(room, reads, held)


def _skewed_rows(room: WeightRoom, reads: WeightReads, held: float) -> Iterator[Row]:
    """Yield what is missing if the router prefers some experts."""
    count = held * reads.experts
    yield (
        "or:",
        "if the n-th most frequent one is chosen 1/n as often as the first; H(n) is"
        " 1 + 1/2 + … + 1/n",
    )
    yield "held:", f"{percent(held)} × {reads.experts} experts = {figure(count)}"
    mass, total = harmonic_number(count), harmonic_number(reads.experts)
    found = 1 - room.missing_share(reads.experts, skewed=True)
    yield (
        "found:",
        f"H({figure(count)}) / H({reads.experts}) = {figure(mass)} / {figure(total)}"
        f" = {percent(found)} are in memory",
    )
    yield "missing:", _missing(found)


def _missing(held: float) -> str:
    return f"100 % − {percent(held)} = {percent(1 - held)}"
