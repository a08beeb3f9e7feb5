"""The options of ``dslocal convert`` and ``quantize``: what is read, what is written, and how."""

# Annotations are not strings here, as in option_groups.

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dslocal.cli import options
from dslocal.cli.completion import values as completion_values


@dataclass(frozen=True)
class OutputFileOptions:
    """What is written."""

    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Write this file, or into this FOLDER/; {quant} in it is replaced. "
            "[NAME-QUANT.gguf]",
            show_default=False,
        ),
    ] = None
    quant: Annotated[
        str | None,
        typer.Option(
            "--quant",
            metavar="TYPE",
            help="Q8_0, Q4_K_M, …; several, separated by commas, are written in one pass. [Q4_K_M]",
            autocompletion=completion_values.quants,
        ),
    ] = None
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            metavar="FILE",
            help="A YAML file with lines of REGEX: TYPE for tensor names; the first match counts.",
            show_default=False,
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="SIZE",
            help="Choose types by tensor for the best quality in a file of this size, such as "
            "180GB.",
            show_default=False,
        ),
    ] = None
    imatrix: Annotated[
        str | None,
        typer.Option(
            "--imatrix",
            metavar="FILE|auto",
            help="An importance matrix, in GGUF or llama.cpp's older format; auto measures one "
            "first.",
            show_default=False,
            autocompletion=completion_values.imatrices,
        ),
    ] = None
    keep_intermediate: Annotated[
        bool,
        typer.Option(
            "--keep-intermediate",
            help="Keep the files that --imatrix auto makes: the matrix, and the model that it was "
            "measured on.",
        ),
    ] = False
    split_experts: Annotated[
        bool, typer.Option("--split-experts", help="Write the routed experts into separate files.")
    ] = False
    split_size: Annotated[
        str | None,
        typer.Option(
            "--split-size",
            metavar="SIZE",
            help="Split the output into files of at most this size, such as 40GB.",
            show_default=False,
        ),
    ] = None

    @property
    def is_auto(self) -> bool:
        """Return whether the importance matrix is made first."""
        return self.imatrix == "auto"


@dataclass(frozen=True)
class CheckpointOptions:
    """How the checkpoint is read, and which of its parts are written."""

    mtp: Annotated[
        bool,
        typer.Option(
            "--mtp/--no-mtp", help="Keep the multi-token-prediction layer, if there is one."
        ),
    ] = True
    mtp_only: Annotated[
        bool,
        typer.Option("--mtp-only", help="Write only that layer, for a GGUF that lacks it."),
    ] = False
    dspark_only: Annotated[
        bool, typer.Option("--dspark-only", help="Write only V4's DSpark draft model.")
    ] = False
    with_drafter: Annotated[
        bool,
        typer.Option(
            "--with-drafter",
            help="Also write V4's draft model, in the same pass, as MODEL-mtp.gguf beside the "
            "model.",
        ),
    ] = False
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help=(
                "Download, convert and delete shard by shard. It needs disk for the output and two "
                "shards."
            ),
        ),
    ] = False
    revision: options.Revision = None


@dataclass(frozen=True)
class RunOptions:
    """How the work is done, and what is printed about it."""

    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            max=1024,
            help="Use this many threads. [one per core]",
            show_default=False,
        ),
    ] = None
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the result with the source, and load it.")
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what it would take (download, disk, outputs), and write nothing.",
        ),
    ] = False
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are already there.")
    ] = False
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object, and progress as JSON lines on stderr."),
    ] = False
