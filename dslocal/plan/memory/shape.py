"""Read a model's shape from a GGUF header.

Knows which attention a file has, and a legacy MLA file when it sees one. Knows nothing of bytes and
devices.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from dslocal.errors import GgufError, UnsupportedModelError
from dslocal.gguf.architectures import require_known
from dslocal.gguf.header import GgufHeader
from dslocal.plan.load_config import MAX_MTP_DRAFTS

from . import dspark
from .memo import cached_by_header
from .model_shape import ModelShape
from .validate import MAX_EXPERTS, validate_shape, validate_types

ARCHITECTURES = ("deepseek4", "deepseek32", "deepseek2", "deepseek", "llama", "qwen2", "qwen3")
MLA_ARCHITECTURES = ("deepseek32", "deepseek2")
MTP_ARCHITECTURES = ("deepseek4", "deepseek32", "deepseek2")
COMPRESS_RATIOS = (0, 4, 128)
MAX_NUMBER = (1 << 31) - 1  # of any number: products are made of them
_ROUTED = re.compile(r"blk\.(\d+)\.ffn_(?:up|down|gate|gate_up)_(?:ch|)exps")

TensorShapes: TypeAlias = Mapping[str, tuple[int, ...]]


class _Range(NamedTuple):
    """What a number is, in words, and the values that it may have."""

    label: str
    least: int = 0
    most: int = MAX_NUMBER


class _Dimensions(NamedTuple):
    """The numbers that others are divided by or multiplied with."""

    n_layer_nextn: int
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int


@cached_by_header
def shape_of(header: GgufHeader) -> ModelShape:
    """Return the shape of the model that ``header`` describes.

    Raises:
        UnsupportedModelError: an architecture whose memory is not known.
        GgufError: numbers that make no sense.
    """
    require_known(header.architecture)
    if header.architecture not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"architecture {header.architecture[:40]!r}: dslocal cannot plan its memory",
            hint=f"known: {', '.join(ARCHITECTURES)}",
        )
    validate_types(header)
    tensors = {tensor.name: tensor.shape for tensor in header.tensors}
    shape = replace(
        _read_shape(header, tensors, _read_dimensions(header)),
        n_tensors=len(header.tensors),
        dspark_layers=dspark.stages(header),
        dspark_targets=dspark.target_layers(header),
        dspark_block=dspark.block_size(header),
    )
    _check_ranges(shape)
    validate_shape(header, shape)
    return shape


def _read_dimensions(header: GgufHeader) -> _Dimensions:
    """Read the numbers that others are made of. Raises GgufError where one is out of range."""
    n_layer_nextn = header.mtp_layers
    n_head = header.of_arch("attention.head_count")
    found = _Dimensions(
        n_layer_nextn=n_layer_nextn,
        n_layer=header.of_arch("block_count") - n_layer_nextn,
        n_embd=header.of_arch("embedding_length"),
        n_head=n_head,
        n_head_kv=header.of_arch("attention.head_count_kv", n_head),
    )
    arch = header.architecture
    _check_range(arch, found.n_layer, _Range("layers", least=1))
    _check_range(arch, found.n_embd, _Range("width", least=1))
    _check_range(arch, found.n_head, _Range("heads", least=1))
    _check_range(arch, found.n_head_kv, _Range("kv heads", least=1))
    return found


def _read_shape(header: GgufHeader, tensors: TensorShapes, dimensions: _Dimensions) -> ModelShape:
    """Put together what the metadata and the shapes of the tensors say.

    Source of the defaults: llama.cpp, src/llama-model.cpp, ``llama_model_base::load_hparams``.
    """
    arch, n_head_kv = header.architecture, dimensions.n_head_kv
    per_head = dimensions.n_embd // dimensions.n_head
    cached_head_k = header.of_arch("attention.key_length", per_head)
    cached_head_v = header.of_arch("attention.value_length", per_head)
    mla_head_k = header.of_arch("attention.key_length_mla")
    mla_head_v = header.of_arch("attention.value_length_mla")
    is_mla = bool(mla_head_k and mla_head_v)
    scale = header.metadata.get(f"{arch}.expert_weights_scale")
    ratios = _compress_ratios(header, dimensions.n_layer)
    return ModelShape(
        architecture=arch,
        n_layer=dimensions.n_layer,
        n_layer_nextn=dimensions.n_layer_nextn,
        n_layer_dense_lead=header.of_arch("leading_dense_block_count"),
        n_embd=dimensions.n_embd,
        n_vocab=_rows(tensors, "token_embd.weight"),
        n_head=dimensions.n_head,
        n_head_kv=n_head_kv,
        n_embd_head_k=mla_head_k if is_mla else cached_head_k,
        n_embd_head_v=mla_head_v if is_mla else cached_head_v,
        n_rot=header.of_arch("rope.dimension_count", cached_head_k),
        n_lora_q=_rows(tensors, "blk.0.attn_q_a.weight"),
        n_lora_kv=header.of_arch("attention.kv_lora_rank") if arch in MLA_ARCHITECTURES else 0,
        is_mla=is_mla,
        n_embd_k_gqa=cached_head_k * n_head_kv,
        n_embd_v_gqa=0 if is_mla or ratios else cached_head_v * n_head_kv,
        n_ff=header.of_arch("feed_forward_length"),
        n_ff_exp=header.of_arch("expert_feed_forward_length"),
        n_ff_shexp=_most_rows(tensors, "ffn_up_shexp.weight"),
        n_expert=header.of_arch("expert_count"),
        n_expert_used=header.of_arch("expert_used_count"),
        n_expert_groups=header.of_arch("expert_group_count"),
        n_group_used=header.of_arch("expert_group_used_count"),
        expert_weights_norm=header.metadata.get(f"{arch}.expert_weights_norm") is True,
        expert_weights_scale=float(scale) if isinstance(scale, int | float) else 0.0,
        has_exp_probs_b=any(name.endswith("exp_probs_b.bias") for name in tensors),
        has_qkv_bias="blk.0.attn_q.bias" in tensors,
        has_qk_norm="blk.0.attn_q_norm.weight" in tensors,
        has_gate_up_exps=any(name.endswith("ffn_gate_up_exps.weight") for name in tensors),
        n_indexer_head=header.of_arch("attention.indexer.head_count"),
        indexer_head_size=header.of_arch("attention.indexer.key_length"),
        indexer_top_k=header.of_arch("attention.indexer.top_k"),
        n_swa=header.of_arch("attention.sliding_window") if ratios else 0,
        compress_ratios=ratios,
        n_hc=header.of_arch("hyper_connection.count", 1),
        n_hash_layer=header.of_arch("hash_layer_count"),
        n_groups_o=header.of_arch("attention.output_group_count"),
        n_lora_o=header.of_arch("attention.output_lora_rank"),
    )


def _compress_ratios(header: GgufHeader, n_layer: int) -> tuple[int, ...]:
    """Return the ratios of V4's layers, without those of the layers that draft.

    Raises:
        GgufError: a ratio that llama.cpp does not know, or too few of them.
    """
    if header.architecture != "deepseek4":
        return ()
    ratios = header.metadata.get("deepseek4.attention.compress_ratios")
    if not isinstance(ratios, list) or len(ratios) < n_layer:
        raise GgufError(f"metadata of deepseek4: no compress_ratios for {n_layer:,} layers")
    if unknown := [ratio for ratio in ratios[:n_layer] if ratio not in COMPRESS_RATIOS]:
        raise GgufError(
            f"metadata of deepseek4: a compress_ratio of {str(unknown[0])[:40]}",
            hint=f"llama.cpp knows {', '.join(map(str, COMPRESS_RATIOS))}",
        )
    return tuple(int(ratio) for ratio in ratios[:n_layer] if isinstance(ratio, int))


def _rows(tensors: TensorShapes, name: str) -> int:
    """Return the number of rows of a tensor; 0 where the file lacks it."""
    return tensors.get(name, (0, 0))[-1]


def _most_rows(tensors: TensorShapes, suffix: str) -> int:
    """Return the most rows that a tensor has whose name ends with ``suffix``."""
    rows = (shape[-1] for name, shape in tensors.items() if name.endswith(suffix))
    return max(rows, default=0)


def _check_ranges(shape: ModelShape) -> None:
    """Raise GgufError for the first number of ``shape`` that is out of range."""
    ranges = (
        (shape.n_layer_nextn, _Range("mtp layers")),
        (shape.n_layer_dense_lead, _Range("dense layers")),
        (shape.n_vocab, _Range("vocabulary")),
        (shape.n_embd_head_k, _Range("head k")),
        (shape.n_embd_head_v, _Range("head v")),
        (shape.n_rot, _Range("rope")),
        (shape.n_lora_q, _Range("q rank")),
        (shape.n_lora_kv, _Range("kv rank")),
        (shape.n_embd_k_gqa, _Range("cache k")),
        (shape.n_embd_v_gqa, _Range("cache v")),
        (shape.n_ff, _Range("ff")),
        (shape.n_ff_exp, _Range("expert ff")),
        (shape.n_ff_shexp, _Range("shared ff")),
        (shape.n_expert, _Range("experts", most=MAX_EXPERTS)),
        (shape.n_expert_used, _Range("experts used", most=shape.n_expert)),
        (shape.n_expert_groups, _Range("expert groups")),
        (shape.n_group_used, _Range("groups used")),
        (shape.n_indexer_head, _Range("indexer heads")),
        (shape.indexer_head_size, _Range("indexer head")),
        (shape.indexer_top_k, _Range("indexer top k")),
        (shape.n_swa, _Range("window")),
        (shape.n_hc, _Range("hyper-connections", least=1)),
        (shape.n_hash_layer, _Range("hash layers")),
        (shape.n_groups_o, _Range("output groups")),
        (shape.n_lora_o, _Range("output rank")),
        (shape.dspark_layers, _Range("layers of DSpark", most=dspark.MAX_STAGES)),
    )
    for value, allowed in ranges:
        _check_range(shape.architecture, value, allowed)


def _check_range(architecture: str, value: int, allowed: _Range) -> None:
    """Raise GgufError where ``value`` is out of range."""
    if not allowed.least <= value <= allowed.most:
        raise GgufError(
            f"metadata of {architecture}: no number of {allowed.label} that makes sense"
        )


def is_legacy_mla(header: GgufHeader) -> bool:
    """Return whether this is a DeepSeek-V2 or V3 file from before llama.cpp cached MLA compressed.

    Such a file caches full heads: 71 times more for V3.
    """
    return (
        header.architecture == "deepseek2"
        and header.of_arch("attention.kv_lora_rank") > 0
        and not shape_of(header).is_mla
    )


def can_draft(header: GgufHeader) -> bool:
    """Return whether a model has what llama.cpp can draft with: exactly one MTP layer, or DSpark.

    Some files say that there is one and leave it out; llama.cpp would abort the process over a
    context for it. Source: llama.cpp, src/models/deepseek2.cpp, deepseek32.cpp and deepseek4.cpp,
    ``graph_mtp``.
    """
    if dspark.has_dspark(header):
        return True
    if header.architecture not in MTP_ARCHITECTURES or header.mtp_layers != 1:
        return False
    shape = shape_of(header)
    if not shape.is_mla and not shape.compress_ratios:
        return False
    names = {tensor.name for tensor in header.tensors}
    needed = ("nextn.eh_proj", "attn_q_a", "ffn_gate_inp")
    return all(f"blk.{shape.n_layer}.{part}.weight" in names for part in needed)


def max_model_drafts(header: GgufHeader) -> int:
    """Return how many tokens a model that :func:`can_draft` drafts at a time."""
    return dspark.block_size(header) or MAX_MTP_DRAFTS


def moe_layers(header: GgufHeader) -> list[int]:
    """Return the layers that have routed experts, first to last, the MTP layer's among them."""
    return list(_moe_layers(header))


@cached_by_header
def _moe_layers(header: GgufHeader) -> tuple[int, ...]:
    layers = {routed_layer_of(tensor.name) for tensor in header.tensors}
    return tuple(sorted(layer for layer in layers if layer is not None))


@functools.lru_cache(maxsize=8192)
def routed_layer_of(tensor: str) -> int | None:
    """Return the layer whose routed experts ``tensor`` is a part of; None for any other tensor."""
    found = _ROUTED.match(tensor)
    return int(found[1]) if found else None
