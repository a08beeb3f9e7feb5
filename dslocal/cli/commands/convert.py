"""``dslocal convert``: a checkpoint to GGUF files, in one pass."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dslocal.api.sizes import size_in_bytes
from dslocal.errors import ConversionError, ExitCode, UsageError
from dslocal.terminal import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dslocal.api.conversion import Mtp
    from dslocal.catalog import resolve
    from dslocal.catalog.locations import PublishedLocation
    from dslocal.convert import (
        ConversionPlan,
        ConversionProgress,
        ConversionReport,
        TensorClassRmse,
    )
    from dslocal.terminal.progress import ProgressDisplay


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A checkpoint folder, a name, OWNER/NAME on the hub, or a URL with a SHA256SUMS."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The file to write, or a folder; {quant} in it is replaced. [NAME-QUANT.gguf]",
            show_default=False,
        ),
    ] = None,
    quant: Annotated[
        str | None,
        typer.Option(
            "--quant", help="Q8_0, Q4_K_M, … or several with commas, from one read. [Q4_K_M]"
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe", help="A YAML file of regex: type, first match wins.", show_default=False
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", help="The best that fits in this, as 180GB.", show_default=False),
    ] = None,
    imatrix: Annotated[
        Path | None,
        typer.Option(
            "--imatrix", help="llama.cpp's importance matrix, GGUF or legacy.", show_default=False
        ),
    ] = None,
    mtp: Annotated[
        bool,
        typer.Option(
            "--mtp/--no-mtp", help="Keep the multi-token-prediction layer where there is one."
        ),
    ] = True,
    mtp_only: Annotated[
        bool,
        typer.Option("--mtp-only", help="Write that layer alone, beside a GGUF that lacks it."),
    ] = False,
    split_experts: Annotated[
        bool, typer.Option("--split-experts", help="Routed experts in files of their own.")
    ] = False,
    split_size: Annotated[
        str | None,
        typer.Option("--split-size", help="No file larger than this, as 40GB.", show_default=False),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Fetch, convert and delete shard by shard: disk for the output and two shards is enough.",
        ),
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision",
            help="Branch, tag or commit on the hub. [the model's, else main]",
            show_default=False,
        ),
    ] = None,
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
    import dslocal.convert as converter
    from dslocal.api import checkpoint_source, conversion

    if verify and stream:
        raise UsageError(
            "--verify reads the checkpoint once more, and --stream does not keep it",
            hint="one of them",
        )
    recipes = conversion.choose_recipes(quant, recipe, size)
    found = checkpoint_source.find(source, revision, stream=stream)
    targets = conversion.choose_outputs(out, found.name, recipes, overwrite=force)
    request = conversion.ConversionRequest(
        recipes,
        _mtp_mode(mtp=mtp, only=mtp_only),
        converter.Split(split_experts, size_in_bytes(split_size) if split_size else 0),
        converter.load_imatrix(imatrix) if imatrix else None,
    )
    with progress.show_progress(found.name, as_json=as_json) as shown:
        if dry_run:
            with checkpoint_source.looked_at(found, shown) as files:
                planned = conversion.plan_conversion(files, request, shown)
                _print_needs(planned, targets, found, as_json=as_json)
            return
        share = _Share(shown)
        try:
            with checkpoint_source.opened(found, targets[0], shown, stream=stream) as files:
                plan = conversion.plan_conversion(files, request, shown)
                if stream:
                    checkpoint_source.require_disk_space(plan, targets)
                if size and not as_json:
                    _print_bits(plan)
                reports = converter.write_gguf(plan, targets, jobs=jobs, on_progress=share)
        except KeyboardInterrupt:
            shown.log(f"dslocal: stopped at {share.value:.0%}; the same command goes on from there")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    errors = (
        _verified(plan, targets, reports, jobs, load=not mtp_only, as_json=as_json)
        if verify
        else []
    )
    if as_json:
        checked = {"verified": [dataclasses.asdict(error) for error in errors]} if verify else {}
        print(json.dumps({"outputs": [_fields(report) for report in reports], **checked}))
    else:
        _print_reports(reports, errors)
    for error in errors:
        if not error.is_within_tolerance:
            raise ConversionError(
                f"{error.recipe}: {error.tensor_class}: relative error {error.measured:.4f}, {error.expected:.4f} is expected"
            )


def _mtp_mode(*, mtp: bool, only: bool) -> Mtp:
    if only:
        return "only"
    return "keep" if mtp else "drop"


def _print_needs(
    plan: ConversionPlan,
    outs: Sequence[Path],
    found: resolve.LocalCheckpoint | PublishedLocation,
    *,
    as_json: bool,
) -> None:
    """Print what converting as planned would take."""
    from dslocal.api import checkpoint_source
    from dslocal.catalog import resolve
    from dslocal.files import decimal_size

    source = plan.checkpoint.source
    sizes = {
        out: sum(file.data_size for file in output.files)
        for out, output in zip(outs, plan.outputs, strict=True)
    }
    written = sum(sizes.values())
    published = not isinstance(found, resolve.LocalCheckpoint)
    whole = sum(source.size(shard) for shard in plan.checkpoint.shards) if published else 0
    if as_json:
        outputs = [{"path": str(out), "bytes": size} for out, size in sizes.items()]
        streamed = checkpoint_source.streamed_bytes(plan) if published else None
        print(
            json.dumps(
                {
                    "outputs": outputs,
                    "download": whole,
                    "disk": written + whole,
                    "disk_streamed": streamed,
                }
            )
        )
        return
    if published:
        print(
            f"to fetch: {decimal_size(whole)}; disk: {decimal_size(written + whole)}, with --stream {decimal_size(checkpoint_source.streamed_bytes(plan))}"
        )
    for out, size in sizes.items():
        print(f"{out}: {decimal_size(size)}")


def _print_reports(reports: list[ConversionReport], errors: list[TensorClassRmse]) -> None:
    for report in reports:
        files = f" in {report.files} files" if report.files > 1 else ""
        bits = report.nbytes * 8 / report.weights
        print(
            f"{report.path}: {report.nbytes / 1e6:,.1f} MB{files}, {report.tensors} tensors, {bits:.2f} bits/weight, {report.seconds:.1f} s"
        )

    for error in errors:
        verdict = "" if error.is_within_tolerance else "  WRONG"
        print(
            f"{error.recipe:<10} {error.tensor_class:<20} relative RMSE {error.measured:.5f}, expected {error.expected:.5f}{verdict}"
        )


def _print_bits(plan: ConversionPlan) -> None:
    """What a size buys: bits per weight by tensor class."""
    from dslocal.gguf.tensor_names import tensor_class

    weights: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for placed in (placed for layout in plan.layouts for placed in layout.tensors):
        kind = tensor_class(placed.tensor.name)
        weights[kind] += placed.tensor.elements
        nbytes[kind] += placed.nbytes
        kinds[kind][placed.kind.name] += 1
    for kind, total in nbytes.most_common():
        mixture = ", ".join(f"{name} × {n}" for name, n in kinds[kind].most_common())
        print(
            f"{kind:<20} {total / 1e6:12,.1f} MB  {total * 8 / weights[kind]:5.2f} bits/weight  {mixture}"
        )


def _verified(
    plan: ConversionPlan,
    targets: list[Path],
    reports: list[ConversionReport],
    jobs: int | None,
    *,
    load: bool,
    as_json: bool,
) -> list[TensorClassRmse]:
    import dslocal.convert as converter
    from dslocal.cli import session_setup

    with progress.show_progress(
        targets[0].name, as_json=as_json, doing="verifying", done="verified"
    ) as shown:
        errors = converter.verify(plan, targets, jobs=jobs, on_progress=shown.on_conversion)
    for done in reports if load else []:
        session_setup.load_model(done.path).close()
    return errors


class _Share:
    """Passes on how far a conversion is, and remembers it."""

    def __init__(self, shown: ProgressDisplay) -> None:
        self._shown, self.value = shown, 0.0

    def __call__(self, step: ConversionProgress) -> None:
        self.value = step.done / max(step.total, 1)
        self._shown.on_conversion(step)


def _fields(report: ConversionReport) -> dict[str, object]:
    return {
        **{
            "path": str(report.path),
            "files": report.files,
            "bytes": report.nbytes,
            "tensors": report.tensors,
            "weights": report.weights,
        },
        **{
            "quant": report.recipe,
            "seconds": round(report.seconds, 3),
            "resumed_bytes": report.resumed,
        },
    }
