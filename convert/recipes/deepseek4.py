"""Recipes for DeepSeek V4, which keep what is small and matters.

llama-quantize would give hyper-connection mixers, compressors, the indexer and attn_kv the type of
the experts, though all of them together are less than a hundredth of the model. Here only the
routed experts, 97 % of the weights, get few bits; they are quantized from the checkpoint's own
values, and never to more bits than the four that they have there. Source of the division: antirez'
ds4 (gguf-tools), whose two-bit files of V4-Flash are this size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.errors import UsageError
from dslocal.gguf.tensor_names import name_in_layer
from dslocal.gguf.tensor_types import GgmlType as T

from .named import file_type_of
from .recipe import ModelTraits, fitting_type, is_quantizable, kept_type

DOWN = "ffn_down_exps.weight"
# matrices that every token is multiplied with: 8 bits
_Q8_0 = frozenset(
    {
        "output.weight",
        "attn_q_a.weight",
        "attn_q_b.weight",
        "attn_kv.weight",
        "attn_output_a.weight",
        "attn_output_b.weight",
        "indexer.attn_q_b.weight",
        "ffn_gate_shexp.weight",
        "ffn_up_shexp.weight",
        "ffn_down_shexp.weight",
        "nextn.eh_proj.weight",
        "fc.weight",
    }
)
# stored in float32, and precise enough in half of it
_F16 = frozenset({"hc_attn_fn.weight", "hc_ffn_fn.weight", "output_hc_fn.weight"})


def is_v4(tensors: Iterable[MappedTensor]) -> bool:
    """Return whether tensors are those of a V4 model or of its drafter."""
    return any(tensor.native is not None for tensor in tensors)


def pinned_type(tensor: MappedTensor) -> T:
    """Return the type of a tensor that is not a routed expert's."""
    name = name_in_layer(tensor.name)
    if not is_quantizable(tensor):
        return kept_type(tensor)
    if name in _Q8_0:
        return fitting_type(T.Q8_0, tensor.columns)
    return T.F16 if name in _F16 else kept_type(tensor)


@dataclass(frozen=True)
class V4Recipe:
    """A recipe for V4 by the types of its routed experts: of gate and up, and of down."""

    name: str
    gate_up: T
    down: T
    quantizes: bool = False

    @property
    def file_type(self) -> int:
        """Return the number of the stock recipe that is mostly of the same type."""
        return file_type_of(self.gate_up)

    def assign(
        self, tensors: Iterable[MappedTensor], traits: ModelTraits, overhead: int
    ) -> dict[str, T]:
        """Return the type of every tensor, by GGUF name; ``overhead`` plays no role.

        Raises:
            UsageError: The model is not a V4.
        """
        tensors = list(tensors)
        if not is_v4(tensors):
            raise UsageError(
                f"{self.name} is for DeepSeek V4", hint="use Q4_K_M, or --size for any other size"
            )
        return {tensor.name: self._type(tensor) for tensor in tensors}

    def _type(self, tensor: MappedTensor) -> T:
        if not tensor.is_routed_expert:
            return pinned_type(tensor)
        kind = self.down if tensor.name.endswith(DOWN) else self.gate_up
        return fitting_type(kind, tensor.columns)


# from the largest to the smallest; those with IQ in their name need an importance matrix
V4_RECIPES = (
    V4Recipe("V4-Q3", T.Q3_K, T.Q3_K),
    V4Recipe("V4-IQ3", T.IQ3_XXS, T.IQ3_XXS),
    V4Recipe("V4-Q2", T.Q2_K, T.Q2_K),
    V4Recipe("V4-IQ2", T.IQ2_XXS, T.Q2_K),
)
