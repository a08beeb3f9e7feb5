"""The named recipes: the type of each tensor, equal to llama-quantize's choice.

A recipe has a base type; tensors depart from it by their role and layer. Source of the rules:
llama.cpp, src/llama-quant.cpp (``llama_tensor_get_type_impl``). ``n_layer`` counts the MTP block
there. Left out are the rules for tensors that DeepSeek's models do not have, and for other
architectures.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.gguf.tensor_names import layer_of
from dslocal.gguf.tensor_types import GgmlType as T

from .recipe import ModelTraits, fitting_type, is_quantizable, kept_type, tensor_order


@dataclass(frozen=True)
class NamedRecipe:
    """One of llama.cpp's recipes. ``base`` is the type of a tensor that no rule covers."""

    name: str
    file_type: int
    base: T

    @property
    def quantizes(self) -> bool:
        """Return whether llama.cpp gets there by quantizing what its converter wrote."""
        return self.base.block > 1 and self.name != "MXFP4"

    def assign(
        self, tensors: Iterable[MappedTensor], traits: ModelTraits, overhead: int
    ) -> dict[str, T]:
        """Return the type of every tensor, by GGUF name; ``overhead`` plays no role."""
        tensors = list(tensors)
        attn_v_count = sum(_role(tensor.name) == "attn_v" for tensor in tensors)
        seen: Counter[str] = Counter()
        types = {}
        for tensor in sorted(tensors, key=lambda t: tensor_order(t.name)):
            if not is_quantizable(tensor):
                types[tensor.name] = self._unquantized(tensor)
                continue
            if self.name == "MXFP4" and tensor.native is not None:
                types[tensor.name] = T.MXFP4 if tensor.is_routed_expert else tensor.native
                continue
            role = _role(tensor.name)
            place = _Place(role, seen[role], attn_v_count)
            kind = _choose(self, place, tensor, traits)
            types[tensor.name] = fitting_type(kind, tensor.columns)
            seen[role] += 1
        return types

    def _unquantized(self, tensor: MappedTensor) -> T:
        """Return the type of a tensor that no recipe quantizes."""
        if self.base is T.F32 and tensor.stored is None and tensor.native is not T.I32:
            return T.F32
        return kept_type(tensor)


# by the numbers of enum llama_ftype (include/llama.h), from the largest to the smallest
STOCK_RECIPES = (
    NamedRecipe("F32", 0, T.F32),
    NamedRecipe("F16", 1, T.F16),
    NamedRecipe("BF16", 32, T.BF16),
    NamedRecipe("Q8_0", 7, T.Q8_0),
    NamedRecipe("Q6_K", 18, T.Q6_K),
    NamedRecipe("Q5_K_M", 17, T.Q5_K),
    NamedRecipe("Q5_K_S", 16, T.Q5_K),
    NamedRecipe("Q5_1", 9, T.Q5_1),
    NamedRecipe("Q5_0", 8, T.Q5_0),
    NamedRecipe("Q4_K_M", 15, T.Q4_K),
    NamedRecipe("Q4_K_S", 14, T.Q4_K),
    NamedRecipe("Q4_1", 3, T.Q4_1),
    NamedRecipe("Q4_0", 2, T.Q4_0),
    NamedRecipe("IQ4_NL", 25, T.IQ4_NL),
    NamedRecipe("IQ4_XS", 30, T.IQ4_XS),
    NamedRecipe("MXFP4_MOE", 38, T.MXFP4),
    NamedRecipe("MXFP4", 38, T.MXFP4),
    NamedRecipe("Q3_K_L", 13, T.Q3_K),
    NamedRecipe("Q3_K_M", 12, T.Q3_K),
    NamedRecipe("Q3_K_S", 11, T.Q3_K),
    NamedRecipe("IQ3_M", 27, T.IQ3_S),
    NamedRecipe("IQ3_S", 26, T.IQ3_S),
    NamedRecipe("IQ3_XS", 22, T.IQ3_S),
    NamedRecipe("IQ3_XXS", 23, T.IQ3_XXS),
    NamedRecipe("Q2_K", 10, T.Q2_K),
    NamedRecipe("Q2_K_S", 21, T.Q2_K),
    NamedRecipe("IQ2_M", 29, T.IQ2_S),
    NamedRecipe("IQ2_S", 28, T.IQ2_XS),
    NamedRecipe("IQ2_XS", 20, T.IQ2_XS),
    NamedRecipe("IQ2_XXS", 19, T.IQ2_XXS),
    NamedRecipe("IQ1_M", 31, T.IQ1_M),
    NamedRecipe("IQ1_S", 24, T.IQ1_S),
    NamedRecipe("TQ2_0", 37, T.TQ2_0),
    NamedRecipe("TQ1_0", 36, T.TQ1_0),
)
MIXTRAL_EXPERTS = 8  # models with this many experts have rules of their own
ALIASES = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}


def file_type_of(kind: T) -> int:
    """Return the ``enum llama_ftype`` of the recipe that is mostly ``kind``.

    It is what a mixture of our own calls itself.
    """
    return next(recipe.file_type for recipe in STOCK_RECIPES if recipe.base is kind)


_OUTSIDE_LAYERS = {"output.weight": "output", "token_embd.weight": "token_embd"}
# roles of tensors, by a part of their name: V3.2's indexer.attn_k counts as an attn_k
_ATTENTION_ROLES = {
    "attn_qkv.weight": "attn_v",
    "attn_kv_b.weight": "attn_v",  # of a V2 or V3 that was converted before llama.cpp split it
    "attn_v.weight": "attn_v",
    "attn_k.weight": "attn_k",
    "attn_q.weight": "attn_q",
    "attn_output.weight": "attn_output",
}
_FEED_FORWARD = ("ffn_up", "ffn_gate", "ffn_down")


@functools.lru_cache(maxsize=1 << 14)
def _role(name: str) -> str:
    """Return the part of a tensor in the rules, or "other". Source: ``tensor_get_category``."""
    if name in _OUTSIDE_LAYERS:
        return _OUTSIDE_LAYERS[name]
    attention = next((role for part, role in _ATTENTION_ROLES.items() if part in name), None)
    if attention:
        return attention
    return next((role for role in _FEED_FORWARD if role in name), "other")


_MXFP4 = ("MXFP4_MOE", "MXFP4")


def _is_f32_before_quantizing(tensor: MappedTensor) -> bool:
    """Return whether llama.cpp's converter keeps a tensor in F32 that llama-quantize quantizes.

    It is V3.2's indexer's. Source: ``ModelBase.prepare_tensors``.
    """
    is_from_checkpoint = tensor.native is None and tensor.stored is None
    return is_from_checkpoint and tensor.name.endswith("indexer.proj.weight")


_LOW_BIT = frozenset({"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"})


class _Place(NamedTuple):
    """Where a tensor stands among the others.

    Attributes:
        role: Its role in the rules.
        before: How many tensors of this role come before it.
        attn_v_count: How many tensors of the role attn_v the output has.
    """

    role: str
    before: int
    attn_v_count: int


def _choose(recipe: NamedRecipe, place: _Place, tensor: MappedTensor, traits: ModelTraits) -> T:
    """Return the type that the rules give a tensor, before its rows are looked at."""
    name, base = recipe.name, recipe.base
    role, index = place.role, place.before
    if base.block == 1:
        return T.F32 if _is_f32_before_quantizing(tensor) else base
    if role == "output" or (traits.tied and role == "token_embd"):
        return _output(name, base, tensor.columns)
    if name in _MXFP4:
        return base if tensor.slices > 1 else T.Q8_0
    if role == "token_embd":
        return _TOKEN_EMBD.get(name, base)
    if name in _LOW_BIT:
        return _low_bit(name, base, role, traits, index)
    if role == "attn_v":
        return _attn_v(name, base, traits, place)
    if role == "attn_k" and traits.experts == MIXTRAL_EXPERTS:
        return T.Q8_0
    if role in ("attn_q", "attn_k"):
        return _ATTN_Q_K.get(name, base)
    if role == "attn_output":
        return _attn_output(name, base, traits)
    # a model of experts has several feed-forward tensors in a layer: its number counts instead
    layer = layer_of(tensor.name) if traits.experts > 1 else index
    if role == "ffn_down":
        return _ffn_down(name, base, layer, traits)
    if role in ("ffn_up", "ffn_gate"):
        return _ffn_up_or_gate(name, base, layer, traits.n_layer)
    return base


_TOKEN_EMBD = {
    "IQ2_XXS": T.Q2_K,
    "IQ2_XS": T.Q2_K,
    "IQ1_S": T.Q2_K,
    "IQ1_M": T.Q2_K,
    "IQ2_S": T.IQ3_S,
    "IQ2_M": T.IQ3_S,
    "IQ3_XXS": T.IQ3_S,
    "TQ1_0": T.Q4_K,
    "TQ2_0": T.Q4_K,
}
_ATTN_Q_K = {"IQ3_XS": T.IQ3_XXS, "IQ3_XXS": T.IQ2_S}
_ATTN_OUTPUT = {
    "Q2_K": T.Q3_K,
    "IQ3_XXS": T.IQ3_S,
    "Q3_K_M": T.Q4_K,
    "Q3_K_L": T.Q5_K,
    "IQ3_M": T.Q4_K,
}


def _output(name: str, base: T, columns: int) -> T:
    if name in _MXFP4 or columns % base.block or base is T.Q8_0:
        return T.Q8_0
    return T.Q5_K if name in _LOW_BIT or name == "IQ3_XXS" else T.Q6_K


_MIXTRAL_ATTN_OUTPUT_Q5_K = frozenset(
    {
        "Q2_K",
        "IQ3_XS",
        "IQ3_XXS",
        "Q3_K_S",
        "Q3_K_M",
        "IQ4_NL",
        "Q4_K_S",
        "Q4_K_M",
        "IQ3_S",
        "IQ3_M",
        "IQ4_XS",
    }
)


def _attn_output(name: str, base: T, traits: ModelTraits) -> T:
    if traits.experts == MIXTRAL_EXPERTS:
        return T.Q5_K if name in _MIXTRAL_ATTN_OUTPUT_Q5_K else base
    return _ATTN_OUTPUT.get(name, base)


_LOW_BIT_ATTN_OUTPUT = {
    "IQ1_S": T.IQ2_XXS,
    "IQ1_M": T.IQ2_XXS,
    "IQ2_S": T.IQ3_S,
    "IQ2_M": T.IQ3_S,
}


def _low_bit(name: str, base: T, role: str, traits: ModelTraits, index: int) -> T:
    """Return the type in recipes of 1 and 2 bits."""
    better = T.IQ3_S if name in ("IQ2_S", "IQ2_M") else T.Q2_K
    if role == "attn_v":
        return T.Q4_K if traits.gqa >= 4 or traits.experts >= 4 else better
    if role == "ffn_down":
        return better if index < traits.n_layer // 8 else base
    if traits.experts == MIXTRAL_EXPERTS and role in ("attn_k", "attn_output"):
        return T.Q4_K if role == "attn_k" else T.Q5_K
    if role == "attn_output":
        return _LOW_BIT_ATTN_OUTPUT.get(name, base)
    return base


# where at least four query heads share a value head, its matrix is small: more bits cost little
_SHARED_ATTN_V = {
    "Q2_K": T.Q4_K,
    "Q2_K_S": T.Q4_K,
    "IQ3_XXS": T.Q4_K,
    "IQ3_XS": T.Q4_K,
    "IQ3_S": T.Q4_K,
    "IQ4_NL": T.Q5_K,
    "IQ4_XS": T.Q5_K,
}
_ATTN_V = {"Q2_K": T.Q3_K, "IQ3_M": T.Q4_K, "Q3_K_L": T.Q5_K}


def _attn_v(name: str, base: T, traits: ModelTraits, place: _Place) -> T:
    index = place.before
    kind = _ATTN_V.get(name, base)
    if traits.gqa >= 4 and name in _SHARED_ATTN_V:
        kind = _SHARED_ATTN_V[name]
    elif name == "IQ3_XXS" and not traits.has_imatrix:
        kind = T.IQ3_S
    elif name == "Q3_K_M":
        kind = T.Q5_K if index < 2 else T.Q4_K
    elif name == "Q4_K_S" and index < 4:
        kind = T.Q5_K
    elif name in ("Q4_K_M", "Q5_K_M") and _use_more_bits(index, place.attn_v_count):
        kind = T.Q6_K
    if traits.experts == MIXTRAL_EXPERTS:
        return T.Q8_0
    if traits.is_70b and kind in (T.Q3_K, T.Q4_K):
        return T.Q5_K
    return kind


_EARLY_FFN_DOWN = {"Q2_K_S": T.Q4_K, "IQ3_M": T.Q4_K, "Q4_K_S": T.Q5_K}
_EARLY_FFN_DOWN_IMATRIX = {"Q4_0": T.Q4_1, "Q5_0": T.Q5_1}
_EARLY_FFN_DOWN_NO_IMATRIX = {"IQ3_XXS": T.Q4_K, "IQ4_NL": T.Q5_K, "IQ4_XS": T.Q5_K}
_FFN_DOWN = {"Q2_K": T.Q3_K, "Q3_K_M": T.Q4_K, "Q3_K_L": T.Q5_K}


def _ffn_down(name: str, base: T, layer: int, traits: ModelTraits) -> T:
    n_layer = traits.n_layer
    if layer < n_layer // 8:
        early = _EARLY_FFN_DOWN_IMATRIX if traits.has_imatrix else _EARLY_FFN_DOWN_NO_IMATRIX
        if name in early:
            return early[name]
        if name in _EARLY_FFN_DOWN:
            return _EARLY_FFN_DOWN[name]
    is_mixtral = traits.experts == MIXTRAL_EXPERTS
    if name == "IQ3_M" and is_mixtral and _use_more_bits(layer, n_layer):
        return T.Q4_K
    if name == "Q3_K_M" and layer < n_layer // 16:
        return T.Q5_K
    if name == "IQ3_XXS" and not traits.has_imatrix:
        return T.Q3_K
    if name in ("Q4_K_M", "Q5_K_M") and _use_more_bits(layer, n_layer):
        return T.Q6_K
    return _FFN_DOWN.get(name, base)


def _ffn_up_or_gate(name: str, base: T, layer: int, n_layer: int) -> T:
    is_middle = n_layer // 8 <= layer < 7 * n_layer // 8
    return T.IQ3_XXS if name == "IQ3_XS" and is_middle else base


def _use_more_bits(layer: int, n_layer: int) -> bool:
    """Return whether a layer is among the first and last eighth, or a third of the others."""
    eighth = n_layer // 8
    return layer < eighth or layer >= 7 * n_layer // 8 or (layer - eighth) % 3 == 2
