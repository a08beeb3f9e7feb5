"""Lay out a requantization: the tensors of a GGUF model in other types, with the same metadata.

Types, order of tensors and metadata are llama-quantize's. Source: llama.cpp, src/llama-quant.cpp
(``llama_model_quantize_impl``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dslocal.convert.conversion_plan import ConversionPlan, PlannedOutput
from dslocal.convert.model_keys import model_traits
from dslocal.convert.output.layout import RawValue, Split, lay_out
from dslocal.convert.output.metadata import (
    arithmetic_metadata,
    imatrix_metadata,
    quantization_metadata,
    tool_metadata,
)
from dslocal.convert.plan_conversion import choose_types, measured_recipe
from dslocal.convert.recipes.imatrix import Imatrix
from dslocal.convert.recipes.imatrix_coverage import (
    fitted_imatrix,
)
from dslocal.convert.recipes.recipe import ModelTraits, Recipe
from dslocal.errors import UsageError
from dslocal.gguf.header import main_type
from dslocal.gguf.tensor_types import GgmlType

from .gguf_model import GgufModel, architecture_of

SMALL_BITS = 6.0  # a weight; the error of a source with fewer is noticeable in the result
# keys that each file writes itself, or that are true of the source's files alone
_DROPPED = frozenset(
    {
        "general.architecture",
        "general.alignment",
        "split.no",
        "split.count",
        "split.tensors.count",
        "dslocal.requantized_from",
    }
)


def plan_requantization(
    model: GgufModel,
    recipes: Sequence[Recipe],
    *,
    split: Split | None = None,
    imatrix: Imatrix | None = None,
    allow_larger: bool = False,
) -> ConversionPlan:
    """Lay out other quantizations of a GGUF model, one for each recipe.

    Args:
        model: The source.
        recipes: What gives the tensors their types.
        split: How to cut each output into files.
        imatrix: The importance matrix.
        allow_larger: Whether an output may be larger than a source that is quantized already.

    Raises:
        UsageError: A recipe does not fit the model, needs an importance matrix that is missing, or
            would write a file that is larger than a quantized source.
        CheckpointError: A weight that --size measures makes no sense.
    """
    notices: list[str] = []
    imatrix = fitted_imatrix(imatrix, model.mapped())
    outputs = tuple(
        _output(model, recipe, split or Split(), imatrix, notices) for recipe in recipes
    )
    for output in outputs:
        if not allow_larger:
            _require_smaller(model, output)
        notices += _source_notices(model, output)
    return ConversionPlan(model, outputs, imatrix, tuple(dict.fromkeys(notices)))


def source_bits(model: GgufModel) -> float:
    """Return the bits of a weight in the matrices of a model."""
    matrices = [tensor for tensor in model.header.tensors if len(tensor.shape) > 1]
    weights = sum(tensor.elements for tensor in matrices)
    return 8 * sum(tensor.nbytes for tensor in matrices) / weights if weights else 0.0


def _output(
    model: GgufModel,
    recipe: Recipe,
    split: Split,
    imatrix: Imatrix | None,
    notices: list[str],
) -> PlannedOutput:
    """Lay out one output, and add to ``notices``. Raises as :func:`plan_requantization` does."""
    tensors = model.mapped()
    traits = _traits(model, imatrix)
    metadata = tuple(_metadata(model, recipe, imatrix))
    recipe = measured_recipe(recipe, model, tensors, imatrix)
    found = choose_types(recipe, model.arch, tensors, metadata, traits, imatrix)
    notices += found.notices
    files = lay_out(tensors, found.types, split)
    return PlannedOutput(architecture_of(model), recipe, tensors, found.metadata, files)


def _traits(model: GgufModel, imatrix: Imatrix | None) -> ModelTraits:
    """Return what recipes depend on besides the tensor, of a header that may be anyone's."""
    header, arch = model.header, model.arch
    heads = max(_first_integer(model, "attention.head_count"), 1)
    keys = {
        f"{arch}.block_count": header.of_arch("block_count"),
        f"{arch}.nextn_predict_layers": header.mtp_layers,
        f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": max(
            _first_integer(model, "attention.head_count_kv", heads), 1
        ),
        f"{arch}.expert_count": header.of_arch("expert_count"),
    }
    return model_traits(arch, keys, model.mapped(), imatrix)


def _first_integer(model: GgufModel, key: str, default: int = 0) -> int:
    """Return an integer of the metadata, or that of the first layer where it has one for each."""
    value = model.header.metadata.get(f"{model.arch}.{key}", default)
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, int) else default


def _metadata(
    model: GgufModel, recipe: Recipe, imatrix: Imatrix | None
) -> Iterator[tuple[str, Any]]:
    """Yield the keys of an output in llama-quantize's order: the source's, then the new ones."""
    new = [
        *quantization_metadata(recipe),
        *imatrix_metadata(imatrix),
        *tool_metadata(recipe),
        ("dslocal.requantized_from", _described(model)),
    ]
    replaced = {key for key, _ in new} | {key for key, _ in arithmetic_metadata("")} | _DROPPED
    for key, raw in model.raw_values():
        if key not in replaced:
            yield key, RawValue(raw)
    yield from new


def _described(model: GgufModel) -> str:
    """Return what the source is, such as ``Q8_0``: its own recipe, or the type of most bytes."""
    return model.header.text("dslocal.recipe") or main_type(model.header)


def _is_quantized(model: GgufModel) -> bool:
    return any(tensor.type.block > 1 for tensor in model.header.tensors)


def _require_smaller(model: GgufModel, output: PlannedOutput) -> None:
    """Raise UsageError for an output that is larger than a quantized source."""
    before = sum(tensor.nbytes for tensor in model.header.tensors)
    after = sum(placed.nbytes for layout in output.files for placed in layout.tensors)
    if not _is_quantized(model) or after <= before:
        return
    raise UsageError(
        f"{output.recipe.name}: {after:,} bytes of weights, more than the {before:,} of "
        f"{model.source.name};"
        " a file that is larger than its quantized source is not better",
        hint="use a smaller --quant or another source; --yes writes it anyway",
    )


def _source_notices(model: GgufModel, output: PlannedOutput) -> Iterator[str]:
    """Yield a notice if the source has already lost much, and its weights are quantized again."""
    changed = [
        placed.tensor
        for layout in output.files
        for placed in layout.tensors
        if placed.tensor.stored is not None
        and placed.tensor.stored.block > 1
        and placed.kind is not placed.tensor.stored
        and not _is_original(model, placed.tensor.stored)
    ]
    bits = source_bits(model)
    if changed and bits < SMALL_BITS:
        whole = model.header.bits_per_weight  # with its metadata, as other commands say it
        yield (
            f"{model.source.name} has only {whole:.2f} bits per weight, and {output.recipe.name} "
            "cannot restore what it has lost: Q8_0, BF16 or the original checkpoint is a better "
            "source"
        )


def _is_original(model: GgufModel, kind: GgmlType) -> bool:
    """Return whether a type is the one that the vendor publishes: V4's experts in four bits."""
    return model.arch == "deepseek4" and kind in (GgmlType.MXFP4, GgmlType.Q8_0)
