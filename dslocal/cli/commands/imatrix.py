"""``dslocal imatrix``: measure an importance matrix of a model, for small quantizations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dslocal.cli.option_groups import NamedModel, with_option_groups
from dslocal.cli.options import AsJson, EvaluatedTexts, EvaluatedTokens, FamilyFlag, ReplaceFile
from dslocal.errors import UsageError

if TYPE_CHECKING:
    from dslocal.api.quantization.importance import ImatrixReport

SUFFIX = ".imatrix.gguf"


@with_option_groups
def imatrix(
    *,
    model: NamedModel,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="The file to write. [NAME.imatrix.gguf]",
            show_default=False,
        ),
    ] = None,
    text: EvaluatedTexts = None,
    tokens: EvaluatedTokens = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            "--merge",
            metavar="FILE",
            help="Add the sums of this earlier matrix. Repeatable.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was interrupted.")
    ] = False,
    force: ReplaceFile = False,
    family: FamilyFlag = None,
    as_json: AsJson = False,
) -> None:
    """Measure which weights matter most, for small quantizations.

    dslocal convert --imatrix keeps those weights more exact. The model evaluates a text; for each
    input channel of each of its matrices, and for each expert, the mean square of the activations
    is written. Measure a large quantization, such as Q8_0.
    """
    from dslocal.cli import session_setup

    _check_output(output or Path(SUFFIX), overwrite=force)  # before a checkpoint is converted
    file = session_setup.prepare_model(model.name, family, remember=False)
    out = output or Path(f"{file.path.stem}{SUFFIX}")
    _check_output(out, overwrite=force)
    from dslocal.api.quantization.importance import ImatrixJob, make_imatrix
    from dslocal.terminal.progress_line import ProgressLine

    texts, merged = tuple(text or ()), tuple(merge or ())
    job = ImatrixJob(file.path, file.header, file.family, out, texts, tokens, merged, resume)
    line = ProgressLine()
    try:
        report = make_imatrix(
            job,
            session_setup.load_model,
            lambda done, of: line.show(f"evaluating: chunk {done} of {of}", done / of),
        )
    except KeyboardInterrupt:
        if job.part.exists():
            print("dslocal: add --resume to continue this run", file=sys.stderr)
        raise
    finally:
        line.clear()
    if as_json:
        print(json.dumps(_fields(report)))
    else:
        _print_report(report)


def _check_output(out: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written, before anything is measured.

    Raises:
        UsageError: It is there already, or is a folder.
        NotFoundError: Its folder does not exist.
        OSError: Its folder cannot be written to.
    """
    from dslocal.api.arguments.writable import require_writable

    require_writable(out, is_replaced=True)
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already", hint="add --force to replace it")


def _fields(report: ImatrixReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "chunks": report.chunks,
        "chunk_tokens": report.chunk_tokens,
        "tokens": report.chunks * report.chunk_tokens,
        "resumed_chunks": report.resumed_chunks,
        "tensors": report.tensors,
        "unseen_experts": {str(layer): ids for layer, ids in report.unseen_experts.items()},
        "unmeasured": report.unmeasured,
    }


def _print_report(report: ImatrixReport) -> None:
    from dslocal.api.quantization.auto_imatrix import unseen_lines
    from dslocal.terminal.sanitise import sanitise_line

    tokens = report.chunks * report.chunk_tokens
    resumed = ""
    if report.resumed_chunks:
        resumed = f", {report.resumed_chunks} of them from an earlier run"
    print(
        f"{sanitise_line(report.path)}: {report.tensors} matrices, {tokens:,} tokens in "
        f"{report.chunks} chunks{resumed}"
    )
    for line in unseen_lines(report):
        print(sanitise_line(line), file=sys.stderr)
