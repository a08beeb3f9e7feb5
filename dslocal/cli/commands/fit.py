"""``dslocal fit``: plan which models run on a machine, how, and how fast, before a download."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.option_groups import NamedModel
from dslocal.cli.options import (
    AsJson,
    Ctx,
    GpuLayers,
    Kv,
    MinSpeed,
    RequiredModelFlag,
    Rpc,
    StreamExperts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dslocal.api.planning.assess import Assessed
    from dslocal.plan.assessment import Assessment
    from dslocal.plan.machine.machine import Machine
    from dslocal.plan.overrides import Overrides
    from dslocal.plan.speed import Rates


def fit(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A name, a file or folder, or hf:OWNER/NAME[/FILE]. [all in models.yaml]",
            show_default=False,
            autocompletion=completion_values.models,
        ),
    ] = None,
    model_option: RequiredModelFlag = None,
    ctx: Ctx = None,
    kv: Kv = None,
    ubatch: Annotated[
        int | None,
        typer.Option(
            "--ubatch", metavar="N", help="Tokens in a micro-batch. [up to 512]", show_default=False
        ),
    ] = None,
    flash_attn: Annotated[
        bool | None,
        typer.Option(
            "--flash-attn/--no-flash-attn", help="Use flash attention. [on]", show_default=False
        ),
    ] = None,
    n_gpu_layers: GpuLayers = None,
    cpu_moe: Annotated[
        str | None,
        typer.Option(
            "--cpu-moe",
            metavar="LAYERS",
            help="Layers whose experts stay in RAM: a number, all or auto.",
            show_default=False,
        ),
    ] = None,
    stream_experts: StreamExperts = None,
    rpc: Rpc = None,
    quant: Annotated[
        str | None,
        typer.Option(
            "--quant",
            metavar="TYPE",
            help="The quantization, such as Q4_K_M. [the best that is fast enough here]",
            autocompletion=completion_values.quants,
        ),
    ] = None,
    ram: Annotated[
        str | None,
        typer.Option(
            "--ram",
            metavar="SIZE",
            help="Plan for a machine with this much RAM; 16GB is read as 16 GiB.",
            show_default=False,
        ),
    ] = None,
    vram: Annotated[
        list[str] | None,
        typer.Option(
            "--vram",
            metavar="SIZE",
            help="Plan for a GPU with this much memory. 0 is no GPU; 24GB,24GB, or the option "
            "twice, is two GPUs.",
            show_default=False,
        ),
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu",
            metavar="NAME",
            help="Plan for this GPU, such as 'RTX 4090' or '2x RTX 3090'.",
            show_default=False,
            autocompletion=completion_values.gpus,
        ),
    ] = None,
    cpu: Annotated[
        str | None,
        typer.Option(
            "--cpu",
            metavar="NAME",
            help="Plan for this CPU, such as 'EPYC 9554', or this memory, such as '8-channel "
            "DDR5'.",
            show_default=False,
            autocompletion=completion_values.cpus,
        ),
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option(
            "--chip",
            metavar="NAME",
            help="Plan for this chip, whose GPU shares the RAM, such as 'M4 Max' or 'Strix Halo'.",
            show_default=False,
            autocompletion=completion_values.chips,
        ),
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(
            "--bandwidth",
            metavar="GB/S",
            help="Memory bandwidth in GB/s: of the GPU, or of the RAM where no GPU has memory of "
            "its own.",
            show_default=False,
        ),
    ] = None,
    os: Annotated[
        str | None,
        typer.Option(
            "--os",
            metavar="NAME",
            help="The operating system: linux, macos or windows. [this machine's]",
            show_default=False,
        ),
    ] = None,
    machines_file: Annotated[
        Path | None,
        typer.Option(
            "--machines",
            metavar="FILE",
            help="Plan for the machines listed in this YAML file: dslocal help cluster.",
            show_default=False,
        ),
    ] = None,
    min_speed: MinSpeed = None,
    show_all: Annotated[
        bool,
        typer.Option("--all", help="List every model. [the best that run here, on one screen]"),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how memory and speed are computed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which models run here, in how much memory, and how fast."""
    from dslocal.api.load_options import overrides
    from dslocal.api.planning import machines
    from dslocal.api.planning.assess import assess_named, assess_registry
    from dslocal.cli import user_settings
    from dslocal.terminal.reports import fit_arithmetic

    n_ctx = user_settings.configured_context(ctx)
    names = user_settings.names_in_errors(ctx)
    chosen = overrides(n_ctx, kv, ubatch, flash_attn, n_gpu_layers, cpu_moe, names=names)
    chosen = replace(chosen, stream_experts=user_settings.streaming_mode(stream_experts))
    named = NamedModel(model, model_option)
    if machines_file is not None:
        _print_ways(named, quant, machines_file, chosen, as_json=as_json)
        return
    enough = user_settings.fast_enough(min_speed)
    options = machines.MachineOptions(ram, vram or (), os, gpu or (), cpu, chip, bandwidth)
    machine, rates = machines.machine_and_rates(options)
    if not options.is_other or rpc is not None:
        machine = machines.with_workers(machine, rates, user_settings.chosen_workers(rpc))
    model = named.name
    if model is not None:
        other = options.is_other
        assessed = assess_named(
            model, quant, machine, rates, chosen, described=other, fast_enough=enough
        )
        _print_faults(assessed)
        _print_one(model, assessed, chosen, enough, explain=explain, as_json=as_json)
    elif explain and not as_json:
        fit_arithmetic.print_attention_kinds()
    else:
        rows = assess_registry(machine, rates, chosen, quant, enough)
        _print_all(rows, machine, rates, enough, show_all=show_all, as_json=as_json)


def _print_ways(
    named: NamedModel, quant: str | None, file: Path, chosen: Overrides, *, as_json: bool
) -> None:
    """Print in which ways a model runs on the machines of a file."""
    from dslocal.api.cluster import cluster_ways, read_machines
    from dslocal.terminal.reports.cluster_report import print_ways, ways_json

    model = named.required(
        "--machines plans for one model", hint="dslocal fit MODEL --machines FILE"
    )
    ways = cluster_ways(model, quant, read_machines(file), chosen)
    if as_json:
        print(json.dumps(ways_json(model, ways)))
    else:
        print_ways(model, ways)


def _print_all(
    rows: Sequence[Assessment],
    machine: Machine,
    rates: Rates,
    enough: float,
    *,
    show_all: bool,
    as_json: bool,
) -> None:
    """Print every model of models.yaml, or those that most people want."""
    from dslocal import catalog
    from dslocal.api.planning.recommendation import recommend, recommended_of
    from dslocal.plan.assessment import as_json as assessment_json
    from dslocal.terminal.reports import fit_table

    recommended = recommended_of(rows)
    best = recommend(recommended, enough)
    if as_json:
        models = [assessment_json(row, machine, rates.ram) for row in rows]
        print(json.dumps({"models": models, "recommended": best.name if best else None}))
        return
    shown = rows
    if not show_all:
        registry = catalog.load_registry()
        usual = [row for row in rows if registry[row.model.name].is_usual]
        usual = [row for row in usual if row.plan.verdict != "no"]
        names = [best.name] if best else []
        names += [row.model.name for row in recommended]
        shown = fit_table.rows_for_a_screen(usual, machine, best, enough, names)
    fit_table.print_table(shown, machine, best, enough, hidden=len(rows) - len(shown))


def _print_faults(assessed: Assessed) -> None:
    """Print on stderr what is wrong with a file that is here."""
    import sys

    from dslocal.api.file_faults import faults_of
    from dslocal.terminal.sanitise import one_line

    model = assessed.assessment.model
    if model.file is None:
        return
    for fault in faults_of(model.header):
        print(f"dslocal: {one_line(model.file.name)}: {one_line(fault)}", file=sys.stderr)


def _print_one(
    model: str,
    assessed: Assessed,
    chosen: Overrides,
    enough: float,
    *,
    explain: bool,
    as_json: bool,
) -> None:
    """Print the plan of one model, and what else could be done with it."""
    from dslocal.api.planning.planned_models import other_quants
    from dslocal.api.planning.recommendation import better_model
    from dslocal.plan.assessment import alternatives, assess
    from dslocal.plan.assessment import as_json as assessment_json
    from dslocal.terminal.reports import fit_arithmetic, fit_report

    found = assessed.assessment
    machine, rates = assessed.machine, assessed.rates
    if as_json:
        print(json.dumps(assessment_json(found, machine, rates.ram)))
        return
    quants = [] if assessed.published else other_quants(model, found.model, machine.cores)
    others = [(name, assess(other, machine, rates, chosen)) for name, other in quants]
    others += alternatives(found, machine, rates, chosen)
    instead = better_model(found, machine, rates, chosen, enough)
    fit_report.print_plan(found, machine, others, instead)
    if explain:
        fit_arithmetic.print_arithmetic(found, rates, machine)
