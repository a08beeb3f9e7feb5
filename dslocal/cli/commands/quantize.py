"""``dslocal quantize``: make other quantizations of a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.cli.converting import results
from dslocal.cli.converting.options import OutputFileOptions, RunOptions
from dslocal.cli.option_groups import QuantizedModel, with_option_groups

if TYPE_CHECKING:
    from dslocal.api.quantization.quantize import QuantizationRequest
    from dslocal.convert import ConversionPlan, ConversionReport
    from dslocal.terminal.progress import ProgressDisplay


@with_option_groups
def quantize(
    *,
    model: QuantizedModel,
    output: OutputFileOptions,
    run: RunOptions,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Write the file even if it is larger than its source, which is quantized already.",
        ),
    ] = False,
) -> None:
    """Make another quantization of a GGUF file.

    The file's metadata is kept. The best source is a checkpoint (dslocal convert); the next best is
    a BF16 or Q8_0 file. Repeat the command to continue an interrupted run.
    """
    from dslocal.cli import session_setup
    from dslocal.gguf.parts import model_stem
    from dslocal.terminal.progress import show_progress

    if output.is_auto:
        session_setup.continue_in_child()  # llama.cpp will evaluate a text, and may crash
    named = model.required(
        "no model is named", hint="dslocal quantize FILE.gguf, or a model's name"
    )
    job = _quantization_job(named, output, run, allow_larger=yes)
    with show_progress(
        model_stem(job.source.name), as_json=run.as_json, doing="quantizing", done="quantized"
    ) as shown:
        if run.dry_run:
            results.print_needs(_needs(job, shown), as_json=run.as_json)
            return
        plan, reports = _write(job, shown, shows_bits=output.size is not None and not run.as_json)
    errors = None
    if run.verify:
        errors = results.verified(plan, job.targets, job.jobs, as_json=run.as_json)
        results.load_each([report.path for report in reports])
    results.print_results(reports, errors, as_json=run.as_json)
    if not run.as_json and results.is_whole_model(reports[0].path):
        results.print_next_step(reports[0].path)


@dataclass(frozen=True)
class QuantizationJob:
    """A requested quantization.

    Attributes:
        source: The GGUF file.
        targets: The files to write, one for each recipe.
        request: What to make of the source.
        jobs: Threads; None for one a core.
    """

    source: Path
    targets: list[Path]
    request: QuantizationRequest
    jobs: int | None


def _quantization_job(
    source: str, output: OutputFileOptions, run: RunOptions, *, allow_larger: bool
) -> QuantizationJob:
    """Return what the options ask for.

    Raises:
        UsageError: They cannot be combined, or a file is there already.
        NotFoundError: The model or the output's folder does not exist.
    """
    from dslocal.api.quantization import output_files
    from dslocal.api.quantization.quantize import QuantizationRequest, find_gguf, model_name

    recipes = output_files.choose_recipes(output.quant, output.recipe, output.size)
    path = find_gguf(source)
    targets = output_files.choose_outputs(
        output.out, model_name(path), recipes, overwrite=run.force, is_auto=output.is_auto
    )
    request = QuantizationRequest(
        recipes,
        output_files.choose_split(output.split_experts, output.split_size),
        output_files.given_imatrix(output.imatrix),
        allow_larger,
    )
    if output.is_auto:
        from dslocal.api.quantization.auto_files import AutoImatrix
        from dslocal.cli.session_setup import load_model

        auto = AutoImatrix(targets[0], output.keep_intermediate, load_model)
        request = replace(request, auto=auto)
    return QuantizationJob(path, targets, request, run.jobs)


def _needs(job: QuantizationJob, shown: ProgressDisplay) -> results.Needs:
    """Return what the quantization takes."""
    import dslocal.convert as converter
    from dslocal.api.quantization import quantize as quantization

    model = converter.open_gguf(job.source)
    auto = job.request.auto
    if auto is None:
        plan = quantization.plan_quantization(model, job.request, job.targets, shown)
        return results.Needs(plan, job.targets)
    measured = quantization.measured_quantization(model, job.request, job.targets, auto)
    return results.Needs(measured.plan(measured.expected), job.targets, measured=measured)


def _write(
    job: QuantizationJob, shown: ProgressDisplay, *, shows_bits: bool
) -> tuple[ConversionPlan, list[ConversionReport]]:
    """Quantize, and return the plan and a report for each output.

    Raises:
        typer.Exit: Ctrl-C.
    """
    from dslocal.api.quantization import output_files
    from dslocal.api.quantization.quantize import write_quantizations

    output_files.log_name_notice(job.targets, shown)
    with results.stoppable(shown) as progress:
        return write_quantizations(
            job.source,
            job.request,
            job.targets,
            progress,
            jobs=job.jobs,
            on_planned=results.print_bits if shows_bits else None,
        )
