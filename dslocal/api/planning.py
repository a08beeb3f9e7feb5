"""What a model takes on a machine, and how fast it will be, before anything is downloaded.

Joins names (``catalog``), headers that a conversion would give (``convert``) and the search for
settings (``plan``). Reads headers only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dslocal.errors import UsageError

from .load_options import overrides, streams_experts
from .machines import MachineOptions, machine_and_rates, with_ssd_of

if TYPE_CHECKING:
    from dslocal.catalog import ModelEntry
    from dslocal.plan.assessment import Assessment, PlannedModel
    from dslocal.plan.load_config import LoadConfig, MemoryUse
    from dslocal.plan.machine.machine import Machine
    from dslocal.plan.search import Overrides
    from dslocal.plan.speed import Rates


@dataclass(frozen=True)
class ModelPlan:
    """How a model runs on a machine.

    Attributes:
        model: the name of the model.
        quant: its quantization.
        verdict: "gpu", "offload" (GPU and CPU), "cpu", "ssd" (read from the disk as needed), or
            "no".
        settings: what it is loaded with.
        memory: bytes by part and device.
        tokens_per_second: the forecast for decoding, from a full context to an empty one.
        gave_up: what had to be given up to make it fit, in this order.
        lacking: bytes that are missing where the verdict is "ssd" or "no".
        download: bytes to download first, 0 for what is here.
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
        """Return whether it runs at all."""
        return self.verdict != "no"


class Assessed(NamedTuple):
    """An assessment with the machine and the rates that it was made for."""

    assessment: Assessment
    machine: Machine
    rates: Rates
    published: bool  # whether the model was found on the hub alone


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
        model: a name, a GGUF file, a checkpoint folder, or OWNER/NAME on the hub.
        quant: the quantization, such as "Q4_K_M". Without it, the one to take on that machine: the
            best that answers fast enough.
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
        bandwidth: GB/s of the GPU's memory, or of the RAM without a GPU that has its own.

    Returns:
        The plan. One that does not fit is an answer too: see ``fits``.

    Raises:
        NotFoundError: the model does not exist.
        UsageError: an argument is out of range, or what is decided cannot be had on any machine.
    """
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

    On this machine, llama.cpp's own sizing of a file that is here is the last word.

    Args:
        name: as for :func:`plan`.
        quant: as for :func:`plan`.
        machine: the machine to plan for.
        rates: what it reads a second.
        chosen: what the user decided.
        described: whether the machine is another one than this.
        fast_enough: tokens a second that a quantization should give to be chosen.

    Raises:
        NotFoundError: the model does not exist.
        UsageError: what is decided cannot be had.
    """
    from dslocal.engine import loader
    from dslocal.plan.assessment import assess
    from dslocal.plan.choice import MIN_TOKENS_PER_S, choose_quant

    def assess_here(other: PlannedModel) -> Assessment:
        return assess(other, machine, rates, chosen)

    def choose(found: Iterable[Assessment]) -> Assessment:
        return choose_quant(found, MIN_TOKENS_PER_S if fast_enough is None else fast_enough)

    wanted = _installed(name, quant)
    published = False
    if wanted is None:
        wanted = _on_hub(name, quant, assess_here, choose, machine.cores)
        published = wanted is not None
    registered = _registered(name)
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

    Each comes in the quantization to take on this machine, or in ``quant`` where that is given.
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
            seen[key] = assess(candidate, machine, rates, _capped(chosen, candidate))
        return replace(seen[key], model=candidate)

    for entry in entries:
        quants = [quant] if quant else entry.quants
        candidates = [_of_entry(entry, name, machine.cores) for name in quants]
        available = [candidate for candidate in candidates if candidate.method] or candidates
        yield choose_quant(map(assessed, available), enough)


def other_quants(name: str, model: PlannedModel, cores: int) -> list[tuple[str, PlannedModel]]:
    """Return the model's other quantizations by name, for what is not here as a file."""
    if not model.method:
        return []
    return [
        (other.quant, other) for other in quantizations(name, cores) if other.quant != model.quant
    ]


def registered_entry(name: str) -> ModelEntry | None:
    """Return the entry of models.yaml that ``name`` means, or None."""
    found = _registered(name)
    return found.entry if found else None


def quantizations(name: str, cores: int) -> Iterator[PlannedModel]:
    """Yield the quantizations of a model that can be converted or pulled, best first."""
    from dslocal import catalog

    found = _registered(name)
    quants = found.entry.quants if found else catalog.DEFAULT_QUANTS
    base = found.entry.name if found else name
    all_of_them = [planned_model(base, quant, cores) for quant in quants]
    return iter([each for each in all_of_them if each.method] or all_of_them)


def planned_model(name: str, quant: str | None, cores: int) -> PlannedModel:
    """Return what a name of models.yaml, a GGUF file or a checkpoint folder stands for.

    Raises:
        NotFoundError: the model does not exist.
        UsageError: ``quant`` is given for a GGUF file.
    """
    import dslocal.convert as converter
    from dslocal.catalog import resolve
    from dslocal.plan.assessment import PlannedModel

    registered = _registered(name)
    if registered is not None:
        entry = registered.entry
        if quant and registered.quant and quant.upper() != registered.quant.upper():
            raise UsageError(
                f"--quant {quant}: and {name:.200} names {registered.quant}", hint="one of them"
            )
        return _of_entry(entry, quant or registered.quant or entry.quant, cores)
    found = resolve.resolve_model(name)
    if isinstance(found, Path):
        if quant:
            raise UsageError(
                f"--quant: {found.name} is a GGUF file, and is as it is",
                hint="a checkpoint or a name can be converted",
            )
        return _of_file(found)
    checkpoint = converter.open_checkpoint(converter.FolderSource(found.folder))
    recipe = converter.recipe_named(quant or found.quant)
    header = converter.header_from_config(
        checkpoint.config.values, recipe, mtp=converter.has_mtp_layer(checkpoint)
    )
    name = found.name
    return PlannedModel(
        name, quant or found.quant, header, disk=header.file_size, method="converted"
    )


def _installed(name: str, quant: str | None) -> PlannedModel | None:
    """Return the GGUF file that ``name`` means, if it has been pulled or imported."""
    from dslocal import catalog
    from dslocal.catalog import resolve

    wanted = f"{name}:{quant}" if quant else name
    found = catalog.find_installed(wanted)
    if found is None and not Path(name).exists():
        found = resolve.find_spelled(wanted)
    if found is None or found.quant == catalog.CHECKPOINT or found.missing:
        return None
    return _of_file(found.path)


def _on_hub(
    name: str,
    quant: str | None,
    assess: Callable[[PlannedModel], Assessment],
    choose: Callable[[Iterable[Assessment]], Assessment],
    cores: int,
) -> PlannedModel | None:
    """Return what ``name`` stands for on the hub or behind a URL, by headers alone.

    None for what models.yaml knows, or is here.
    """
    from dslocal.catalog.downloads.download_choice import choose_download
    from dslocal.catalog.locations import find_published

    place = find_published(name)
    if place is None or (place.entry is not None and not place.file):
        return None
    wanted = quant or place.quant or None
    choice = choose_download(place, wanted, None, assess, choose, cores, sys.maxsize)
    return choice.offer.model


class _Registered(NamedTuple):
    """A model of models.yaml, and the quantization that was written behind its name, if any."""

    entry: ModelEntry
    quant: str


def _registered(name: str) -> _Registered | None:
    """Return the model of models.yaml that ``name`` means, by its own name or its repository's."""
    from dslocal import catalog
    from dslocal.catalog.locations import find_published

    place = find_published(name)
    if place is not None:
        return _Registered(place.entry, place.quant) if place.entry else None
    entry = catalog.load_registry().get(name.lower())
    return _Registered(entry, "") if entry else None


def _of_file(path: Path) -> PlannedModel:
    from dslocal.gguf.header import main_type
    from dslocal.gguf.parts import read_parts
    from dslocal.plan.assessment import PlannedModel

    header = read_parts(path)[1]
    title = header.text("general.name") or path.stem
    return PlannedModel(title, main_type(header), header, file=path)


def _of_entry(entry: ModelEntry, quant: str, cores: int) -> PlannedModel:
    """Return a model of models.yaml as it would be had."""
    import dslocal.convert as converter
    from dslocal.catalog.downloads import offers
    from dslocal.plan.assessment import PlannedModel

    if entry.local:
        return _outlined(entry.name, entry.config, quant)
    offer = offers.expected_offer(entry, quant, cores)
    if offer is not None:
        return offer.model
    quant = offers.quant_as_listed(entry, quant)
    header = offers.expected_header(entry, quant)
    download = converter.checkpoint_bytes(entry.config, entry.dtype)
    return PlannedModel(
        entry.name,
        quant,
        header,
        download,
        download,
        obstacle="pickled" if entry.weights == "pytorch" else "imatrix",
    )


def _outlined(name: str, config: Mapping[str, Any], quant: str) -> PlannedModel:
    """Return the model that a checkpoint that is here becomes."""
    import dslocal.convert as converter
    from dslocal.plan.assessment import PlannedModel

    header = converter.header_from_config(config, converter.recipe_named(quant))
    return PlannedModel(name, quant, header, disk=header.file_size, method="converted")


def _capped(chosen: Overrides, model: PlannedModel) -> Overrides:
    """Return ``chosen`` without more context than ``model`` has."""
    if not chosen.n_ctx:
        return chosen
    trained = model.header.of_arch("context_length", chosen.n_ctx)
    return replace(chosen, n_ctx=min(chosen.n_ctx, trained))
