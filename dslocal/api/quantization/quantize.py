"""Make another quantization of a GGUF file: find the source, and plan the outputs.

``dslocal.convert`` does the work; this module turns names into files, and options into a plan.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal.api.arguments.argument_types import require_types
from dslocal.api.progress import ProgressCallbacks, WorkProgress
from dslocal.errors import UsageError
from dslocal.plan.mtp_file import SUFFIX as SIDECAR_SUFFIX
from dslocal.plan.mtp_file import find_sidecar

from . import output_files
from .auto_files import AUTO, AutoImatrix

if TYPE_CHECKING:
    from dslocal.convert import (
        ConversionPlan,
        ConversionProgress,
        ConversionReport,
        GgufModel,
        Imatrix,
        Recipe,
        Split,
    )

    from .auto_imatrix import MeasuredPlan


@dataclass(frozen=True)
class QuantizationRequest:
    """What to make of a GGUF file.

    Attributes:
        recipes: One for each output.
        split: How an output is spread over files.
        imatrix: The importance matrix, if any.
        allow_larger: Whether an output may be larger than a source that is quantized already.
        auto: The files of an importance matrix that is made first; None if none is made.
    """

    recipes: Sequence[Recipe]
    split: Split
    imatrix: Imatrix | None
    allow_larger: bool
    auto: AutoImatrix | None = None


def quantize(
    source: str | Path,
    output: str | Path,
    *,
    quant: str | Sequence[str] | None = None,
    recipe: str | Path | None = None,
    size: str | None = None,
    imatrix: str | Path | None = None,
    keep_intermediate: bool = False,
    split_experts: bool = False,
    split_size: str | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    allow_larger: bool = False,
    on_progress: Callable[[ConversionProgress], None] | None = None,
    on_evaluated: Callable[[int, int], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> tuple[ConversionReport, ...]:
    """Make other quantizations of a GGUF file, such as a bf16 or Q8_0 one.

    Tensors and metadata are those that llama-quantize writes. An interrupted run continues when it
    is called again with the same arguments.

    Args:
        source: a GGUF file (of a split one, the first part), or the name of a model on this
            machine.
        output: the file to write, or a folder (with a slash at the end if it is new); ``{quant}``
            in it is replaced.
        quant: a quantization such as "Q4_K_M", or several that are written in one pass. "Q4_K_M" if
            neither this nor ``recipe`` nor ``size`` is given.
        recipe: a YAML file with lines of REGEX: TYPE for tensor names; the first match counts.
        size: choose types by tensor for the best quality in a file of this size, such as "180GB".
        imatrix: an importance matrix of llama.cpp, GGUF or legacy; "auto" makes one first, by
            evaluating dslocal's calibration text with the source.
        keep_intermediate: keep that matrix beside the output.
        split_experts: write the routed experts into separate files.
        split_size: split the output into files of at most this size, such as "40GB".
        jobs: threads; one a core without it.
        overwrite: replace files that are already there.
        allow_larger: write a file even if it is larger than its source, which is quantized already.
        on_progress: receives how much is written.
        on_evaluated: receives how many chunks of the calibration text are evaluated, and how many
            there are.
        on_notice: receives lines that a user should see. Without it they are logged as warnings
            of the logger ``dslocal``.

    Returns:
        A report for each output, in the order of the quantizations.

    Raises:
        UsageError: arguments cannot be combined, a file exists already, or would be larger than a
            quantized source.
        NotFoundError: the source or the output's folder does not exist.
        GgufError: the source is damaged.
        UnsupportedModelError: dslocal does not quantize the source's architecture.
        ConversionError: a file cannot be written.
    """
    require_types(output_files.ARGUMENT_TYPES, locals())
    notice = on_notice or logging.getLogger("dslocal").warning
    progress = ProgressCallbacks(None, on_progress, notice, on_evaluated)
    is_auto = imatrix == AUTO
    recipes = output_files.choose_recipes(quant, Path(recipe) if recipe else None, size)
    path = find_gguf(str(source))
    targets = output_files.choose_outputs(
        output, model_name(path), recipes, overwrite=overwrite, is_auto=is_auto
    )
    output_files.log_name_notice(targets, progress)
    request = QuantizationRequest(
        recipes,
        output_files.choose_split(split_experts, split_size),
        output_files.given_imatrix(imatrix),
        allow_larger,
    )
    if is_auto:
        from dslocal.engine import LlamaModel

        auto = AutoImatrix(targets[0], keep_intermediate, LlamaModel)
        request = replace(request, auto=auto)
    return tuple(write_quantizations(path, request, targets, progress, jobs=jobs)[1])


def write_quantizations(
    path: Path,
    request: QuantizationRequest,
    targets: Sequence[Path],
    progress: WorkProgress,
    *,
    jobs: int | None = None,
    on_planned: Callable[[ConversionPlan], None] | None = None,
) -> tuple[ConversionPlan, list[ConversionReport]]:
    """Quantize a GGUF file as requested, after making the importance matrix if necessary.

    Args:
        path: The source.
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
    import dslocal.convert as converter

    with output_files.output_folder(targets):
        model = converter.open_gguf(path)
        if request.auto is None:
            planned = plan_quantization(model, request, targets, progress)
        else:
            measured = measured_quantization(model, request, targets, request.auto)
            planned = measured.carry_out(progress, jobs)
            output_files.log_warnings(planned, progress)
        reports = output_files.write_planned(
            planned, targets, request.auto, progress, jobs=jobs, on_planned=on_planned
        )
    return planned, reports


def measured_quantization(
    model: GgufModel, request: QuantizationRequest, targets: Sequence[Path], auto: AutoImatrix
) -> MeasuredPlan:
    """Return the plan of a quantization that makes its importance matrix itself."""
    import dslocal.convert as converter
    from dslocal.evaluation.calibration import CALIBRATION

    from .auto_imatrix import MeasuredPlan, identity_of

    header = model.header
    layers = header.of_arch("block_count") - header.of_arch("nextn_predict_layers")
    name = auto.matrix.name
    expected = converter.expected_imatrix(name, CALIBRATION.title, model.mapped(), layers)

    def plan(imatrix: Imatrix) -> ConversionPlan:
        return _plan(model, replace(request, imatrix=imatrix), targets)

    return MeasuredPlan(auto, model.path, None, plan, expected, identity_of(model))


def find_gguf(text: str) -> Path:
    """Return the GGUF file that ``text`` means.

    Raises:
        NotFoundError: it does not exist.
        UsageError: it is a checkpoint, which is converted.
    """
    from dslocal.catalog import resolve

    found = resolve.resolve_model(text)
    if isinstance(found, resolve.LocalCheckpoint):
        raise UsageError(
            f"{text!r:.200}: is a checkpoint, and a GGUF file is needed",
            hint=f"dslocal convert {shlex.quote(text)} quantizes a checkpoint",
        )
    return found


def model_name(path: Path) -> str:
    """Return the name of the model in a GGUF file: the file's name without its quantization."""
    from dslocal.catalog import conversion_cache
    from dslocal.catalog.quant_names import without_quant

    return without_quant(conversion_cache.file_label(path))


def plan_quantization(
    model: GgufModel,
    request: QuantizationRequest,
    targets: Sequence[Path],
    progress: WorkProgress,
) -> ConversionPlan:
    """Lay out every output from headers alone; warnings go to ``progress``.

    Raises:
        UsageError: an output is a file of the source, or a recipe does not fit.
    """
    planned = _plan(model, request, targets)
    output_files.log_warnings(planned, progress)
    return planned


def _plan(
    model: GgufModel, request: QuantizationRequest, targets: Sequence[Path]
) -> ConversionPlan:
    """Lay out every output. Raises as :func:`plan_quantization` does."""
    import dslocal.convert as converter

    planned = converter.plan_requantization(
        model,
        list(request.recipes),
        split=request.split,
        imatrix=request.imatrix,
        allow_larger=request.allow_larger,
    )
    files = [
        path
        for target, output in zip(targets, planned.outputs, strict=True)
        for path in converter.file_names(target, len(output.files))
    ]
    _require_others(files, [model.path.with_name(shard) for shard in model.shards])
    sidecar = find_sidecar(model.path, model.header)
    if sidecar is None:
        return planned
    notice = (
        f"{sidecar.name} is not quantized: copy it to {targets[0].stem}{SIDECAR_SUFFIX}so that "
        f"{targets[0].name} drafts with it"
    )
    return replace(planned, warnings=(*planned.warnings, notice))


def _require_others(targets: Iterable[Path], sources: Sequence[Path]) -> None:
    """Raise UsageError if a file would be written over the one that it is made from."""
    for target in targets:
        if target.exists() and any(target.samefile(source) for source in sources):
            raise UsageError(f"{target}: is the source itself", hint="choose another file with -o")
