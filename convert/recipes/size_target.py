"""Find the best recipe for a size: more bytes for tensors where errors matter.

The relative error of a matrix product is that of its matrix, whatever its size, so small tensors
that every token reads (attention, shared experts, dense layers, embeddings, output) get more bits,
and the routed experts take what is left. From the least possible size on, the upgrade that removes
most harm per byte is bought until nothing more fits. Harm is the squared relative error that the
type makes of the tensor's own weights, each column weighted by its importance, times how far an
error in its class reaches; a layer has its share of that. Only the harm decides. A minimum type for
the small tensors, at the cost of the experts, made nano worse at most sizes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.output.layout import padded
from dslocal.errors import UsageError
from dslocal.gguf.tensor_names import layer_of
from dslocal.gguf.tensor_types import GgmlType as T

from .deepseek4 import is_v4, pinned_type
from .named import file_type_of
from .quantization_errors import ErrorsByType, EstimatedErrors, QuantizationErrors
from .recipe import IMATRIX_TYPES, ModelTraits, fitting_type, is_quantizable
from .tensor_classes import class_of

# the types to choose from, by rising size
TYPES = (T.Q2_K, T.Q3_K, T.IQ4_XS, T.Q4_K, T.Q5_K, T.Q6_K, T.Q8_0)
TYPES_WITH_IMATRIX = (
    T.IQ1_S,
    T.IQ1_M,
    T.IQ2_XXS,
    T.IQ2_XS,
    T.IQ2_S,
    T.Q2_K,
    T.IQ3_XXS,
    T.IQ3_S,
    T.IQ4_XS,
    T.Q4_K,
    T.Q5_K,
    T.Q6_K,
    T.Q8_0,
)
MTP_REACH = 0.01  # of the trunk's: a draft changes no answer, only how many drafts are accepted


@dataclass(frozen=True)
class SizedRecipe:
    """Spends at most ``budget`` bytes, header included.

    The types are chosen by us, so the file calls itself a Q4_K mixture.

    Attributes:
        name: The size as the user wrote it.
        budget: The most bytes.
        errors: What says how large errors are. :func:`plan_conversion` measures them on weights
            that are on this machine.
        assumes_imatrix: Whether types that need an importance matrix may be chosen without one, for
            a header that only stands for a file of that size.
    """

    name: str
    budget: int
    quantizes: bool = False
    file_type: int = file_type_of(T.Q4_K)
    errors: QuantizationErrors = field(default_factory=EstimatedErrors)
    assumes_imatrix: bool = False

    def assign(
        self, tensors: Iterable[MappedTensor], traits: ModelTraits, overhead: int
    ) -> dict[str, T]:
        """Return the type of every tensor, by GGUF name.

        Args:
            tensors: All tensors of the output.
            traits: The model's.
            overhead: Bytes of the file besides tensors.

        Raises:
            UsageError: Even the smallest types are too large.
            CheckpointError: Weights that are measured make no sense.
        """
        tensors = list(tensors)
        quantizable = [t for t in tensors if is_quantizable(t)]
        if is_v4(tensors):  # everything but the experts is small, and stays as it is
            quantizable = [t for t in tensors if t.is_routed_expert]
        chosen_by_size = {t.name for t in quantizable}
        fixed = {t.name: pinned_type(t) for t in tensors if t.name not in chosen_by_size}
        free = self.budget - overhead
        free -= sum(padded(fixed[t.name].nbytes(t.elements)) for t in tensors if t.name in fixed)
        has_imatrix = traits.has_imatrix or self.assumes_imatrix
        types = TYPES_WITH_IMATRIX if has_imatrix else TYPES
        errors = self.errors.of(quantizable, types)
        options = [
            TensorOptions.of(t, _types_for(t, types, traits), errors[t.name], traits)
            for t in quantizable
        ]
        smallest = sum(option.nbytes(0) for option in options)
        if smallest <= free:
            return fixed | _spend(options, free - smallest)
        least = self.budget - free + smallest
        raise UsageError(
            f"--size {self.name}: {_rounded_up(least)} is the smallest size that this model can "
            "have",
            hint=_larger(traits),
        )


def _rounded_up(nbytes: int) -> str:
    """Return a size as --size takes it, not less than ``nbytes``: in MB below a gigabyte."""
    unit, name = (10**9, "GB") if nbytes >= 10**9 else (10**6, "MB")
    tenths = -(-nbytes * 10 // unit)
    return f"{tenths / 10:.1f}{name}"


def _larger(traits: ModelTraits) -> str:
    """Return what would help where a size is too small."""
    if traits.has_imatrix:
        return "use a larger --size"
    return "use a larger --size, or --imatrix, which allows smaller types"


def _types_for(tensor: MappedTensor, types: Sequence[T], traits: ModelTraits) -> Sequence[T]:
    """Return the types that a tensor may get, of all ``types``, by rising size."""
    allowed = types
    if not 0 <= layer_of(tensor.name) < traits.main_layers:  # which no importance matrix covers
        allowed = [t for t in types if t not in IMATRIX_TYPES]
    lossless = tensor.lossless
    if lossless is None:
        return allowed
    # more bits than it has would add nothing
    return [*(t for t in allowed if t.bits_per_weight < lossless.bits_per_weight), lossless]


@dataclass(frozen=True)
class TensorOptions:
    """A tensor and the types that it may get, by rising size; a level is an index into them.

    ``losses`` are the harm that each of them does.
    """

    tensor: MappedTensor
    types: Sequence[T]
    losses: Sequence[float]

    @classmethod
    def of(
        cls, tensor: MappedTensor, types: Sequence[T], errors: ErrorsByType, traits: ModelTraits
    ) -> TensorOptions:
        """Return a tensor's options: each is larger than the last, and better.

        Args:
            tensor: The tensor.
            types: The types that it may get, by rising size.
            errors: The squared relative error of each.
            traits: The model's.
        """
        found: list[T] = []
        for kind in (fitting_type(kind, tensor.columns) for kind in types):
            if not found or (
                kind.bits_per_weight > found[-1].bits_per_weight
                and errors[kind] < errors[found[-1]]
            ):
                found.append(kind)
        reach = _reach(tensor, traits)
        return cls(tensor, found, [reach * errors[kind] for kind in found])

    def nbytes(self, level: int) -> int:
        """Return the bytes of the tensor, with padding."""
        return padded(self.types[level].nbytes(self.tensor.elements))


def _reach(tensor: MappedTensor, traits: ModelTraits) -> float:
    """Return how much harm the tensor's squared relative error does."""
    reach = class_of(tensor.name).reach  # tied embeddings reach as far as others
    layer = layer_of(tensor.name)
    if layer < 0:
        return reach
    reach /= traits.main_layers
    return reach * MTP_REACH if layer >= traits.main_layers else reach


class Upgrade(NamedTuple):
    """A larger type for a tensor. Upgrades sort by value, the best first.

    ``cost`` is minus the loss that it saves for each byte, ``position`` the tensor's number, and
    ``level`` what it becomes.
    """

    cost: float
    position: int
    level: int


def _spend(options: Sequence[TensorOptions], left: int) -> dict[str, T]:
    """Buy upgrades, the best value first, until none fits any more.

    Args:
        options: The tensors' options; each begins at level 0.
        left: The bytes to spend.

    Returns:
        The types by GGUF name.
    """
    levels = [0] * len(options)
    heap: list[Upgrade] = []
    for position, option in enumerate(options):
        _offer_best(heap, option, position, 0)
    while heap:
        upgrade = heapq.heappop(heap)
        option, level = options[upgrade.position], levels[upgrade.position]
        price = option.nbytes(upgrade.level) - option.nbytes(level)
        if price <= left:
            left -= price
            levels[upgrade.position] = upgrade.level
            _offer_best(heap, option, upgrade.position, upgrade.level)
        elif upgrade.level > level + 1:  # too large a step: the next type up may fit
            heapq.heappush(heap, _upgrade(option, upgrade.position, level, level + 1))
    return {
        option.tensor.name: option.types[level]
        for option, level in zip(options, levels, strict=True)
    }


def _offer_best(heap: list[Upgrade], option: TensorOptions, position: int, level: int) -> None:
    """Push a tensor's best upgrade from ``level``, if there is any."""
    higher = range(level + 1, len(option.types))
    if higher:
        heapq.heappush(heap, min(_upgrade(option, position, level, to) for to in higher))


def _upgrade(option: TensorOptions, position: int, level: int, to: int) -> Upgrade:
    saved = option.losses[level] - option.losses[to]
    nbytes = option.nbytes(to) - option.nbytes(level)
    return Upgrade(-saved / max(nbytes, 1), position, to)
