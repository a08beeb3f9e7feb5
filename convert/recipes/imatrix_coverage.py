"""Which tensors an importance matrix covers, and which types the others get.

llama-quantize refuses a file in which one of the smallest types would be made without importance.
So does dslocal, except for multi-token-prediction layers: no program measures them, because text is
evaluated without them. They get the smallest type that needs no importance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.errors import UsageError
from dslocal.gguf.tensor_names import layer_of
from dslocal.gguf.tensor_types import GgmlType as T

from .imatrix import Imatrix
from .recipe import ModelTraits, Recipe, fitting_type, is_quantizable, needs_imatrix

_WITHOUT_IMATRIX = {T.IQ3_XXS: T.Q3_K}  # the type in place of one that needs importance, else Q2_K


# V4's: its rows are in groups, each of which reads a part of the heads; a matrix has sums for each
# group. llama-quantize refuses such a matrix.
_GROUPED = "attn_output_a.weight"


def fitted_imatrix(imatrix: Imatrix | None, tensors: Iterable[MappedTensor]) -> Imatrix | None:
    """Return a matrix with one importance for each column of V4's grouped output matrices.

    It is the mean over the groups.
    """
    if imatrix is None:
        return None
    entries = dict(imatrix.entries)
    for tensor in tensors:
        entry = entries.get(tensor.name)
        if entry is None or not tensor.name.endswith(_GROUPED) or len(entry) % tensor.columns:
            continue
        groups = entry.reshape(-1, tensor.columns)
        entries[tensor.name] = groups.mean(axis=0, dtype=np.float64).astype(np.float32)
    return replace(imatrix, entries=entries)


def covered_types(
    recipe: Recipe,
    tensors: Iterable[MappedTensor],
    types: Mapping[str, T],
    traits: ModelTraits,
    imatrix: Imatrix | None,
) -> dict[str, T]:
    """Return types of tensors such that every tensor that needs importance has it.

    Args:
        recipe: What gave the types.
        tensors: The output's tensors.
        types: Their types by GGUF name.
        traits: The model's.
        imatrix: The importance matrix.

    Raises:
        UsageError: A tensor of the main layers needs importance that is missing, or an entry has
            another size than its tensor; it is named.
    """
    covered = dict(types)
    for tensor in tensors:
        kind = types[tensor.name]
        entry = imatrix.entries.get(tensor.name) if imatrix else None
        if imatrix and entry is not None:
            if kind.block > 1:
                _check_entry(imatrix, tensor, len(entry))
        elif needs_imatrix(tensor.name, kind, recipe.name):
            if imatrix is None or layer_of(tensor.name) < traits.main_layers:
                raise _missing(recipe, tensor, kind, imatrix)
            without = _WITHOUT_IMATRIX.get(kind, T.Q2_K)
            covered[tensor.name] = fitting_type(without, tensor.columns)
    return covered


def unmeasured_notice(recipe: Recipe, types: Mapping[str, T], covered: Mapping[str, T]) -> str:
    """Return a notice about tensors that got another type; empty if none did."""
    changed = [name for name, kind in types.items() if covered[name] is not kind]
    if not changed:
        return ""
    kinds = ", ".join(sorted({covered[name].name for name in changed}))
    return (
        f"{recipe.name}: {len(changed)} matrices of the multi-token-prediction (MTP) layer are not "
        f"in the importance matrix, so they become {kinds}"
    )


def expected_imatrix(
    file: str, dataset: str, tensors: Iterable[MappedTensor], main_layers: int
) -> Imatrix:
    """Return a stand-in for a matrix that is still to be made: it covers the same tensors.

    Args:
        file: The name that the matrix will have.
        dataset: The name of the text that it will be made with.
        tensors: The model's tensors.
        main_layers: How many layers are evaluated.
    """
    one = np.ones(1, np.float32)
    entries = {
        tensor.name: np.broadcast_to(one, tensor.columns * tensor.slices)
        for tensor in tensors
        if is_quantizable(tensor) and 0 <= layer_of(tensor.name) < main_layers
    }
    return Imatrix(file, (dataset,), 1, entries)


def _missing(recipe: Recipe, tensor: MappedTensor, kind: T, imatrix: Imatrix | None) -> UsageError:
    why = "which the importance matrix does not cover"
    if imatrix is None:
        why = "so it needs an importance matrix"
    return UsageError(
        f"{recipe.name}: {tensor.name} becomes {kind.name}, {why}",
        hint="--imatrix auto makes one, --imatrix FILE reads one; or choose a larger --quant",
    )


def _check_entry(imatrix: Imatrix, tensor: MappedTensor, have: int) -> None:
    """Check that an entry of ``have`` values is that of a tensor. Raises UsageError."""
    needed = tensor.columns * tensor.slices
    if have != needed and tensor.name != "token_embd.weight":
        raise UsageError(
            f"{imatrix.file}: {tensor.name}: has {have:,} values, {needed:,} are needed",
            hint="it was made for another model",
        )
