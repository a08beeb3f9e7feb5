"""Convert a checkpoint to GGUF files: find the source, and plan the outputs.

``dslocal.convert`` does the work; this module turns a name into a source, and options into a plan.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from dslocal.errors import UsageError
from dslocal.gguf.tensor_names import layer_of

from .arguments.argument_types import require_types
from .progress import ProgressCallbacks, WorkProgress
from .quantization import output_files
from .quantization.auto_files import AUTO, AutoImatrix

if TYPE_CHECKING:
    from dslocal.catalog.locations import PublishedLocation
    from dslocal.catalog.resolve import LocalCheckpoint
    from dslocal.convert import (
        ConversionPlan,
        ConversionProgress,
        ConversionReport,
        Imatrix,
        Recipe,
        Source,
        Split,
    )
    from dslocal.hub.fetch import DownloadProgress

    from .loading import LoadModel
    from .quantization.auto_imatrix import MeasuredPlan

Mtp = Literal["keep", "drop", "only", "beside", "dspark-only"]


@dataclass(frozen=True)
class ConversionRequest:
    """What to make of a checkpoint.

    Attributes:
        recipes: one for each output.
        mtp: whether the multi-token-prediction layer is kept, dropped, or written alone; V4's
            draft model can be written alone, or beside the model.
        split: how an output is spread over files.
        imatrix: the importance matrix, if any.
        stream: whether the checkpoint is fetched and deleted shard by shard.
        auto: the files of an importance matrix that is made first; None if it is not made.
        measured: a suitable GGUF file of the model on this machine, for making that matrix.
    """

    recipes: Sequence[Recipe]
    mtp: Mtp
    split: Split
    imatrix: Imatrix | None
    stream: bool = False
    auto: AutoImatrix | None = None
    measured: Path | None = None


def convert(
    source: str | Path,
    output: str | Path,
    *,
    quant: str | Sequence[str] | None = None,
    recipe: str | Path | None = None,
    size: str | None = None,
    imatrix: str | Path | None = None,
    keep_intermediate: bool = False,
    mtp: Mtp = "keep",
    split_experts: bool = False,
    split_size: str | None = None,
    stream: bool = False,
    revision: str | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[ConversionProgress], None] | None = None,
    on_fetched: Callable[[DownloadProgress], None] | None = None,
    on_evaluated: Callable[[int, int], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> tuple[ConversionReport, ...]:
    """Convert a DeepSeek checkpoint to quantized GGUF in one pass.

    An interrupted conversion continues when it is called again with the same arguments.

    Args:
        source: a checkpoint folder, a name of models.yaml, or OWNER/NAME on the Hugging Face Hub.
        output: the file to write, or a folder (with a slash at the end if it is new); ``{quant}``
            in it is replaced.
        quant: a quantization such as "Q4_K_M", or several that are written in one pass. "Q4_K_M" if
            neither this nor ``recipe`` nor ``size`` is given.
        recipe: a YAML file with lines of REGEX: TYPE for tensor names; the first match counts.
        size: choose types by tensor for the best quality in a file of this size, such as "180GB".
        imatrix: an importance matrix of llama.cpp, GGUF or legacy; "auto" makes one first, with
            dslocal's calibration text. That needs the model in Q8_0 or MXFP4, which is also made
            unless such a file is on this machine.
        keep_intermediate: keep that model and the matrix beside the output.
        mtp: "keep" the multi-token-prediction layer where there is one, "drop" it, or write
            "only" that layer. V4's layer, or DSpark, needs a separate file: "beside" also writes
            that file, as ``…-mtp.gguf``, and "dspark-only" writes only DSpark.
        split_experts: write the routed experts into separate files.
        split_size: split the output into files of at most this size, such as "40GB".
        stream: download, convert and delete a published checkpoint shard by shard.
        revision: branch, tag or commit on the Hugging Face Hub.
        jobs: number of threads; by default one per core.
        overwrite: replace files that are already there.
        on_progress: receives how much is written.
        on_fetched: receives how much of a published checkpoint is downloaded.
        on_evaluated: receives how many chunks of the calibration text are evaluated, and how many
            there are.
        on_notice: receives lines that a user should see. Without it they are logged as warnings
            of the logger ``dslocal``.

    Returns:
        A report for each output, in the order of the quantizations.

    Raises:
        UsageError: arguments cannot be combined, or a file exists already.
        NotFoundError: the checkpoint or the output's folder does not exist.
        CheckpointError: the checkpoint is damaged, or of a kind that cannot be converted.
        ConversionError: a file cannot be written.
    """
    from . import checkpoint_source

    require_types(output_files.ARGUMENT_TYPES, locals())
    if mtp not in get_args(Mtp):
        raise UsageError(f"mtp: {mtp!r:.40} is not known", hint=", ".join(get_args(Mtp)))
    notice = on_notice or logging.getLogger("dslocal").warning
    progress = ProgressCallbacks(on_fetched, on_progress, notice, on_evaluated)
    recipes = output_files.choose_recipes(quant, Path(recipe) if recipe else None, size)
    found = checkpoint_source.find(str(source), revision, stream=stream)
    is_auto = imatrix == AUTO
    drafter = mtp == "beside"
    targets = output_files.choose_outputs(
        output, found.name, recipes, overwrite=overwrite, has_drafter=drafter, is_auto=is_auto
    )
    output_files.log_name_notice(targets, progress)
    request = ConversionRequest(
        recipes,
        mtp,
        output_files.choose_split(split_experts, split_size),
        output_files.given_imatrix(imatrix),
        stream=stream,
    )
    if is_auto:
        request = with_auto_imatrix(request, found, targets[0], keep=keep_intermediate)
    with (
        output_files.output_folder(targets),
        checkpoint_source.opened(found, targets[0], progress, stream=stream) as files,
    ):
        return tuple(write_outputs(files, request, targets, progress, jobs=jobs)[1])


def with_auto_imatrix(
    request: ConversionRequest,
    found: LocalCheckpoint | PublishedLocation,
    target: Path,
    *,
    keep: bool,
    load: LoadModel | None = None,
) -> ConversionRequest:
    """Return a request that makes its importance matrix itself.

    Args:
        request: What to make of the checkpoint.
        found: The checkpoint. If a suitable GGUF file of it is on this machine, that file is
            measured.
        target: The first output.
        keep: Whether intermediate files stay when the outputs are finished.
        load: Loads a model by a load config; llama.cpp's own loader without it.

    Raises:
        UsageError: a draft model is written alone, or beside a model that is streamed.
    """
    from dslocal.catalog import conversion_cache

    from .quantization.auto_imatrix import GOOD_QUANTS, require_no_draft_model

    require_no_draft_model(request.mtp)
    if request.stream and request.mtp == "beside":
        raise UsageError(
            "--imatrix auto: with --stream the outputs are made from an intermediate file, which "
            "holds no draft model",
            hint="leave out --with-drafter, and write the draft model with --mtp-only or "
            "--dspark-only",
        )
    if load is None:
        from dslocal.engine import LlamaModel

        load = LlamaModel
    known = conversion_cache.known_gguf(found, GOOD_QUANTS)
    return replace(request, auto=AutoImatrix(target, keep, load), measured=known)


def write_outputs(
    files: Source,
    request: ConversionRequest,
    targets: Sequence[Path],
    progress: WorkProgress,
    *,
    jobs: int | None = None,
    on_planned: Callable[[ConversionPlan], None] | None = None,
) -> tuple[ConversionPlan, list[ConversionReport]]:
    """Convert an opened checkpoint as requested, after making the importance matrix if necessary.

    Args:
        files: The checkpoint's files.
        request: What to make of it.
        targets: A file for each output.
        progress: Receives how far it is, and warnings.
        jobs: Threads; one a core without it.
        on_planned: Receives the plan before anything of the outputs is written.

    Returns:
        The plan, and a report for each output.

    Raises:
        DslocalError: It cannot be done.
    """
    from . import checkpoint_source

    if request.auto is not None:
        planned = measured_conversion(files, request, request.auto).carry_out(progress, jobs)
        output_files.log_warnings(planned, progress)
    else:
        planned = plan_conversion(files, request, progress)
        if request.stream:
            checkpoint_source.require_disk_space(planned, targets)
    reports = output_files.write_planned(
        planned, targets, request.auto, progress, jobs=jobs, on_planned=on_planned
    )
    return planned, reports


def measured_conversion(
    files: Source, request: ConversionRequest, auto: AutoImatrix
) -> MeasuredPlan:
    """Return the plan of a conversion that makes its importance matrix itself."""
    import dslocal.convert as converter
    from dslocal.evaluation.calibration import CALIBRATION

    from .quantization.auto_imatrix import MeasuredPlan, identity_of

    checkpoint = converter.open_checkpoint(files)
    good = "MXFP4" if any(t.dtype == "FP4" for t in checkpoint.tensors.values()) else "Q8_0"
    recipe = converter.recipe_named(good)
    intermediate = converter.plan_conversion(
        checkpoint, [recipe], mtp=request.mtp if request.stream else "drop"
    )
    main = converter.plan_conversion(checkpoint, [recipe], mtp="drop").tensors
    last = max(layer_of(tensor.name) for tensor in main)

    def plan(imatrix: Imatrix) -> ConversionPlan:
        recipes = list(request.recipes)
        if request.stream and auto.model.exists():
            model = converter.open_gguf(auto.model)
            return converter.plan_requantization(
                model, recipes, split=request.split, imatrix=imatrix
            )
        return converter.plan_conversion(
            checkpoint, recipes, mtp=request.mtp, split=request.split, imatrix=imatrix
        )

    expected = converter.expected_imatrix(auto.matrix.name, CALIBRATION.title, main, last + 1)
    is_made = request.measured is None or request.stream
    return MeasuredPlan(
        auto,
        None if is_made else request.measured,
        intermediate if is_made else None,
        plan,
        expected,
        identity_of(checkpoint),
        is_source=request.stream,
    )


def plan_conversion(
    files: Source, request: ConversionRequest, progress: WorkProgress
) -> ConversionPlan:
    """Lay out every output from headers alone; warnings go to ``progress``."""
    import dslocal.convert as converter

    planned = converter.plan_conversion(
        converter.open_checkpoint(files),
        list(request.recipes),
        mtp=request.mtp,
        split=request.split,
        imatrix=request.imatrix,
    )
    output_files.log_warnings(planned, progress)
    return planned
