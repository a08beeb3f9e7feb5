"""The quantization errors of tensors for ``--size``: estimated by type, or measured.

An error is the squared relative error of what a matrix gives: each column of the difference counts
by the mean square of what it is multiplied with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.quantize import RELATIVE_ERROR
from dslocal.gguf.tensor_types import GgmlType

from .recipe import fitting_type

ErrorsByType = Mapping[GgmlType, float]


class QuantizationErrors(Protocol):
    """Says how large errors are."""

    def of(
        self, tensors: Sequence[MappedTensor], kinds: Iterable[GgmlType]
    ) -> Mapping[str, ErrorsByType]:
        """Return the squared relative error of each type, by GGUF name of the tensor.

        Args:
            tensors: Tensors that can be quantized.
            kinds: The types. Where rows do not fit one, the type in its place is meant.
        """


@dataclass(frozen=True)
class EstimatedErrors:
    """Knows types only: their error on Gaussian weights, all columns alike."""

    def of(
        self, tensors: Sequence[MappedTensor], kinds: Iterable[GgmlType]
    ) -> Mapping[str, ErrorsByType]:
        """Return errors, as :class:`QuantizationErrors` says."""
        kinds = tuple(kinds)
        return {tensor.name: estimated_errors(tensor, kinds) for tensor in tensors}


def estimated_errors(tensor: MappedTensor, kinds: Iterable[GgmlType]) -> dict[GgmlType, float]:
    """Return the squared relative error of each type that a tensor may get."""
    fitting = dict.fromkeys(fitting_type(kind, tensor.columns) for kind in kinds)
    errors = {kind: RELATIVE_ERROR[kind] ** 2 for kind in fitting}
    if tensor.lossless is not None:
        errors[tensor.lossless] = 0.0
    return errors
