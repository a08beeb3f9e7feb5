"""What no model can mean: numbers in a GGUF header over which llama.cpp would abort the process
instead of refusing the file.

Source of the rules: the assertions in llama.cpp's src/llama-model.cpp, src/llama-vocab.cpp,
src/llama-graph.cpp and src/models. What it refuses in words of its own, as a tensor of the wrong
shape, is left to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType

if TYPE_CHECKING:
    from .shape import Shape

MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
GATING = range(5)  # enum llama_expert_gating_func_type
SCALING = ("none", "linear", "yarn", "longrope")
EPSILONS = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon")
INTEGERS = (
    "block_count",
    "nextn_predict_layers",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "leading_dense_block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.key_length_mla",
    "attention.value_length_mla",
    "attention.q_lora_rank",
    "attention.kv_lora_rank",
    "rope.dimension_count",
    "expert_count",
    "expert_used_count",
    "expert_group_count",
    "expert_group_used_count",
    "expert_feed_forward_length",
    "expert_shared_count",
    "expert_gating_func",
)
NO_WEIGHTS = (
    GgmlType.I8,
    GgmlType.I16,
    GgmlType.I32,
    GgmlType.I64,
    GgmlType.F64,
)  # vectors are F32, to which others are added
BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_HINT = "fetch or convert it again"


def validate_types(header: GgufHeader) -> None:
    """Raises GgufError where the metadata has something else in the place of an integer."""
    for key in INTEGERS:
        value = header.metadata.get(f"{header.architecture}.{key}", 0)
        if not isinstance(value, int) or isinstance(value, bool):
            what = key.replace(".", " ").replace("_", " ")
            raise GgufError(
                f"metadata of {header.architecture}: no number of {what} that makes sense",
                hint=_HINT,
            )


def validate_shape(header: GgufHeader, shape: Shape) -> None:
    """Raises GgufError for the first thing in ``header``, whose shape is ``shape``, that makes no
    sense.
    """
    for what in (
        *_layers(header, shape),
        *_attention(header, shape),
        *_experts(header, shape),
        *_others(header),
    ):
        raise GgufError(f"metadata of {shape.architecture} makes no sense: {what}", hint=_HINT)
    for tensor in header.tensors:
        if tensor.type in NO_WEIGHTS or (
            len(tensor.shape) == 1 and tensor.type is not GgmlType.F32
        ):
            raise GgufError(
                f"{tensor.name[:80]}: llama.cpp does not compute with {tensor.type.name} there",
                hint=_HINT,
            )


def validate_vocabulary(header: GgufHeader) -> None:
    """Raises GgufError for a vocabulary that llama.cpp would abort over, if there is one at all."""
    kind, tokens = header.text("tokenizer.ggml.model"), header.tokens()
    if kind in ("none", "no_vocab"):
        raise GgufError(f"its tokenizer is {kind!r}: it cannot read text", hint=_HINT)
    if "\0" in "".join(tokens):
        raise GgufError("its vocabulary has a token with a zero byte in it", hint=_HINT)
    if kind == "llama" and tokens and not BYTES.issubset(tokens):
        raise GgufError(
            "its tokenizer is 'llama', and its vocabulary lacks that one's bytes, as <0x0A>",
            hint=_HINT,
        )


def _layers(header: GgufHeader, shape: Shape) -> Iterator[str]:
    if shape.layers + shape.mtp_layers > MAX_LAYERS:
        yield f"{shape.layers + shape.mtp_layers:,} layers, of {MAX_LAYERS} at the most"
    if header.of_arch("context_length", 1) < 1:
        yield f"a context of {header.of_arch('context_length')}"


def _attention(header: GgufHeader, shape: Shape) -> Iterator[str]:
    joined = next(
        (tensor.shape[0] for tensor in header.tensors if tensor.name == "blk.0.attn_output.weight"),
        0,
    )
    if joined and joined != shape.heads * shape.head_v:
        yield f"{shape.heads:,} heads of {shape.head_v:,}, where {joined:,} numbers come together"
    if shape.heads % shape.kv_heads:
        yield f"{shape.heads:,} heads on {shape.kv_heads:,} of keys and values"
    if shape.rope % 2:
        yield f"an odd number of rotated dimensions, {shape.rope:,}"
    if shape.architecture == "deepseek2":
        if shape.rope >= shape.head_k:
            yield f"{shape.rope:,} rotated dimensions of {shape.head_k:,}"
        if shape.mla and shape.kv_heads != 1:
            yield f"{shape.kv_heads:,} heads of compressed keys"
        if shape.mla and shape.cache_k != shape.kv_rank + shape.rope:
            yield f"{shape.cache_k:,} numbers are kept of a token, where {shape.kv_rank:,} and {shape.rope:,} are made"
    else:
        if shape.head_k != shape.head_v:
            yield f"heads of {shape.head_k:,} and {shape.head_v:,}"
        if shape.rope > shape.head_k:
            yield f"{shape.rope:,} rotated dimensions of {shape.head_k:,}"


def _experts(header: GgufHeader, shape: Shape) -> Iterator[str]:
    groups = shape.expert_groups
    if bool(shape.experts) != bool(shape.experts_used):
        yield f"{shape.experts_used:,} of {shape.experts:,} experts are used"
    if groups and groups >= shape.experts:
        yield f"{shape.experts:,} experts in {groups:,} groups"
    if groups > 1 and shape.experts % groups:
        yield f"{shape.experts:,} experts in {groups:,} groups"
    if groups > 1 and not 0 < shape.groups_used < groups:
        yield f"{shape.groups_used:,} of {groups:,} groups of experts are used"
    if header.of_arch("expert_gating_func") not in GATING:
        yield f"gating function {header.of_arch('expert_gating_func')}"


def _others(header: GgufHeader) -> Iterator[str]:
    scaling = header.metadata.get(f"{header.architecture}.rope.scaling.type", SCALING[0])
    if scaling not in SCALING:
        yield f"rope scaling {str(scaling)[:40]!r}"
    for key in EPSILONS:
        value = header.metadata.get(f"{header.architecture}.{key}", 0.0)
        if isinstance(value, float) and not 0 <= value < math.inf:
            yield f"{key} {value}"
