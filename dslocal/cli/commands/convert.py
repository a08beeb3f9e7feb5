"""``dslocal convert``: a checkpoint to GGUF files, in one pass."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.conversion_options import CheckpointOptions, OutputFileOptions
from dslocal.cli.option_groups import ConvertedModel, with_option_groups
from dslocal.errors import ConversionError, ExitCode, UsageError

if TYPE_CHECKING:
    from dslocal.api.conversion import ConversionRequest, Mtp
    from dslocal.catalog.locations import PublishedLocation
    from dslocal.catalog.resolve import LocalCheckpoint
    from dslocal.convert import (
        ConversionPlan,
        ConversionProgress,
        ConversionReport,
        TensorClassRmse,
    )
    from dslocal.terminal.progress import ProgressDisplay


@with_option_groups
def convert(
    *,
    source: ConvertedModel,
    output: OutputFileOptions,
    checkpoint: CheckpointOptions,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, max=1024, help="Threads. [one a core]", show_default=False),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the result with the source, and load it once.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would take: bytes to fetch, disk, outputs."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are already there.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object, progress as JSON lines on stderr."),
    ] = False,
) -> None:
    """Convert a DeepSeek checkpoint to GGUF. Interrupted, the same command goes on where it was."""
    from dslocal.terminal.progress import show_progress

    if verify and checkpoint.stream:
        raise UsageError(
            "--verify reads the checkpoint once more, and --stream does not keep it",
            hint="one of them",
        )
    named = source.required("which checkpoint?", hint="dslocal convert FOLDER, or a model's name")
    job = _conversion_job(named, output, checkpoint, jobs, overwrite=force)
    shows_bits = output.size is not None and not as_json
    with show_progress(job.found.name, as_json=as_json) as shown:
        if dry_run:
            _print_needs(job, shown, as_json=as_json)
            return
        plan, reports = _write(job, shown, shows_bits=shows_bits)
    errors: list[TensorClassRmse] = []
    if verify:
        errors = _verify(job, plan, as_json=as_json)
        _load_each(job, reports)
    if as_json:
        fields: dict[str, Any] = {"outputs": [_report_json(report) for report in reports]}
        if verify:
            fields["verified"] = [dataclasses.asdict(error) for error in errors]
        print(json.dumps(fields))
    else:
        _print_reports(reports, errors)
    _require_tolerance(errors)


@dataclass(frozen=True)
class ConversionJob:
    """A conversion that was asked for.

    Attributes:
        found: The checkpoint.
        targets: The files to write, one for each recipe.
        request: What to make of the checkpoint.
        stream: Whether it is fetched, converted and deleted shard by shard.
        jobs: Threads; None for one a core.
    """

    found: LocalCheckpoint | PublishedLocation
    targets: list[Path]
    request: ConversionRequest
    stream: bool
    jobs: int | None


def _conversion_job(
    source: str,
    output: OutputFileOptions,
    checkpoint: CheckpointOptions,
    jobs: int | None,
    *,
    overwrite: bool,
) -> ConversionJob:
    """Return what the options ask for.

    Raises:
        UsageError: They exclude each other, or a file is there already.
        NotFoundError: The checkpoint or the output's folder does not exist.
    """
    import dslocal.convert as converter
    from dslocal.api import checkpoint_source, conversion
    from dslocal.api.sizes import size_in_bytes

    recipes = conversion.choose_recipes(output.quant, output.recipe, output.size)
    found = checkpoint_source.find(source, checkpoint.revision, stream=checkpoint.stream)
    mtp = _mtp_mode(output)
    targets = conversion.choose_outputs(
        output.out, found.name, recipes, overwrite=overwrite, has_drafter=mtp == "beside"
    )
    max_bytes = size_in_bytes(output.split_size) if output.split_size else 0
    request = conversion.ConversionRequest(
        recipes,
        mtp,
        converter.Split(output.split_experts, max_bytes),
        converter.load_imatrix(output.imatrix) if output.imatrix else None,
    )
    return ConversionJob(found, targets, request, checkpoint.stream, jobs)


def _mtp_mode(output: OutputFileOptions) -> Mtp:
    asked: dict[Mtp, bool] = {
        "only": output.mtp_only,
        "dspark-only": output.dspark_only,
        "beside": output.with_drafter,
        "drop": not output.mtp,
    }
    modes = [mode for mode, is_asked in asked.items() if is_asked]
    if len(modes) > 1:
        raise UsageError(
            "--mtp-only, --dspark-only, --with-drafter and --no-mtp exclude each other",
            hint="one of them",
        )
    return modes[0] if modes else "keep"


def _write(
    job: ConversionJob, shown: ProgressDisplay, *, shows_bits: bool
) -> tuple[ConversionPlan, list[ConversionReport]]:
    """Convert, and return the plan and a report for each output.

    Raises:
        typer.Exit: Ctrl-C.
    """
    import dslocal.convert as converter
    from dslocal.api import checkpoint_source, conversion

    progress = _RememberedProgress(shown)
    notice = conversion.name_notice(job.targets)
    if notice:
        shown.log(f"dslocal: {notice}")
    try:
        with (
            conversion.output_folder(job.targets),
            checkpoint_source.opened(job.found, job.targets[0], shown, stream=job.stream) as files,
        ):
            plan = conversion.plan_conversion(files, job.request, shown)
            if job.stream:
                checkpoint_source.require_disk_space(plan, job.targets)
            if shows_bits:
                _print_bits(plan)
            reports = converter.write_gguf(
                plan, job.targets, jobs=job.jobs, on_progress=progress.on_conversion
            )
    except KeyboardInterrupt:
        shown.log(
            f"dslocal: stopped at {progress.share:.0%}; the same command continues from there"
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    return plan, list(reports)


class _RememberedProgress:
    """Passes on how far a conversion is, and remembers it."""

    def __init__(self, shown: ProgressDisplay) -> None:
        self._shown = shown
        self.share = 0.0

    def on_conversion(self, state: ConversionProgress) -> None:
        self.share = state.done / max(state.total, 1)
        self._shown.on_conversion(state)


def _print_needs(job: ConversionJob, shown: ProgressDisplay, *, as_json: bool) -> None:
    """Print what the conversion would take."""
    from dslocal.api import checkpoint_source, conversion
    from dslocal.catalog.resolve import LocalCheckpoint
    from dslocal.files import decimal_size

    with checkpoint_source.looked_at(job.found, shown) as files:
        plan = conversion.plan_conversion(files, job.request, shown)
        shards = [plan.checkpoint.source.size(shard) for shard in plan.checkpoint.shards]
        streamed = checkpoint_source.streamed_bytes(plan)
    sizes = {
        target: sum(file.data_size for file in output.files)
        for target, output in zip(job.targets, plan.outputs, strict=True)
    }
    is_published = not isinstance(job.found, LocalCheckpoint)
    download = sum(shards) if is_published else 0
    disk = sum(sizes.values()) + download
    if as_json:
        fields = {
            "outputs": [{"path": str(path), "bytes": size} for path, size in sizes.items()],
            "download": download,
            "disk": disk,
            "disk_streamed": streamed if is_published else None,
        }
        print(json.dumps(fields))
        return
    if is_published:
        print(
            f"to fetch: {decimal_size(download)}; disk: {decimal_size(disk)}, "
            f"with --stream {decimal_size(streamed)}"
        )
    for path, size in sizes.items():
        print(f"{path}: {decimal_size(size)}")


def _print_reports(reports: Sequence[ConversionReport], errors: Sequence[TensorClassRmse]) -> None:
    for report in reports:
        files = f" in {report.files} files" if report.files > 1 else ""
        bits = report.nbytes * 8 / report.weights
        print(
            f"{report.path}: {report.nbytes / 1e6:,.1f} MB{files}, {report.tensors} tensors, "
            f"{bits:.2f} bits/weight, {report.seconds:.1f} s"
        )
    if errors:
        print(
            "relative RMSE by tensor class, beside what its types lose on random weights; "
            "up to twice that is ok:"
        )
    for error in errors:
        verdict = "ok" if error.is_within_tolerance else "WRONG"
        print(
            f"{error.recipe:<10} {error.tensor_class:<20} RMSE {error.measured:.5f}, "
            f"expected {error.expected:.5f}  {verdict}"
        )


def _print_bits(plan: ConversionPlan) -> None:
    """Print what a size buys: bits per weight by tensor class."""
    from dslocal.gguf.tensor_names import tensor_class

    weights: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    types: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for layout in plan.layouts:
        for placed in layout.tensors:
            name = tensor_class(placed.tensor.name)
            weights[name] += placed.tensor.elements
            nbytes[name] += placed.nbytes
            types[name][placed.kind.name] += 1
    for name, total in nbytes.most_common():
        mixture = ", ".join(f"{kind} × {n}" for kind, n in types[name].most_common())
        bits = total * 8 / weights[name]
        print(f"{name:<20} {total / 1e6:12,.1f} MB  {bits:5.2f} bits/weight  {mixture}")


def _verify(job: ConversionJob, plan: ConversionPlan, *, as_json: bool) -> list[TensorClassRmse]:
    """Return how far the outputs are from the checkpoint, by tensor class."""
    import dslocal.convert as converter
    from dslocal.terminal.progress import show_progress

    with show_progress(
        job.targets[0].name, as_json=as_json, doing="verifying", done="verified"
    ) as shown:
        return converter.verify(plan, job.targets, jobs=job.jobs, on_progress=shown.on_conversion)


def _load_each(job: ConversionJob, reports: Sequence[ConversionReport]) -> None:
    """Load every output once, but for draft models, which need the model.

    Raises:
        EngineError: llama.cpp refuses one.
    """
    from dslocal.cli.session_setup import load_model

    if job.request.mtp in ("only", "dspark-only"):
        return
    for report in reports[: len(job.request.recipes)]:
        load_model(report.path).close()


def _require_tolerance(errors: Sequence[TensorClassRmse]) -> None:
    for error in errors:
        if not error.is_within_tolerance:
            raise ConversionError(
                f"{error.recipe}: {error.tensor_class}: relative error {error.measured:.4f}, "
                f"{error.expected:.4f} is expected"
            )


def _report_json(report: ConversionReport) -> dict[str, object]:
    return {
        "path": str(report.path),
        "files": report.files,
        "bytes": report.nbytes,
        "tensors": report.tensors,
        "weights": report.weights,
        "quant": report.recipe,
        "seconds": round(report.seconds, 3),
        "resumed_bytes": report.resumed,
    }
