"""How many weights a model has, and how many of them a token uses.

That is what "671B, 37B active" stands for, counted in a GGUF header.
"""

from __future__ import annotations

from typing import NamedTuple

from dslocal.gguf.header import GgufHeader, GgufTensor
from dslocal.gguf.tensor_names import layer_of

from .memory import dspark

EMBEDDING = "token_embd.weight"
OUTPUT = "output.weight"
COMPUTED = "rope_freqs.weight"  # written by the converter, in no checkpoint
ROUTED_SUFFIX = "_exps.weight"


class ParameterCount(NamedTuple):
    """Numbers of weights.

    Attributes:
        total: all of the model proper. As published counts do, it leaves out the layer for
            multi-token prediction.
        active: what is multiplied for one token: attention, dense layers, router, shared experts,
            the routed experts in use, and the output.
        embedding: the table of embeddings, of which a token reads one row. It is part of
            ``total``, and of ``active`` only where it is the output as well. (V2's and V3's
            published active counts leave it out, DeepSeekMoE's 2.8B has it.)
        mtp: the layer for multi-token prediction, or the draft model.
    """

    total: int
    active: int
    embedding: int
    mtp: int


def count_parameters(header: GgufHeader) -> ParameterCount:
    """Return the numbers of weights that ``header`` lists."""
    main_layers = header.of_arch("block_count") - header.mtp_layers
    is_tied = all(tensor.name != OUTPUT for tensor in header.tensors)
    total = active = embedding = mtp = 0
    for tensor in header.tensors:
        if tensor.name == COMPUTED:
            continue
        if layer_of(tensor.name) >= main_layers or tensor.name.startswith(dspark.PREFIX):
            mtp += tensor.elements
            continue
        total += tensor.elements
        if tensor.name == EMBEDDING:
            embedding = tensor.elements
        if tensor.name != EMBEDDING or is_tied:
            active += _active_elements(header, tensor)
    return ParameterCount(total, active, embedding, mtp)


def _active_elements(header: GgufHeader, tensor: GgufTensor) -> int:
    """Return the weights of a tensor that one token goes through."""
    if not tensor.name.endswith(ROUTED_SUFFIX):
        return tensor.elements
    n_expert = tensor.shape[-1]
    n_used = min(header.of_arch("expert_used_count"), n_expert)
    return tensor.elements // n_expert * n_used
