"""Lay out a conversion from headers alone: which outputs there are, and what each one holds."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dslocal.errors import UsageError
from dslocal.gguf.tensor_types import GgmlType

from .architectures import find_architecture
from .architectures.mapping import Architecture, MappedTensor
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.tokenizer import tokenizer_metadata
from .checkpoint_mapping import has_mtp_layer, in_converter_order, map_checkpoint
from .conversion_plan import ConversionPlan, PlannedOutput
from .kernels import X86_64, arithmetic_of
from .model_keys import architecture_metadata, model_traits
from .output.layout import Split, header_size, lay_out
from .output.metadata import (
    arithmetic_metadata,
    general_metadata,
    imatrix_metadata,
    provenance_metadata,
    sampling_metadata,
)
from .recipes.by_name import recipe_named
from .recipes.imatrix import Imatrix
from .recipes.imatrix_coverage import covered_types, fitted_imatrix, unmeasured_notice
from .recipes.recipe import ModelTraits, Recipe
from .recipes.size_target import SizedRecipe
from .sampled_errors import SampledErrors

# how a drafter with a file of its own is written beside the model: in the types of the checkpoint
DRAFTER_RECIPE = "MXFP4"
ALONE = ("only", "dspark-only")  # modes that write the drafter and not the model


def plan_conversion(
    checkpoint: Checkpoint,
    recipes: Sequence[Recipe],
    *,
    mtp: str = "keep",
    split: Split | None = None,
    imatrix: Imatrix | None = None,
) -> ConversionPlan:
    """Lay out the GGUFs of a checkpoint, one for each recipe.

    Args:
        checkpoint: The source.
        recipes: What gives the tensors their types.
        mtp: ``keep`` or ``drop`` the multi-token-prediction layer, or write it alone: ``only``. V4
            cannot keep its drafter in the model's file: ``beside`` writes that as the last output,
            ``only`` and ``dspark-only`` write it alone.
        split: How to cut each output into files.
        imatrix: The importance matrix.

    Raises:
        UnsupportedModelError: The architecture cannot be converted.
        CheckpointError: The checkpoint is damaged, or contradicts its config.json.
        UsageError: A recipe does not fit the model, needs an importance matrix that is missing, or
            the checkpoint has no such drafter.
    """
    config = checkpoint.config
    architecture = find_architecture(config)
    drafter = architecture.drafter(config)
    _check_drafter(checkpoint, architecture, drafter, mtp)
    notices = [*checkpoint.notices]
    if mtp != "drop" and architecture.mtp_layers(config) and not has_mtp_layer(checkpoint):
        mtp = "drop"
        notices.append(
            "config.json announces a multi-token-prediction (MTP) layer whose tensors are not in "
            "the checkpoint: it is converted without that layer"
        )
    jobs = [(architecture, recipe) for recipe in recipes]
    if drafter and mtp in ALONE:
        jobs = [(drafter, recipe) for recipe in recipes]
    elif drafter and mtp == "beside":
        jobs.append((drafter, recipe_named(DRAFTER_RECIPE)))
    planner = _OutputPlanner(checkpoint, mtp, split or Split(), imatrix)
    outputs = tuple(planner.output(made, recipe) for made, recipe in jobs)
    notices += planner.notices
    if mtp not in ALONE:
        notices += architecture.warnings(config)
    if drafter and mtp == "keep" and _has_drafter(checkpoint, drafter):
        notices.append(
            f"{drafter.models} is left out: it does not fit into the model's file; --with-drafter "
            "writes it to a separate file"
        )
    for output in outputs:
        notices += _needless_bits(output)
    return ConversionPlan(checkpoint, outputs, planner.imatrix, tuple(notices))


def _has_drafter(checkpoint: Checkpoint, drafter: Architecture) -> bool:
    """Return whether the checkpoint has tensors of its drafter."""
    return any(not drafter.is_ignored(checkpoint.config, True, name) for name in checkpoint.names)


def _check_drafter(
    checkpoint: Checkpoint, architecture: Architecture, drafter: Architecture | None, mtp: str
) -> None:
    """Check that the checkpoint has the drafter that is asked for. Raises UsageError."""
    name = checkpoint.source.name
    has_dspark = drafter is not None and drafter.mtp_layers(checkpoint.config) == 0
    if mtp == "dspark-only" and not has_dspark:
        raise UsageError(
            f"--dspark-only: {name} has no DSpark drafter",
            hint="use --mtp-only if it has a multi-token-prediction layer",
        )
    if mtp == "only" and has_dspark:
        raise UsageError(
            f"--mtp-only: {name} has DSpark's stages instead of a multi-token-prediction layer",
            hint="--dspark-only",
        )
    if mtp == "only" and not drafter:
        if not architecture.mtp_layers(checkpoint.config):
            raise UsageError(f"--mtp-only: {name} has no multi-token-prediction layer")
        if not has_mtp_layer(checkpoint):
            raise UsageError(
                f"--mtp-only: {name} has no tensors of the multi-token-prediction layer that its "
                "config.json announces"
            )
    if mtp == "beside" and not drafter:
        raise UsageError(
            f"--with-drafter: {name} has no draft model that needs a separate file",
            hint="V3's multi-token-prediction layer is in the model's file: leave the option out",
        )


def _needless_bits(output: PlannedOutput) -> Iterator[str]:
    """Yield that experts become larger than the four bits that they have in the checkpoint."""
    fp4 = GgmlType.MXFP4.bits_per_weight
    kinds = {
        placed.kind
        for layout in output.files
        for placed in layout.tensors
        if placed.tensor.is_fp4 and placed.kind.bits_per_weight > fp4
    }
    if kinds and output.recipe.name not in ("F32", "F16", "BF16"):
        names = ", ".join(sorted(kind.name for kind in kinds))
        yield (
            f"{output.recipe.name} writes experts as {names}, larger than the {fp4:g} bits that "
            "they have in the checkpoint; --quant MXFP4 keeps them without loss"
        )


class _OutputPlanner:
    """Lays out outputs of one checkpoint: what several of them share is read once."""

    def __init__(
        self, checkpoint: Checkpoint, mtp: str, split: Split, imatrix: Imatrix | None
    ) -> None:
        self._checkpoint = checkpoint
        self._mtp = mtp
        self._split = split
        self.imatrix = imatrix
        self.notices: list[str] = []
        self._mapped: dict[str, tuple[MappedTensor, ...]] = {}

    @functools.cached_property
    def _tokenizer(self) -> list[tuple[str, Any]]:
        checkpoint = self._checkpoint
        return list(tokenizer_metadata(checkpoint.source, checkpoint.config, self.notices.append))

    @functools.cached_property
    def _sampling(self) -> list[tuple[str, Any]]:
        return list(sampling_metadata(self._checkpoint.source))

    def output(self, architecture: Architecture, recipe: Recipe) -> PlannedOutput:
        """Return one output. Raises as :func:`plan_conversion` does."""
        checkpoint, config = self._checkpoint, self._checkpoint.config
        tensors = self._mapped.get(architecture.models)
        if tensors is None:
            tensors = map_checkpoint(checkpoint, architecture, self._mtp)
            self._mapped[architecture.models] = tensors
            self.imatrix = fitted_imatrix(self.imatrix, tensors)
        mtp_layers = architecture.mtp_layers(config) if self._mtp != "drop" else 0
        model_keys = architecture_metadata(architecture, config, mtp_layers)
        traits = model_traits(architecture.arch, model_keys, tensors, self.imatrix)
        metadata = (
            *general_metadata(checkpoint.source.name, self._sampling, recipe, tensors),
            *model_keys.items(),
            *self._tokenizer,
            *imatrix_metadata(self.imatrix),
            *provenance_metadata(checkpoint, recipe),
        )
        recipe = measured_recipe(recipe, checkpoint, tensors, self.imatrix)
        if isinstance(recipe, SizedRecipe) and not checkpoint.source.is_local:
            self.notices.append(
                f"--size {recipe.name}: the weights are not on this machine yet, so the error of "
                "each type is estimated from the tensor's class and not measured"
            )
        found = choose_types(recipe, architecture.arch, tensors, metadata, traits, self.imatrix)
        self.notices += found.notices
        if architecture.converter_order and not recipe.quantizes:
            tensors = in_converter_order(checkpoint, architecture.converter_order, tensors)
        files = lay_out(tensors, found.types, self._split)
        return PlannedOutput(architecture, recipe, tensors, found.metadata, files)


class ChosenTypes(NamedTuple):
    """What a recipe makes of an output.

    Attributes:
        types: The type of each tensor, by GGUF name.
        metadata: The output's metadata, with the arithmetic that quantizing to these types takes.
        notices: What the user should know of it.
    """

    types: dict[str, GgmlType]
    metadata: tuple[tuple[str, Any], ...]
    notices: tuple[str, ...]


def choose_types(
    recipe: Recipe,
    arch: str,
    tensors: Sequence[MappedTensor],
    metadata: Sequence[tuple[str, Any]],
    traits: ModelTraits,
    imatrix: Imatrix | None,
) -> ChosenTypes:
    """Return the types that a recipe gives an output's tensors.

    Args:
        recipe: The recipe.
        arch: llama.cpp's name of the architecture.
        tensors: The output's tensors.
        metadata: Its metadata, without the arithmetic.
        traits: The model's.
        imatrix: The importance matrix.

    Raises:
        UsageError: The recipe does not fit, or needs an importance matrix that is missing.
    """
    longest = (*metadata, *arithmetic_metadata(max(X86_64, platform.machine(), key=len)))
    assigned = recipe.assign(tensors, traits, header_size(arch, longest, tensors))
    types = covered_types(recipe, tensors, assigned, traits, imatrix)
    notice = unmeasured_notice(recipe, assigned, types)
    arithmetic = arithmetic_metadata(arithmetic_of(types.values()))
    return ChosenTypes(types, (*metadata, *arithmetic), (notice,) if notice else ())


def measured_recipe(
    recipe: Recipe,
    checkpoint: Checkpoint,
    tensors: Sequence[MappedTensor],
    imatrix: Imatrix | None,
) -> Recipe:
    """Return a recipe that measures errors on the source's own weights, where it needs errors.

    Where the weights are not on this machine, the recipe stays as it is.
    """
    if isinstance(recipe, SizedRecipe) and checkpoint.source.is_local:
        return replace(recipe, errors=SampledErrors(checkpoint, tensors, imatrix))
    return recipe
