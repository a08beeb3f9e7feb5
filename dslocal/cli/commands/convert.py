"""``dslocal convert``: convert a checkpoint to GGUF files in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.cli.converting import results
from dslocal.cli.converting.options import CheckpointOptions, OutputFileOptions, RunOptions
from dslocal.cli.option_groups import ConvertedModel, with_option_groups
from dslocal.errors import UsageError

if TYPE_CHECKING:
    from dslocal.api.conversion import ConversionRequest, Mtp
    from dslocal.catalog.locations import PublishedLocation
    from dslocal.catalog.resolve import LocalCheckpoint
    from dslocal.convert import ConversionPlan, ConversionReport
    from dslocal.terminal.progress import ProgressDisplay


@with_option_groups
def convert(
    *,
    source: ConvertedModel,
    output: OutputFileOptions,
    checkpoint: CheckpointOptions,
    run: RunOptions,
) -> None:
    """Convert a DeepSeek checkpoint to GGUF.

    Repeat the command to continue an interrupted run.
    """
    from dslocal.cli import session_setup
    from dslocal.terminal.progress import show_progress

    if run.verify and checkpoint.stream:
        raise UsageError(
            "--verify reads the checkpoint again, and --stream does not keep it",
            hint="use one of them",
        )
    if output.is_auto:
        session_setup.continue_in_child()  # llama.cpp will evaluate a text, and may crash
    named = source.required(
        "no checkpoint is named", hint="dslocal convert FOLDER, or a model's name"
    )
    job = _conversion_job(named, output, checkpoint, run)
    shows_bits = output.size is not None and not run.as_json
    with show_progress(job.found.name, as_json=run.as_json) as shown:
        if run.dry_run:
            _print_needs(job, shown, as_json=run.as_json)
            return
        plan, reports = _write(job, shown, shows_bits=shows_bits)
    is_draft = job.request.mtp in ("only", "dspark-only")  # a draft model needs its model
    models = [] if is_draft else [report.path for report in reports[: len(job.request.recipes)]]
    errors = None
    if run.verify:
        errors = results.verified(plan, job.targets, job.jobs, as_json=run.as_json)
        results.load_each(models)
    results.print_results(reports, errors, as_json=run.as_json)
    if models and not run.as_json:
        results.print_next_step(models[0])


@dataclass(frozen=True)
class ConversionJob:
    """A requested conversion.

    Attributes:
        found: The checkpoint.
        targets: The files to write, one for each recipe.
        request: What to make of the checkpoint.
        jobs: Threads; None for one a core.
    """

    found: LocalCheckpoint | PublishedLocation
    targets: list[Path]
    request: ConversionRequest
    jobs: int | None


def _conversion_job(
    source: str,
    output: OutputFileOptions,
    checkpoint: CheckpointOptions,
    run: RunOptions,
) -> ConversionJob:
    """Return what the options ask for.

    Raises:
        UsageError: They cannot be combined, or a file is there already.
        NotFoundError: The checkpoint or the output's folder does not exist.
    """
    from dslocal.api import checkpoint_source, conversion
    from dslocal.api.quantization import output_files

    recipes = output_files.choose_recipes(output.quant, output.recipe, output.size)
    found = checkpoint_source.find(source, checkpoint.revision, stream=checkpoint.stream)
    mtp = _mtp_mode(checkpoint)
    targets = output_files.choose_outputs(
        output.out,
        found.name,
        recipes,
        overwrite=run.force,
        has_drafter=mtp == "beside",
        is_auto=output.is_auto,
    )
    request = conversion.ConversionRequest(
        recipes,
        mtp,
        output_files.choose_split(output.split_experts, output.split_size),
        output_files.given_imatrix(output.imatrix),
        stream=checkpoint.stream,
    )
    if output.is_auto:
        from dslocal.cli.session_setup import load_model

        request = conversion.with_auto_imatrix(
            request, found, targets[0], keep=output.keep_intermediate, load=load_model
        )
    return ConversionJob(found, targets, request, run.jobs)


def _mtp_mode(checkpoint: CheckpointOptions) -> Mtp:
    asked: dict[Mtp, bool] = {
        "only": checkpoint.mtp_only,
        "dspark-only": checkpoint.dspark_only,
        "beside": checkpoint.with_drafter,
        "drop": not checkpoint.mtp,
    }
    modes = [mode for mode, is_asked in asked.items() if is_asked]
    if len(modes) > 1:
        raise UsageError(
            "--mtp-only, --dspark-only, --with-drafter and --no-mtp cannot be combined",
            hint="use one of them",
        )
    return modes[0] if modes else "keep"


def _write(
    job: ConversionJob, shown: ProgressDisplay, *, shows_bits: bool
) -> tuple[ConversionPlan, list[ConversionReport]]:
    """Convert, and return the plan and a report for each output.

    Raises:
        typer.Exit: Ctrl-C.
    """
    from dslocal.api import checkpoint_source, conversion
    from dslocal.api.quantization import output_files

    output_files.log_name_notice(job.targets, shown)
    with (
        results.stoppable(shown) as progress,
        output_files.output_folder(job.targets),
        checkpoint_source.opened(
            job.found, job.targets[0], shown, stream=job.request.stream
        ) as files,
    ):
        plan, reports = conversion.write_outputs(
            files,
            job.request,
            job.targets,
            progress,
            jobs=job.jobs,
            on_planned=results.print_bits if shows_bits else None,
        )
    return plan, reports


def _print_needs(job: ConversionJob, shown: ProgressDisplay, *, as_json: bool) -> None:
    """Print what the conversion would take."""
    from dslocal.api import checkpoint_source, conversion
    from dslocal.catalog.resolve import LocalCheckpoint

    measured = None
    with checkpoint_source.looked_at(job.found, shown) as files:
        if job.request.auto is not None:
            measured = conversion.measured_conversion(files, job.request, job.request.auto)
            plan = measured.plan(measured.expected)
        else:
            plan = conversion.plan_conversion(files, job.request, shown)
        shards = [plan.checkpoint.source.size(shard) for shard in plan.checkpoint.shards]
        streamed = checkpoint_source.streamed_bytes(plan)
    download = sum(shards) if not isinstance(job.found, LocalCheckpoint) else 0
    needs = results.Needs(plan, job.targets, download, streamed, measured)
    results.print_needs(needs, as_json=as_json)
