"""Assess models on a machine: one by its name, or all of models.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from .machines import with_ssd_of
from .planned_models import (
    installed_model,
    model_of_entry,
    model_on_hub,
    planned_model,
    quantizations,
    registered_model,
)

if TYPE_CHECKING:
    from dslocal.catalog import ModelEntry
    from dslocal.plan.assessment import Assessment, PlannedModel
    from dslocal.plan.machine.machine import Machine
    from dslocal.plan.overrides import Overrides
    from dslocal.plan.speed import Rates


class Assessed(NamedTuple):
    """An assessment with the machine and the rates that it was made for."""

    assessment: Assessment
    machine: Machine
    rates: Rates
    published: bool  # whether the model was found on the hub alone


def assess_named(
    name: str,
    quant: str | None,
    machine: Machine,
    rates: Rates,
    chosen: Overrides,
    *,
    described: bool,
    fast_enough: float | None = None,
) -> Assessed:
    """Assess the model that ``name`` means.

    For a file on this machine, llama.cpp's own sizing replaces the computed one.

    Args:
        name: as for :func:`plan`.
        quant: as for :func:`plan`.
        machine: the machine to plan for.
        rates: the rates at which it reads memory and disk.
        chosen: what the user decided.
        described: whether the machine is described, and not this one.
        fast_enough: tokens per second that a quantization should reach to be chosen.

    Raises:
        NotFoundError: the model does not exist.
        UsageError: the chosen settings are not possible.
    """
    from dslocal.engine import loader
    from dslocal.plan.assessment import assess
    from dslocal.plan.choice import MIN_TOKENS_PER_S, choose_quant

    def assess_here(other: PlannedModel) -> Assessment:
        return assess(other, machine, rates, chosen)

    def choose(found: Iterable[Assessment]) -> Assessment:
        return choose_quant(found, MIN_TOKENS_PER_S if fast_enough is None else fast_enough)

    wanted = installed_model(name, quant)
    published = False
    if wanted is None:
        wanted = model_on_hub(name, quant, assess_here, choose, machine.cores)
        published = wanted is not None
    registered = registered_model(name)
    if wanted is None and quant is None and registered is not None and not registered.quant:
        wanted = choose(map(assess_here, quantizations(name, machine.cores))).model
    if wanted is None:
        wanted = planned_model(name, quant, machine.cores)
    file = None if described else wanted.file
    if file:
        machine = loader.apply_memory_limit(machine, file)
    found = assess(wanted, machine, rates, chosen)
    if file:
        checked = loader.verify_plan(file, wanted.header, found.plan, machine, chosen)
        found = assess(wanted, machine, rates, chosen, checked)
    if found.plan.verdict == "ssd" and found.model.file:
        streams = found.plan.load_config.stream_experts
        rates = with_ssd_of(found.model.file, machine, rates, stream_experts=streams)
        found = assess(found.model, machine, rates, chosen, found.plan)
    return Assessed(found, machine, rates, published)


def assess_registry(
    machine: Machine,
    rates: Rates,
    chosen: Overrides,
    quant: str | None,
    fast_enough: float | None = None,
) -> list[Assessment]:
    """Assess every model of models.yaml, smallest first.

    Each is assessed in the quantization to choose on this machine, or in ``quant`` if that is
    given.
    """
    from dslocal import catalog

    entries = catalog.load_registry().values()
    by_size = sorted(entries, key=lambda entry: (entry.parameters, entry.name))
    return list(assess_entries(by_size, machine, rates, chosen, quant, fast_enough))


def assess_entries(
    entries: Iterable[ModelEntry],
    machine: Machine,
    rates: Rates,
    chosen: Overrides,
    quant: str | None = None,
    fast_enough: float | None = None,
) -> Iterator[Assessment]:
    """Yield models of models.yaml one by one, as :func:`assess_registry` returns them."""
    from dslocal.plan.assessment import assess
    from dslocal.plan.choice import MIN_TOKENS_PER_S, choose_quant

    enough = MIN_TOKENS_PER_S if fast_enough is None else fast_enough
    seen: dict[int, Assessment] = {}

    def assessed(candidate: PlannedModel) -> Assessment:
        """Plan a model once for all that have its header."""
        key = id(candidate.header)
        if key not in seen:
            seen[key] = assess(candidate, machine, rates, capped_context(chosen, candidate))
        return replace(seen[key], model=candidate)

    for entry in entries:
        quants = [quant] if quant else entry.quants
        candidates = [model_of_entry(entry, name, machine.cores) for name in quants]
        available = [candidate for candidate in candidates if candidate.method] or candidates
        yield choose_quant(map(assessed, available), enough)


def capped_context(chosen: Overrides, model: PlannedModel) -> Overrides:
    """Return ``chosen`` without more context than ``model`` has."""
    if not chosen.n_ctx:
        return chosen
    trained = model.header.of_arch("context_length", chosen.n_ctx)
    return replace(chosen, n_ctx=min(chosen.n_ctx, trained))
