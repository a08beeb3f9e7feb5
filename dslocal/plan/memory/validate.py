"""Refuse numbers in a GGUF header over which llama.cpp would abort the process.

Source of the rules: the assertions in llama.cpp's src/llama-model.cpp, src/llama-vocab.cpp,
src/llama-graph.cpp and src/models. What llama.cpp refuses with a message of its own, such as a
tensor of the wrong shape, is left to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_names import HASH_TABLE
from dslocal.gguf.tensor_types import GgmlType

from .model_shape import ModelShape

MAX_LAYERS = 512  # LLAMA_MAX_LAYERS, src/llama-hparams.h
MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS, src/llama-hparams.h
MAX_SINKHORN = 1000  # passes; every release has 20, and each is a node of each layer's graph
GATING_FUNCTIONS = range(5)  # enum llama_expert_gating_func_type
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
EPSILON_KEYS = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon")
INTEGER_KEYS = (
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
    "attention.sliding_window",
    "attention.indexer.head_count",
    "attention.indexer.key_length",
    "attention.indexer.top_k",
    "hyper_connection.count",
    "hyper_connection.sinkhorn_iterations",
    "attention.output_group_count",
    "attention.output_lora_rank",
    "hash_layer_count",
)
# Types that no weight has. Vectors are F32, to which others are added.
UNUSABLE_TYPES = (GgmlType.I8, GgmlType.I16, GgmlType.I32, GgmlType.I64, GgmlType.F64)
BYTE_TOKENS = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_HINT = "download or convert it again"


def validate_types(header: GgufHeader) -> None:
    """Raise GgufError where the metadata has something else in the place of an integer."""
    for key in INTEGER_KEYS:
        value = header.metadata.get(f"{header.architecture}.{key}", 0)
        if not isinstance(value, int) or isinstance(value, bool):
            what = key.replace(".", " ").replace("_", " ")
            raise GgufError(
                f"metadata of {header.architecture}: no number of {what} that makes sense",
                hint=_HINT,
            )


def validate_shape(header: GgufHeader, shape: ModelShape) -> None:
    """Raise GgufError for the first thing in ``header`` that makes no sense.

    Args:
        header: the header.
        shape: what was read from it.
    """
    checks = (
        _check_layers(header, shape),
        _check_attention(header, shape),
        _check_experts(header, shape),
        _check_floats(header),
    )
    for complaints in checks:
        for what in complaints:
            raise GgufError(f"metadata of {shape.architecture} makes no sense: {what}", hint=_HINT)
    for tensor in header.tensors:
        odd_vector = len(tensor.shape) == 1 and tensor.type is not GgmlType.F32
        is_odd = tensor.type in UNUSABLE_TYPES or odd_vector
        if tensor.name.endswith(HASH_TABLE):
            is_odd = tensor.type is not GgmlType.I32
        if is_odd:
            raise GgufError(
                f"{tensor.name[:80]}: llama.cpp does not compute with {tensor.type.name} there",
                hint=_HINT,
            )


def validate_vocabulary(header: GgufHeader) -> None:
    """Raise GgufError for a vocabulary over which llama.cpp would abort, if there is one at all."""
    kind = header.text("tokenizer.ggml.model")
    tokens = header.tokens()
    if kind in ("none", "no_vocab"):
        raise GgufError(f"its tokenizer is {kind!r}: it cannot read text", hint=_HINT)
    if "\0" in "".join(tokens):
        raise GgufError("its vocabulary has a token with a zero byte in it", hint=_HINT)
    if kind == "llama" and tokens and not BYTE_TOKENS.issubset(tokens):
        raise GgufError(
            "its tokenizer is 'llama', but its vocabulary lacks that tokenizer's bytes, such as "
            "<0x0A>",
            hint=_HINT,
        )


def _check_layers(header: GgufHeader, shape: ModelShape) -> Iterator[str]:
    if shape.n_layer_all > MAX_LAYERS:
        yield f"{shape.n_layer_all:,} layers, of {MAX_LAYERS} at the most"
    if header.of_arch("context_length", 1) < 1:
        yield f"a context of {header.of_arch('context_length')}"


def _check_attention(header: GgufHeader, shape: ModelShape) -> Iterator[str]:
    n_head, n_head_kv = shape.n_head, shape.n_head_kv
    n_rot = shape.n_rot
    joined = _attention_output_width(header)
    if joined and joined != n_head * shape.n_embd_head_v:
        yield f"{n_head:,} heads of {shape.n_embd_head_v:,}, where {joined:,} numbers come together"
    if n_head % n_head_kv:
        yield f"{n_head:,} heads on {n_head_kv:,} of keys and values"
    if n_rot % 2:
        yield f"an odd number of rotated dimensions, {n_rot:,}"
    if shape.compress_ratios:
        yield from _check_compressed(header, shape)
    if shape.architecture in ("deepseek2", "deepseek32"):
        yield from _check_mla(shape)
        return
    if shape.n_embd_head_k != shape.n_embd_head_v:
        yield f"heads of {shape.n_embd_head_k:,} and {shape.n_embd_head_v:,}"
    if n_rot > shape.n_embd_head_k:
        yield f"{n_rot:,} rotated dimensions of {shape.n_embd_head_k:,}"


def _check_compressed(header: GgufHeader, shape: ModelShape) -> Iterator[str]:
    """Check what V4's graph divides by and asserts. Source: llama.cpp, src/models/deepseek4.cpp."""
    if shape.n_head_kv != 1:
        yield f"attention.head_count_kv of {shape.n_head_kv:,}, where V4 has 1"
    if shape.n_groups_o < 1:
        yield f"attention.output_group_count of {shape.n_groups_o:,}"
    passes = header.of_arch("hyper_connection.sinkhorn_iterations", 1)
    if not 1 <= passes <= MAX_SINKHORN:
        yield f"hyper_connection.sinkhorn_iterations of {passes:,}"


def _attention_output_width(header: GgufHeader) -> int:
    """Return how many numbers the output projection of the first layer takes; 0 without one."""
    for tensor in header.tensors:
        if tensor.name == "blk.0.attn_output.weight":
            return tensor.shape[0]
    return 0


def _check_mla(shape: ModelShape) -> Iterator[str]:
    if shape.n_rot >= shape.n_embd_head_k:
        yield f"{shape.n_rot:,} rotated dimensions of {shape.n_embd_head_k:,}"
    if not shape.is_mla:
        return
    if shape.n_head_kv != 1:
        yield f"{shape.n_head_kv:,} heads of compressed keys"
    if shape.n_embd_k_gqa != shape.n_lora_kv + shape.n_rot:
        kept, made = shape.n_embd_k_gqa, f"{shape.n_lora_kv:,} and {shape.n_rot:,}"
        yield f"{kept:,} numbers are kept for each token, and {made} are computed"


def _check_experts(header: GgufHeader, shape: ModelShape) -> Iterator[str]:
    groups = shape.n_expert_groups
    if bool(shape.n_expert) != bool(shape.n_expert_used):
        yield f"{shape.n_expert_used:,} of {shape.n_expert:,} experts are used"
    if groups and groups >= shape.n_expert:
        yield f"{shape.n_expert:,} experts in {groups:,} groups"
    if groups > 1 and shape.n_expert % groups:
        yield f"{shape.n_expert:,} experts in {groups:,} groups"
    if groups > 1 and not 0 < shape.n_group_used < groups:
        yield f"{shape.n_group_used:,} of {groups:,} groups of experts are used"
    if header.of_arch("expert_gating_func") not in GATING_FUNCTIONS:
        yield f"gating function {header.of_arch('expert_gating_func')}"


def _check_floats(header: GgufHeader) -> Iterator[str]:
    scaling = header.metadata.get(f"{header.architecture}.rope.scaling.type", "none")
    if scaling not in ROPE_SCALINGS:
        yield f"rope scaling {str(scaling)[:40]!r}"
    for key in EPSILON_KEYS:
        value = header.metadata.get(f"{header.architecture}.{key}", 0.0)
        if isinstance(value, float) and not 0 <= value < math.inf:
            yield f"{key} {value}"
