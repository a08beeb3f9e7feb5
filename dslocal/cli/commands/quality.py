"""``dslocal quality``: measure what quantizations lost, compared with full precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.measuring.text_options import TextOptions
from dslocal.cli.option_groups import with_option_groups
from dslocal.cli.options import AsJson, FamilyFlag, ReplaceFile
from dslocal.errors import UsageError

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Names, GGUF files or checkpoint folders. [the last one used, else nano]",
        show_default=False,
        autocompletion=completion_values.models,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="OTHER",
        help="The reference: the same model in full precision, or a file written by -o or "
        "llama-perplexity.",
        show_default=False,
        autocompletion=completion_values.models,
    ),
]


@with_option_groups
def quality(
    *,
    models: Models = None,
    reference: Reference = None,
    evaluated: TextOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE.kld",
            help="Write the reference's log-probabilities to this file. [in the cache]",
            show_default=False,
        ),
    ] = None,
    force: ReplaceFile = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.svg",
            help="Plot KL divergence over size into this SVG or PNG file.",
            show_default=False,
        ),
    ] = None,
    family: FamilyFlag = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a quantization lost: KL divergence, perplexity.

    The method and the figures are those of llama-perplexity. The reference is evaluated once; its
    log-probabilities stay on the disk until dslocal rm --logits deletes them. Repeat the command to
    continue an interrupted run.
    """
    from dslocal.api.arguments.writable import require_writable
    from dslocal.cli.measuring.quality_run import QualityRun
    from dslocal.terminal.reports import quality_report

    if reference is None:
        raise UsageError(
            "--reference is missing",
            hint="give the model in full precision; dslocal convert … --quant BF16 makes it",
        )
    if plot is not None:
        quality_report.require_plot(plot)
        require_writable(plot)
    if output is not None and not output.exists():  # a whole one is only read
        require_writable(output)
    run = QualityRun(models or [None], reference, evaluated, output, force, family)
    measured = run.measure()
    if as_json:
        print(json.dumps(measured.as_json()))
    else:
        quality_report.print_quality(measured)
    if plot is not None:
        quality_report.save_plot(measured, plot)
