"""``dslocal fit``: what runs on this machine, or on another, how, and how fast, before a byte is
downloaded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli import completion_values
from dslocal.cli.options import AsJson
from dslocal.errors import UsageError

if TYPE_CHECKING:
    from dslocal.catalog import ModelEntry
    from dslocal.catalog.offers import Assess
    from dslocal.plan.assessment import Assessment, PlannedModel
    from dslocal.plan.machine.machine import Machine
    from dslocal.plan.search import Overrides
    from dslocal.plan.speed import Rates


def fit(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A name, a file or folder, or hf:OWNER/NAME[/FILE]. [all in models.yaml]",
            show_default=False,
            autocompletion=completion_values.models,
        ),
    ] = None,
    ctx: Annotated[
        int | None,
        typer.Option(
            "--ctx", help="Tokens of context. [what fits, up to 32768]", show_default=False
        ),
    ] = None,
    kv: Annotated[
        str | None,
        typer.Option(
            "--kv", help="KV cache: f16, q8_0 or q4_0. [the best that fits]", show_default=False
        ),
    ] = None,
    ubatch: Annotated[
        int | None,
        typer.Option("--ubatch", help="Tokens of a micro-batch. [up to 512]", show_default=False),
    ] = None,
    flash_attn: Annotated[
        bool | None, typer.Option("--flash-attn/--no-flash-attn", help="[on]", show_default=False)
    ] = None,
    n_gpu_layers: Annotated[
        int | None,
        typer.Option(
            "--n-gpu-layers", help="Layers on the GPU. [all that fit]", show_default=False
        ),
    ] = None,
    cpu_moe: Annotated[
        str | None,
        typer.Option(
            "--cpu-moe",
            help="Layers whose experts stay in RAM: a number, all or auto.",
            show_default=False,
        ),
    ] = None,
    quant: Annotated[
        str | None,
        typer.Option(
            "--quant",
            help="As Q4_K_M. [the model's; in the table the best that fits]",
            autocompletion=completion_values.quants,
        ),
    ] = None,
    ram: Annotated[
        str | None,
        typer.Option(
            "--ram", help="Plan for a machine with this much; 16GB is 16 GiB.", show_default=False
        ),
    ] = None,
    vram: Annotated[
        str | None,
        typer.Option("--vram", help="With this much GPU memory; 0 for none.", show_default=False),
    ] = None,
    os: Annotated[
        str | None,
        typer.Option("--os", help="linux, macos or windows. [this one's]", show_default=False),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the arithmetic.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what runs here, with which settings, how much memory it takes and how fast it will be."""
    from dslocal.cli import plan_options, target_machine
    from dslocal.engine import loader
    from dslocal.plan.assessment import alternatives, assess
    from dslocal.plan.assessment import as_json as fields_of
    from dslocal.terminal.reports import fit_report

    pins = plan_options.pins(ctx, kv, ubatch, flash_attn, n_gpu_layers, cpu_moe)
    machine, rates = target_machine.machine_and_rates(ram, vram, os)
    if model is None:
        if explain and not as_json:
            fit_report.print_kinds()
            return
        rows = list(_table(machine, rates, pins, quant))
        if as_json:
            print(json.dumps({"models": [fields_of(row, machine, rates.ram) for row in rows]}))
        else:
            fit_report.print_table(rows, machine)
        return
    kept = _kept(model, quant)
    published = (
        None
        if kept
        else _published(
            model, quant, lambda other: assess(other, machine, rates, pins), machine.cores
        )
    )
    wanted = kept or published or _model(model, quant)
    here = wanted.file if ram is None and vram is None and os is None else None
    if here:
        machine = loader.limited(machine, here)
    found = assess(wanted, machine, rates, pins)
    if here:
        found = assess(
            wanted,
            machine,
            rates,
            pins,
            loader.checked(here, wanted.header, found.plan, machine, pins),
        )
    if found.plan.verdict == "ssd" and found.model.file:
        rates = target_machine.with_ssd_of(found.model.file, machine, rates)
        found = assess(found.model, machine, rates, pins, found.plan)
    if as_json:
        print(json.dumps(fields_of(found, machine, rates.ram)))
        return
    others = [
        (name, assess(other, machine, rates, pins))
        for name, other in ([] if published else _other_quants(model, found.model))
    ]
    fit_report.print_plan(found, machine, [*others, *alternatives(found, machine, rates, pins)])
    if explain:
        fit_report.print_arithmetic(found, rates, machine)


def _table(
    machine: Machine, rates: Rates, pins: Overrides, quant: str | None
) -> Iterator[Assessment]:
    """Every model in the best of its quantizations that runs without the SSD, or the smallest if
    none does.
    """
    from dslocal import catalog
    from dslocal.plan.assessment import assess

    seen: dict[tuple[int, int], Assessment] = {}
    for entry in sorted(
        catalog.load_registry().values(), key=lambda entry: (entry.parameters, entry.name)
    ):
        best: Assessment | None = None
        for name in [quant] if quant else entry.quants:
            candidate = _entry(entry, name)
            key = id(candidate.header), candidate.download
            found = seen.get(key) or assess(candidate, machine, rates, _at_most(pins, candidate))
            seen[key] = found
            best = _named(found, candidate)
            if found.plan.verdict in ("gpu", "offload", "cpu"):
                break
        if best:
            yield best


def _at_most(pins: Overrides, model: PlannedModel) -> Overrides:
    """``pins`` without more context than ``model`` has."""
    from dataclasses import replace

    return (
        replace(pins, n_ctx=min(pins.n_ctx, model.header.of_arch("context_length", pins.n_ctx)))
        if pins.n_ctx
        else pins
    )


def _named(found: Assessment, model: PlannedModel) -> Assessment:
    from dataclasses import replace

    return replace(found, model=model)


def _kept(name: str, quant: str | None) -> PlannedModel | None:
    """The GGUF file that ``name`` means, if it has been pulled or imported."""
    from dslocal import catalog

    found = catalog.find_installed(name, quant) if quant else catalog.find_installed(name)
    return (
        _file(found.path)
        if found and found.quant != catalog.CHECKPOINT and not found.missing
        else None
    )


def _file(path: Path) -> PlannedModel:
    from dslocal.gguf.header import main_type
    from dslocal.gguf.parts import parts_of
    from dslocal.plan.assessment import PlannedModel

    header = parts_of(path)[1]
    return PlannedModel(
        header.text("general.name") or path.stem, main_type(header), header, file=path
    )


def _published(name: str, quant: str | None, assess: Assess, cores: int) -> PlannedModel | None:
    """What ``name`` stands for on the hub or behind a URL, by headers alone; None for what
    models.yaml knows, or is here.
    """
    from dslocal.catalog import offers
    from dslocal.catalog.locations import place_of

    place = place_of(name)
    if place is None or (place.entry is not None and not place.file):
        return None
    return offers.choose(place, quant, None, assess, cores, sys.maxsize).offer.model


def _model(name: str, quant: str | None) -> PlannedModel:
    """What ``name`` stands for. Raises NotFoundError, UsageError, and whatever is wrong with a
    file.
    """
    from dslocal import convert
    from dslocal.catalog import resolve

    entry = _known(name)
    if entry is not None:
        return _entry(entry, quant or entry.quant)
    found = resolve.find(name)
    if isinstance(found, Path):
        if quant:
            raise UsageError(
                f"--quant: {found.name} is a GGUF file, and is as it is",
                hint="a checkpoint or a name can be converted",
            )
        return _file(found)
    return _outlined(
        found.name,
        convert.open_checkpoint(convert.FolderSource(found.folder)).config.values,
        quant or found.quant,
    )


def _known(name: str) -> ModelEntry | None:
    """The model of models.yaml that ``name`` means, by its own name or its repository's."""
    from dslocal import catalog
    from dslocal.catalog.locations import place_of

    place = place_of(name)
    return place.entry if place else catalog.load_registry().get(name.lower())


def _outlined(
    name: str, config: Mapping[str, Any], quant: str, dtype: str | None = None
) -> PlannedModel:
    """``dtype`` is that of a checkpoint that is yet to be downloaded."""
    from dslocal import convert
    from dslocal.plan.assessment import PlannedModel

    header = convert.header_from_config(config, convert.recipe_named(quant))
    return PlannedModel(
        name,
        quant,
        header,
        convert.checkpoint_bytes(config, dtype) if dtype else 0,
        header.file_size,
    )


def _entry(entry: ModelEntry, quant: str) -> PlannedModel:
    return _outlined(entry.name, entry.config, quant, None if entry.local else entry.dtype)


def _other_quants(name: str, model: PlannedModel) -> list[tuple[str, PlannedModel]]:
    """The neighbours of the quantization that was asked for, for what can still be converted."""
    from dslocal import catalog

    if not model.output:
        return []
    entry = _known(name)
    return [
        (quant, _model(name, quant))
        for quant in (entry.quants if entry else catalog.DEFAULT_QUANTS)
        if quant != model.quant
    ]
