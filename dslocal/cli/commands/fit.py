"""``dslocal fit``: what runs on this machine, or on another, how, and how fast, before a byte is
downloaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.option_groups import NamedModel
from dslocal.cli.options import AsJson, Ctx, GpuLayers, Kv, ModelFlag

if TYPE_CHECKING:
    from dslocal.api.planning import Assessed
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
    model_option: ModelFlag = None,
    ctx: Ctx = None,
    kv: Kv = None,
    ubatch: Annotated[
        int | None,
        typer.Option("--ubatch", help="Tokens of a micro-batch. [up to 512]", show_default=False),
    ] = None,
    flash_attn: Annotated[
        bool | None, typer.Option("--flash-attn/--no-flash-attn", help="[on]", show_default=False)
    ] = None,
    n_gpu_layers: GpuLayers = None,
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
    from dslocal.api import machines, planning
    from dslocal.api.load_options import FLAG_NAMES, overrides
    from dslocal.plan.assessment import as_json as assessment_json

    chosen = overrides(ctx, kv, ubatch, flash_attn, n_gpu_layers, cpu_moe, names=FLAG_NAMES)
    machine, rates = machines.machine_and_rates(ram, vram, os)
    model = NamedModel(model, model_option).name
    if model is None:
        _print_all(machine, rates, chosen, quant, explain=explain, as_json=as_json)
        return
    described = any(option is not None for option in (ram, vram, os))
    assessed = planning.assess_named(model, quant, machine, rates, chosen, described=described)
    if as_json:
        fields = assessment_json(assessed.assessment, assessed.machine, assessed.rates.ram)
        print(json.dumps(fields))
    else:
        _print_one(model, assessed, chosen, explain=explain)


def _print_all(
    machine: Machine,
    rates: Rates,
    chosen: Overrides,
    quant: str | None,
    *,
    explain: bool,
    as_json: bool,
) -> None:
    """Print every model of models.yaml, or what their kinds of attention are."""
    from dslocal.api.planning import assess_registry
    from dslocal.plan.assessment import as_json as assessment_json
    from dslocal.terminal.reports import fit_arithmetic, fit_report

    if explain and not as_json:
        fit_arithmetic.print_attention_kinds()
        return
    rows = assess_registry(machine, rates, chosen, quant)
    if as_json:
        print(json.dumps({"models": [assessment_json(row, machine, rates.ram) for row in rows]}))
    else:
        fit_report.print_table(rows, machine)


def _print_one(model: str, assessed: Assessed, chosen: Overrides, *, explain: bool) -> None:
    """Print the plan of one model, and what else could be done with it."""
    from dslocal.api.planning import other_quants
    from dslocal.plan.assessment import alternatives, assess
    from dslocal.terminal.reports import fit_arithmetic, fit_report

    found = assessed.assessment
    machine, rates = assessed.machine, assessed.rates
    quants = [] if assessed.published else other_quants(model, found.model, machine.cores)
    others = [(name, assess(other, machine, rates, chosen)) for name, other in quants]
    others += alternatives(found, machine, rates, chosen)
    fit_report.print_plan(found, machine, others)
    if explain:
        fit_arithmetic.print_arithmetic(found, rates, machine)
