"""How many weights a model has, and how many of them a token uses: what "671B, 37B active" stands
for, counted in a GGUF header.
"""

from __future__ import annotations

from typing import NamedTuple

from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_names import layer_of

EMBEDDING = "token_embd.weight"
OUTPUT = "output.weight"
COMPUTED = "rope_freqs.weight"  # written by the converter, in no checkpoint


class ParameterCount(NamedTuple):
    """Weights. ``total`` leaves out the multi-token-prediction layer, which is ``mtp``, as
    published counts do.

    ``active`` is what is multiplied for one token: attention, dense layers, router, shared experts,
    the routed experts in use and the output. ``embedding`` is a table of which a token reads one
    row; it is part of ``total``, and of ``active`` only where it is the output as well. (V2's and
    V3's published counts leave it out, DeepSeekMoE's 2.8B has it.)
    """

    total: int
    active: int
    embedding: int
    mtp: int


def count_parameters(header: GgufHeader) -> ParameterCount:
    """Counts the weights of ``header``."""
    main_layers = header.of_arch("block_count") - header.of_arch("nextn_predict_layers")
    tied = all(tensor.name != OUTPUT for tensor in header.tensors)
    total = active = embedding = mtp = 0
    for tensor in header.tensors:
        if tensor.name == COMPUTED:
            continue
        if layer_of(tensor.name) >= main_layers:
            mtp += tensor.elements
            continue
        total += tensor.elements
        if tensor.name == EMBEDDING:
            embedding = tensor.elements
        if tensor.name != EMBEDDING or tied:
            active += _used(header, tensor)
    return ParameterCount(total, active, embedding, mtp)


def _used(header: GgufHeader, tensor: GgufTensor) -> int:
    """The weights of ``tensor`` that one token goes through."""
    if not tensor.name.endswith("_exps.weight"):
        return tensor.elements
    return (
        tensor.elements
        // tensor.shape[-1]
        * min(header.of_arch("expert_used_count"), tensor.shape[-1])
    )
