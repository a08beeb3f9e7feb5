"""``dslocal quality``: what quantizations lost, measured against the model in full precision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dslocal.cli.completion import values as completion_values
from dslocal.cli.option_groups import with_option_groups
from dslocal.cli.options import AsJson, EvaluatedTexts, EvaluatedTokens, FamilyFlag, ReplaceFile
from dslocal.cli.token_counts import token_count
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
        help="The same model in full precision, or a file that -o or llama-perplexity wrote.",
        show_default=False,
        autocompletion=completion_values.models,
    ),
]
Chunks = Annotated[
    int | None,
    typer.Option(
        "--chunks",
        metavar="N",
        min=1,
        help="Evaluate at most N chunks. [all]",
        show_default=False,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        metavar="N",
        parser=token_count,
        help="Tokens of a chunk, the second half of which is scored. [512]",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class TextOptions:
    """Which text is evaluated, and how it is cut."""

    text: EvaluatedTexts = None
    tokens: EvaluatedTokens = None
    chunks: Chunks = None
    ctx: Context = None

    @property
    def are_given(self) -> bool:
        """Return whether any of them was."""
        return self != TextOptions()


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
            help="Keep the reference's log-probabilities in this file. [in the cache]",
            show_default=False,
        ),
    ] = None,
    force: ReplaceFile = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.svg",
            help="Draw KL divergence over size into an SVG or PNG.",
            show_default=False,
        ),
    ] = None,
    family: FamilyFlag = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a quantization lost: KL divergence, perplexity.

    The protocol and the figures are those of llama-perplexity. The reference is evaluated once;
    its log-probabilities are kept on the disk, until dslocal rm --logits deletes them. An
    interrupted run is continued by the same command.
    """
    from dslocal.cli.measuring.quality_run import QualityRun
    from dslocal.terminal.reports import quality_report

    if reference is None:
        raise UsageError(
            "--reference is missing",
            hint="the model in full precision: dslocal convert … --quant BF16 makes one",
        )
    if plot is not None:
        quality_report.require_plot(plot)
    run = QualityRun(models or [None], reference, evaluated, output, force, family)
    measured = run.measure()
    if as_json:
        print(json.dumps(measured.as_json()))
    else:
        quality_report.print_quality(measured)
    if plot is not None:
        quality_report.save_plot(measured, plot)
