"""The named recipes: which type each tensor gets, equal to llama-quantize's choice tensor by
tensor.

A recipe has a base type; tensors depart from it by their role and layer. Source of the rules:
llama.cpp, src/llama-quant.cpp (``llama_tensor_get_type_impl``, ``tensor_type_fallback``,
``tensor_requires_imatrix``); ``n_layer`` counts the MTP block there.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.errors import UsageError
from dslocal.gguf.tensor_names import layer_of, name_in_layer
from dslocal.gguf.tensor_types import GgmlType as T


@dataclass(frozen=True)
class ModelTraits:
    """What the rules ask of a model. ``gqa`` is query heads per key-value head; ``tied`` says that
    there is no output tensor.

    ``n_layer`` counts the MTP block, ``main_layers`` does not.
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
        """What it is called in file names and metadata."""

    @property
    def file_type(self) -> int:
        """Its number in ``enum llama_ftype``."""

    @property
    def quantizes(self) -> bool:
        """Whether llama.cpp gets there by quantizing a bf16 file."""

    def assign(
        self, tensors: Iterable[MappedTensor], facts: ModelTraits, overhead: int
    ) -> dict[str, T]:
        """The type of every tensor, by GGUF name. ``overhead`` is what the file takes besides
        tensors, in bytes.
        """


@dataclass(frozen=True)
class NamedRecipe:
    """One of llama.cpp's recipes. ``base`` is what a tensor gets that no rule covers."""

    name: str
    file_type: int
    base: T

    @property
    def quantizes(self) -> bool:
        return self.base.block > 1

    def assign(
        self, tensors: Iterable[MappedTensor], facts: ModelTraits, overhead: int
    ) -> dict[str, T]:
        seen: Counter[str] = Counter()
        types = {}
        for tensor in sorted(tensors, key=lambda t: tensor_order(t.name)):
            if not is_quantizable(tensor):
                types[tensor.name] = T.F32
                continue
            role = _role(tensor.name)
            types[tensor.name] = fitting_type(
                _choose(self, role, tensor, facts, seen[role]), tensor.columns
            )
            seen[role] += 1
        return types


RECIPES = {
    name: NamedRecipe(name, number, base)
    for name, number, base in (
        *(
            ("F32", 0, T.F32),
            ("F16", 1, T.F16),
            ("BF16", 32, T.BF16),
            ("Q8_0", 7, T.Q8_0),
            ("Q6_K", 18, T.Q6_K),
        ),
        *(("Q5_K_M", 17, T.Q5_K), ("Q5_K_S", 16, T.Q5_K), ("Q5_1", 9, T.Q5_1), ("Q5_0", 8, T.Q5_0)),
        *(("Q4_K_M", 15, T.Q4_K), ("Q4_K_S", 14, T.Q4_K), ("Q4_1", 3, T.Q4_1), ("Q4_0", 2, T.Q4_0)),
        *(("IQ4_NL", 25, T.IQ4_NL), ("IQ4_XS", 30, T.IQ4_XS), ("MXFP4_MOE", 38, T.MXFP4)),
        *(("Q3_K_L", 13, T.Q3_K), ("Q3_K_M", 12, T.Q3_K), ("Q3_K_S", 11, T.Q3_K)),
        *(
            ("IQ3_M", 27, T.IQ3_S),
            ("IQ3_S", 26, T.IQ3_S),
            ("IQ3_XS", 22, T.IQ3_S),
            ("IQ3_XXS", 23, T.IQ3_XXS),
        ),
        *(("Q2_K", 10, T.Q2_K), ("Q2_K_S", 21, T.Q2_K)),
        *(
            ("IQ2_M", 29, T.IQ2_S),
            ("IQ2_S", 28, T.IQ2_XS),
            ("IQ2_XS", 20, T.IQ2_XS),
            ("IQ2_XXS", 19, T.IQ2_XXS),
        ),
        *(
            ("IQ1_M", 31, T.IQ1_M),
            ("IQ1_S", 24, T.IQ1_S),
            ("TQ2_0", 37, T.TQ2_0),
            ("TQ1_0", 36, T.TQ1_0),
        ),
    )
}
ALIASES = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M", "MXFP4": "MXFP4_MOE"}

IMATRIX_TYPES = frozenset({T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS})
# rows that are no multiple of 256 cannot hold these types
_FALLBACK = {
    **dict.fromkeys(
        (T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS, T.IQ3_S, T.IQ4_XS), T.IQ4_NL
    ),
    **dict.fromkeys((T.Q2_K, T.Q3_K, T.TQ1_0, T.TQ2_0), T.Q4_0),
    **{T.Q4_K: T.Q5_0, T.Q5_K: T.Q5_1, T.Q6_K: T.Q8_0},
}
_LOW = {"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"}


def recipe_named(name: str) -> NamedRecipe:
    """The recipe called ``name`` in any case. Raises UsageError."""
    found = RECIPES.get(ALIASES.get(name.upper(), name.upper()))
    if found is None:
        raise UsageError(f"unknown quantization {name!r:.40}", hint=f"known: {', '.join(RECIPES)}")
    return found


def file_type_of(kind: T) -> int:
    """The ``enum llama_ftype`` of the recipe that is mostly ``kind``: what a mixture of our own
    calls itself.
    """
    return next(recipe.file_type for recipe in RECIPES.values() if recipe.base is kind)


def needs_imatrix(name: str, kind: T, recipe: str) -> bool:
    """Whether tensor ``name`` as ``kind`` would be garbage without an importance matrix."""
    if name in ("token_embd.weight", "output.weight"):
        return False
    return kind in IMATRIX_TYPES or (kind is T.Q2_K and recipe == "Q2_K_S")


def is_quantizable(tensor: MappedTensor) -> bool:
    ranks = [n for n in tensor.shape[:-1] if n > 1]  # ggml does not see dimensions of one
    return bool(ranks) and not tensor.always_f32 and tensor.name.endswith("weight")


def fitting_type(kind: T, columns: int) -> T:
    """``kind``, or what takes its place in rows of ``columns``."""
    if columns % kind.block:
        kind = _FALLBACK.get(kind, kind)
    return T.F16 if columns % kind.block else kind


def tensor_order(name: str) -> tuple[int, str]:
    """llama-quantize's order of tensors in a file: by layer, then by name."""
    return layer_of(name), name


_ROLES = {
    **{"output.weight": "output", "token_embd.weight": "embedding"},
    **{"attn_v.weight": "v", "attn_k.weight": "k", "attn_q.weight": "q", "attn_output.weight": "o"},
}


@functools.lru_cache(maxsize=1 << 14)
def _role(name: str) -> str:
    part = name_in_layer(name)
    if part in _ROLES:
        return _ROLES[part]
    return next(
        (role for role in ("ffn_up", "ffn_gate", "ffn_down") if part.startswith(role)), "other"
    )


def _choose(
    recipe: NamedRecipe, role: str, tensor: MappedTensor, facts: ModelTraits, index: int
) -> T:
    """``index`` counts the tensors of this role that came before."""
    name, base = recipe.name, recipe.base
    if base.block == 1:
        return base
    if role == "output" or (facts.tied and role == "embedding"):
        return _output(name, base, tensor.columns)
    if name == "MXFP4_MOE":
        return base if len(tensor.shape) > 2 and tensor.shape[0] > 1 else T.Q8_0
    if role == "embedding":
        return _EMBEDDING.get(name, base)
    if name in _LOW:
        return _low(name, base, role, facts, index)
    if role == "v":
        return _value(name, base, facts, index)
    if role.startswith("ffn_"):
        layer = layer_of(tensor.name) if facts.experts > 1 else index
        return (
            _down(name, base, layer, facts)
            if role == "ffn_down"
            else _up_or_gate(name, base, layer, facts.n_layer)
        )
    return _ATTENTION.get((name, role), base)


_EMBEDDING = {
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"), T.Q2_K),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), T.IQ3_S),
    **dict.fromkeys(("TQ1_0", "TQ2_0"), T.Q4_K),
}
_ATTENTION = {
    **{("IQ3_XS", role): T.IQ3_XXS for role in ("q", "k")},
    **{("IQ3_XXS", role): T.IQ2_S for role in ("q", "k")},
    **{
        ("Q2_K", "o"): T.Q3_K,
        ("IQ3_XXS", "o"): T.IQ3_S,
        ("Q3_K_M", "o"): T.Q4_K,
        ("Q3_K_L", "o"): T.Q5_K,
        ("IQ3_M", "o"): T.Q4_K,
    },
}


def _output(name: str, base: T, columns: int) -> T:
    if name == "MXFP4_MOE" or columns % base.block or base is T.Q8_0:
        return T.Q8_0
    return T.Q5_K if name in _LOW or name == "IQ3_XXS" else T.Q6_K


def _low(name: str, base: T, role: str, facts: ModelTraits, index: int) -> T:
    better = T.IQ3_S if name in ("IQ2_S", "IQ2_M") else T.Q2_K
    if role == "v":
        return T.Q4_K if facts.gqa >= 4 or facts.experts >= 4 else better
    if role == "ffn_down":
        return better if index < facts.n_layer // 8 else base
    if role == "o":
        return {"IQ1_S": T.IQ2_XXS, "IQ1_M": T.IQ2_XXS, "IQ2_S": T.IQ3_S, "IQ2_M": T.IQ3_S}.get(
            name, base
        )
    return base


def _value(name: str, base: T, facts: ModelTraits, index: int) -> T:
    shared = facts.gqa >= 4
    kind = base
    if name == "Q2_K":
        kind = T.Q4_K if shared else T.Q3_K
    elif name in ("Q2_K_S", "IQ3_XS", "IQ3_S"):
        kind = T.Q4_K if shared else base
    elif name == "IQ3_XXS":
        kind = T.Q4_K if shared else base if facts.has_imatrix else T.IQ3_S
    elif name == "IQ3_M":
        kind = T.Q4_K
    elif name == "Q3_K_M":
        kind = T.Q5_K if index < 2 else T.Q4_K
    elif name == "Q3_K_L":
        kind = T.Q5_K
    elif name in ("IQ4_NL", "IQ4_XS"):
        kind = T.Q5_K if shared else base
    elif name in ("Q4_K_M", "Q5_K_M"):
        kind = T.Q6_K if _deserves_more(index, facts.n_layer) else base
    elif name == "Q4_K_S":
        kind = T.Q5_K if index < 4 else base
    return T.Q5_K if facts.is_70b and kind in (T.Q3_K, T.Q4_K) else kind


def _down(name: str, base: T, layer: int, facts: ModelTraits) -> T:
    n = facts.n_layer
    early = layer < n // 8
    kind = {"Q2_K": T.Q3_K, "Q3_K_M": T.Q5_K if layer < n // 16 else T.Q4_K, "Q3_K_L": T.Q5_K}.get(
        name, base
    )
    if name in ("Q4_K_M", "Q5_K_M"):
        kind = T.Q6_K if _deserves_more(layer, n) else base
    elif name == "IQ3_XXS" and not facts.has_imatrix:
        kind = T.Q4_K if early else T.Q3_K
    elif name in ("Q4_0", "Q5_0") and facts.has_imatrix and early:
        kind = {"Q4_0": T.Q4_1, "Q5_0": T.Q5_1}[name]
    elif early and (name not in ("IQ4_NL", "IQ4_XS") or not facts.has_imatrix):
        kind = _EARLY_DOWN.get(name, kind)
    return kind


_EARLY_DOWN = {
    "Q2_K_S": T.Q4_K,
    "IQ3_M": T.Q4_K,
    "IQ4_NL": T.Q5_K,
    "IQ4_XS": T.Q5_K,
    "Q4_K_S": T.Q5_K,
}


def _up_or_gate(name: str, base: T, layer: int, n: int) -> T:
    return T.IQ3_XXS if name == "IQ3_XS" and n // 8 <= layer < 7 * n // 8 else base


def _deserves_more(i: int, n: int) -> bool:
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2
