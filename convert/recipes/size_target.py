"""The best recipe under a size: bytes spent where they matter.

The relative error of a matrix product is that of its matrix, whatever its size, so small tensors
that every token reads (attention, shared experts, dense layers, embeddings, output) get 6 to 8
bits, and the routed experts take what is left. From the least possible size on, the upgrade that
removes most harm per byte is bought until nothing more fits. Harm is the squared relative error of
the type times HARM of the tensor's role; a layer has its share of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.output.layout import padded
from dslocal.convert.quantize import RELATIVE_ERROR
from dslocal.errors import UsageError
from dslocal.files import gigabytes
from dslocal.gguf.tensor_names import layer_of
from dslocal.gguf.tensor_types import GgmlType as T

from .named import ModelTraits, file_type_of, fitting_type, is_quantizable

LADDER = (T.Q2_K, T.Q3_K, T.IQ4_XS, T.Q4_K, T.Q5_K, T.Q6_K, T.Q8_0)
LADDER_IMATRIX = (
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
FLOORS = (T.Q6_K, T.Q4_K)  # for what every token reads: the first that leaves room for the experts
# KL divergence per squared relative error when only that role is disturbed, over all layers
# together, times 1000: measured on
# nano (MLA, experts, shared experts, embeddings, output), for plain attention taken over from the
# parts of MLA
HARM = {
    **{
        "output": 60.0,
        "token_embd": 10.0,
        "ffn_down_shexp": 4.0,
        "ffn_gate_shexp": 2.0,
        "ffn_up_shexp": 2.0,
    },
    **{
        "ffn_down": 11.0,
        "ffn_gate": 7.0,
        "ffn_up": 2.5,
        "attn_output": 2.5,
        "attn_kv_a_mqa": 2.0,
        "attn_q_a": 0.5,
        "attn_q_b": 3.0,
    },
    **{"attn_k_b": 0.2, "attn_v_b": 0.8, "attn_q": 3.0, "attn_k": 2.0, "attn_v": 4.0},
}
MTP_HARM = 0.01  # of the trunk's: the draft layer changes no answer, only how many drafts are taken


@dataclass(frozen=True)
class SizedRecipe:
    """Spends at most ``budget`` bytes, header included."""

    name: str
    budget: int
    quantizes: bool = True
    file_type: int = file_type_of(T.Q4_K)

    def assign(
        self, tensors: Iterable[MappedTensor], facts: ModelTraits, overhead: int
    ) -> dict[str, T]:
        """Raises UsageError when even the smallest types are too large."""
        tensors = list(tensors)
        fixed = [t for t in tensors if not is_quantizable(t)]
        free = self.budget - overhead - sum(padded(T.F32.nbytes(t.elements)) for t in fixed)
        ladder = LADDER_IMATRIX if facts.has_imatrix else LADDER
        open_ = [t for t in tensors if is_quantizable(t)]
        chosen: dict[str, T] | None = None
        for floor in (*FLOORS, ladder[0]) if facts.experts else (ladder[0],):
            choices = [_Choice(t, _rungs(t, ladder, floor, facts), _harm(t, facts)) for t in open_]
            if sum(choice.size(0) for choice in choices) <= free:
                chosen = _spend(choices, free)
                break
        if chosen is None:
            least = self.budget - free + sum(choice.size(0) for choice in choices)
            raise UsageError(
                f"--size {self.name}: {gigabytes(least, 3)} is the least that this model can be brought to",
                hint=_smaller(facts),
            )
        return {**{t.name: T.F32 for t in fixed}, **chosen}


@dataclass(frozen=True)
class _Choice:
    """A tensor and what it may become, in rising size."""

    tensor: MappedTensor
    rungs: Sequence[T]
    harm: float

    def size(self, rung: int) -> int:
        return padded(self.rungs[rung].nbytes(self.tensor.elements))

    def loss(self, rung: int) -> float:
        return self.harm * RELATIVE_ERROR[self.rungs[rung]] ** 2


def _spend(choices: Sequence[_Choice], free: int) -> dict[str, T]:
    """Buys upgrades, the best value first, until none fits any more."""
    at = [0] * len(choices)
    left = free - sum(choice.size(0) for choice in choices)
    offers = [offer for i in range(len(choices)) if (offer := _best_offer(choices[i], i, 0))]
    heapq.heapify(offers)
    while offers:
        _, i, rung = heapq.heappop(offers)
        price = choices[i].size(rung) - choices[i].size(at[i])
        if price > left:
            if rung > at[i] + 1:  # the best step is too large: the next one up may fit
                offer = _offer(choices[i], i, at[i], at[i] + 1)
                heapq.heappush(offers, offer)
            continue
        left -= price
        at[i] = rung
        if offer := _best_offer(choices[i], i, rung):
            heapq.heappush(offers, offer)
    return {
        choice.tensor.name: choice.rungs[rung] for choice, rung in zip(choices, at, strict=True)
    }


def _best_offer(choice: _Choice, i: int, rung: int) -> tuple[float, int, int] | None:
    return min(
        (_offer(choice, i, rung, up) for up in range(rung + 1, len(choice.rungs))), default=None
    )


def _offer(choice: _Choice, i: int, rung: int, up: int) -> tuple[float, int, int]:
    gain = choice.loss(rung) - choice.loss(up)
    return -gain / max(choice.size(up) - choice.size(rung), 1), i, up


def _rungs(tensor: MappedTensor, ladder: Sequence[T], floor: T, facts: ModelTraits) -> list[T]:
    """The types that make sense for ``tensor``: each larger than the one before, and better."""
    cheap = tensor.name.endswith("_exps.weight") or layer_of(tensor.name) >= facts.main_layers
    rungs: list[T] = []
    for kind in (
        fitting_type(kind, tensor.columns) for kind in ladder[0 if cheap else ladder.index(floor) :]
    ):
        if not rungs or (
            _bits(kind) > _bits(rungs[-1]) and RELATIVE_ERROR[kind] < RELATIVE_ERROR[rungs[-1]]
        ):
            rungs.append(kind)
    return rungs


def _bits(kind: T) -> float:
    return kind.nbytes(kind.block) * 8 / kind.block


def _harm(tensor: MappedTensor, facts: ModelTraits) -> float:
    layer = layer_of(tensor.name)
    if layer < 0:
        return HARM.get(tensor.name.removesuffix(".weight"), 1.0)
    part = tensor.name.split(".", 2)[2].removesuffix(".weight").removesuffix("_exps")
    return (
        HARM.get(part, 1.0) / facts.main_layers * (MTP_HARM if layer >= facts.main_layers else 1.0)
    )


def _smaller(facts: ModelTraits) -> str:
    return (
        "a larger --size"
        if facts.has_imatrix
        else "a larger --size, or --imatrix, which allows smaller types"
    )
