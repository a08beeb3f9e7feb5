"""The interface of all recipes, and the rules for a tensor's type that hold with every recipe.

Source: llama.cpp, src/llama-quant.cpp (``tensor_allows_quantization``, ``tensor_type_fallback``,
``tensor_requires_imatrix``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.gguf.tensor_names import layer_of
from dslocal.gguf.tensor_types import GgmlType as T

IMATRIX_TYPES = frozenset({T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS})
# what takes the place of types of 256-blocks in rows that are not a multiple of 256
_FALLBACK = {
    T.IQ1_S: T.IQ4_NL,
    T.IQ1_M: T.IQ4_NL,
    T.IQ2_XXS: T.IQ4_NL,
    T.IQ2_XS: T.IQ4_NL,
    T.IQ2_S: T.IQ4_NL,
    T.IQ3_XXS: T.IQ4_NL,
    T.IQ3_S: T.IQ4_NL,
    T.IQ4_XS: T.IQ4_NL,
    T.Q2_K: T.Q4_0,
    T.Q3_K: T.Q4_0,
    T.TQ1_0: T.Q4_0,
    T.TQ2_0: T.Q4_0,
    T.Q4_K: T.Q5_0,
    T.Q5_K: T.Q5_1,
    T.Q6_K: T.Q8_0,
}


@dataclass(frozen=True)
class ModelTraits:
    """What the rules depend on besides the tensor.

    Attributes:
        n_layer: Layers, the MTP block included.
        main_layers: Layers without it.
        gqa: Query heads for each key-value head.
        experts: Routed experts; 0 in a dense model.
        is_70b: Whether llama.cpp takes the model for a 70B.
        tied: Whether the output matrix is that of the embeddings.
        has_imatrix: Whether an importance matrix is used.
    """

    n_layer: int
    main_layers: int
    gqa: int
    experts: int
    is_70b: bool
    tied: bool
    has_imatrix: bool


class Recipe(Protocol):
    """Gives every tensor a type."""

    @property
    def name(self) -> str:
        """Return what it is called in file names and metadata."""

    @property
    def file_type(self) -> int:
        """Return its number in ``enum llama_ftype``."""

    @property
    def quantizes(self) -> bool:
        """Return whether llama.cpp gets there by quantizing what its converter wrote."""

    def assign(
        self, tensors: Iterable[MappedTensor], traits: ModelTraits, overhead: int
    ) -> dict[str, T]:
        """Return the type of every tensor, by GGUF name.

        Args:
            tensors: All tensors of the output.
            traits: The model's.
            overhead: Bytes of the file besides tensors.

        Raises:
            UsageError: The recipe does not fit the model.
        """


def needs_imatrix(name: str, kind: T, recipe: str) -> bool:
    """Return whether a tensor of that type would be garbage without an importance matrix."""
    if name in ("token_embd.weight", "output.weight"):
        return False
    return kind in IMATRIX_TYPES or (kind is T.Q2_K and recipe == "Q2_K_S")


def is_quantizable(tensor: MappedTensor) -> bool:
    """Return whether a recipe may give the tensor another type than F32."""
    lengths = [n for n in tensor.shape[:-1] if n > 1]  # ggml does not see dimensions of one
    return bool(lengths) and not tensor.always_f32 and tensor.name.endswith("weight")


def kept_type(tensor: MappedTensor) -> T:
    """Return the type of a tensor that is not quantized.

    It is that of a GGUF source, else what V4's converter writes, else float32.
    """
    if tensor.stored is not None:
        return tensor.stored
    return T.F32 if tensor.native is None else tensor.native


def fitting_type(kind: T, columns: int) -> T:
    """Return ``kind``, or what takes its place in rows of ``columns``."""
    if columns % kind.block:
        kind = _FALLBACK.get(kind, kind)
    return T.F16 if columns % kind.block else kind


def tensor_order(name: str) -> tuple[int, str]:
    """Return the key of llama-quantize's order of tensors in a file: by layer, then by name."""
    return layer_of(name), name
