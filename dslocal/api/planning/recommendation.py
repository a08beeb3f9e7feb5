"""Recommend the best real model for a machine, for users who do not know any model.

Uses no network. The first screen of a chat, ``dslocal fit`` and ``dslocal pull`` plan with the same
machine, rates and settings, so that they say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dslocal.plan.choice import FROM_MEMORY, MIN_TOKENS_PER_S, is_fast_enough
from dslocal.plan.overrides import NO_OVERRIDES, Overrides

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dslocal.plan.assessment import Assessment
    from dslocal.plan.machine.machine import Machine
    from dslocal.plan.speed import Rates


@dataclass(frozen=True)
class RecommendedModel:
    """A recommended model, in the quantization that ``dslocal pull`` would choose.

    Attributes:
        name: its name in models.yaml.
        quant: its quantization.
        download: bytes to fetch.
        disk: the most bytes of disk that a download and conversion needs at any time.
        tokens_per_s: the middle of the forecast.
        runs: where it runs: "gpu", "offload" (GPU and CPU) or "cpu".
        is_fast: whether it reaches the wanted speed.
    """

    name: str
    quant: str
    download: int
    disk: int
    tokens_per_s: float
    runs: str
    is_fast: bool

    @property
    def command(self) -> str:
        """Return the command that gets it."""
        return f"dslocal pull {self.name}"


def recommend(
    rows: Iterable[Assessment], fast_enough: float = MIN_TOKENS_PER_S
) -> RecommendedModel | None:
    """Return the model to take: the first that is fast enough, or else the fastest that runs.

    Args:
        rows: the recommended models on one machine, in their order, each in the quantization to
            take there. What comes after the first that is fast enough is not looked at.
        fast_enough: tokens a second that are.

    Returns:
        None where none of them runs from memory.
    """
    running: list[Assessment] = []
    for row in rows:
        if is_fast_enough(row, fast_enough):
            return _recommendation(row, is_fast=True)
        if row.plan.verdict in FROM_MEMORY:
            running.append(row)
    if not running:
        return None
    return _recommendation(max(running, key=lambda row: row.speed.middle), is_fast=False)


def recommended_of(rows: Iterable[Assessment]) -> list[Assessment]:
    """Return those of ``rows`` that models.yaml recommends, in its order."""
    from dslocal import catalog

    places = {entry.name: entry.recommended for entry in catalog.load_registry().values()}
    chosen = [row for row in rows if places.get(row.model.name)]
    return sorted(chosen, key=lambda row: places[row.model.name])


def best_model(
    machine: Machine,
    rates: Rates,
    fast_enough: float = MIN_TOKENS_PER_S,
    chosen: Overrides = NO_OVERRIDES,
) -> RecommendedModel | None:
    """Return the model to take on a machine; None where none that is recommended runs there.

    Args:
        machine: the machine.
        rates: what it reads a second.
        fast_enough: tokens a second that are fast enough.
        chosen: what the user decided about loading a model.
    """
    from dslocal import catalog

    from .assess import assess_entries

    entries = [entry for entry in catalog.load_registry().values() if entry.recommended]
    entries.sort(key=lambda entry: entry.recommended)
    rows = assess_entries(entries, machine, rates, chosen, fast_enough=fast_enough)
    return recommend(rows, fast_enough)


def best_model_here(
    fast_enough: float = MIN_TOKENS_PER_S, chosen: Overrides = NO_OVERRIDES
) -> RecommendedModel | None:
    """Return the model to take on this machine.

    The first time, this measures the machine, which takes half a second; later calls take less than
    a tenth of a second. Arguments are those of :func:`best_model`.
    """
    from .machines import machine_and_rates

    return best_model(*machine_and_rates(), fast_enough, chosen)


def better_model(
    found: Assessment,
    machine: Machine,
    rates: Rates,
    chosen: Overrides,
    fast_enough: float = MIN_TOKENS_PER_S,
) -> RecommendedModel | None:
    """Return the model to choose instead of one that does not fit into the machine's memory.

    Args:
        found: the model on the machine.
        machine: the machine.
        rates: what it reads a second.
        chosen: what the user decided.
        fast_enough: tokens a second that are fast enough.

    Returns:
        None where the model runs from memory, or nothing that is recommended does.
    """
    if found.plan.verdict in FROM_MEMORY:
        return None
    # How a model is split over devices was decided for that model.
    kept = Overrides(n_ctx=chosen.n_ctx, kv_type=chosen.kv_type)
    return best_model(machine, rates, fast_enough, kept)


def _recommendation(row: Assessment, *, is_fast: bool) -> RecommendedModel:
    return RecommendedModel(
        name=row.model.name,
        quant=row.model.quant,
        download=row.model.download,
        disk=row.model.disk,
        tokens_per_s=row.speed.middle,
        runs=row.plan.verdict,
        is_fast=is_fast,
    )


def unused_gpu_here() -> str:
    """Return a note about a GPU of this machine that llama.cpp was not built for; empty for none.

    Takes some milliseconds.
    """
    from dslocal.plan.machine.probe import probe_machine

    return probe_machine().unused_gpu
