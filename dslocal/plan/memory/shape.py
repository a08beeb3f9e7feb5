"""A model's shape, read from a GGUF header: the numbers that memory depends on, named as llama.cpp
reads them.

Knows which attention a file has, and a legacy MLA file when it sees one. Knows nothing of bytes and
devices.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dslocal.errors import GgufError, UnsupportedModelError
from dslocal.gguf.header import GgufHeader

from .memo import cached_by_header
from .validate import validate_shape, validate_types

ARCHITECTURES = ("deepseek2", "deepseek", "llama", "qwen2", "qwen3")
MAX_LAYERS, MAX_EXPERTS, MOST = 1024, 1024, 1 << 31
_ROUTED = re.compile(r"blk\.(\d+)\.ffn_(?:up|down|gate|gate_up)_(?:ch|)exps")


@dataclass(frozen=True, slots=True)
class Shape:
    """``layers`` are those of the model proper, ``mtp_layers`` come after them. ``head_k`` and
    ``head_v`` are a head's key and value as they are computed, ``cache_k`` and ``cache_v`` what a
    layer keeps of a token; ``kv_rank`` is 0 without MLA.
    """

    architecture: str
    layers: int
    mtp_layers: int
    dense_layers: int
    width: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_k: int
    head_v: int
    rope: int
    q_rank: int
    kv_rank: int
    mla: bool  # the compressed keys are cached and serve as values too
    cache_k: int
    cache_v: int
    ff: int
    expert_ff: int
    shared_ff: int
    experts: int
    experts_used: int
    expert_groups: int
    groups_used: int
    expert_norm: bool
    expert_scale: float
    expert_bias: bool
    qkv_bias: bool
    qk_norm: bool
    fused_gate_up: bool

    @property
    def kind(self) -> str:
        """ "MLA", "MHA", "GQA" or "MQA"."""
        if self.mla:
            return "MLA"
        return "MHA" if self.kv_heads == self.heads else "MQA" if self.kv_heads == 1 else "GQA"


@cached_by_header
def shape_of(header: GgufHeader) -> Shape:
    """Raises UnsupportedModelError for an architecture whose memory is not known, GgufError for
    numbers that make no sense.
    """
    arch = header.architecture
    if arch not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"architecture {arch[:40]!r}: its memory is not known",
            hint=f"known: {', '.join(ARCHITECTURES)}",
        )
    validate_types(header)
    tensors = {tensor.name: tensor.shape for tensor in header.tensors}
    mtp = header.of_arch("nextn_predict_layers")
    layers, width, heads = (
        header.of_arch("block_count") - mtp,
        header.of_arch("embedding_length"),
        header.of_arch("attention.head_count"),
    )
    kv_heads = header.of_arch("attention.head_count_kv", heads)
    _bound(
        arch,
        {
            "layers": (layers, MAX_LAYERS),
            "width": (width, MOST),
            "heads": (heads, MOST),
            "kv heads": (kv_heads, MOST),
        },
    )
    head_k = header.of_arch("attention.key_length", width // heads)
    head_v = header.of_arch("attention.value_length", width // heads)
    mla = bool(
        header.of_arch("attention.key_length_mla") and header.of_arch("attention.value_length_mla")
    )
    shape = Shape(
        architecture=arch,
        layers=layers,
        mtp_layers=mtp,
        dense_layers=header.of_arch("leading_dense_block_count"),
        width=width,
        vocabulary=tensors.get("token_embd.weight", (0, 0))[-1],
        heads=heads,
        kv_heads=kv_heads,
        head_k=header.of_arch("attention.key_length_mla") if mla else head_k,
        head_v=header.of_arch("attention.value_length_mla") if mla else head_v,
        rope=header.of_arch("rope.dimension_count", head_k),
        q_rank=tensors.get("blk.0.attn_q_a.weight", (0, 0))[-1],
        kv_rank=header.of_arch("attention.kv_lora_rank") if arch == "deepseek2" else 0,
        mla=mla,
        cache_k=head_k * kv_heads,
        cache_v=0 if mla else head_v * kv_heads,
        **_feed_forward(header, tensors),
    )
    limits = {"mtp_layers": MAX_LAYERS, "experts": MAX_EXPERTS, "experts_used": shape.experts}
    numbers = {field.name: getattr(shape, field.name) for field in fields(shape)}
    _bound(
        arch,
        {
            name: (value, limits.get(name, MOST))
            for name, value in numbers.items()
            if isinstance(value, int)
        },
        least=0,
    )
    validate_shape(header, shape)
    return shape


def is_legacy_mla(header: GgufHeader) -> bool:
    """Whether this is a DeepSeek-V2 or V3 file from before llama.cpp cached MLA compressed: it
    takes full heads, 71 times more for V3.
    """
    return (
        header.architecture == "deepseek2"
        and header.of_arch("attention.kv_lora_rank") > 0
        and not shape_of(header).mla
    )


def can_draft(header: GgufHeader) -> bool:
    """Whether the file has an MTP layer that llama.cpp can use: exactly one, with MLA. Source:
    src/models/deepseek2.cpp, ``graph_mtp``.

    Some files say that there is one and leave it out; llama.cpp would abort the process over a
    context for it.
    """
    if header.architecture != "deepseek2" or header.of_arch("nextn_predict_layers") != 1:
        return False
    shape, names = shape_of(header), {tensor.name for tensor in header.tensors}
    return shape.mla and all(
        f"blk.{shape.layers}.{part}.weight" in names
        for part in ("nextn.eh_proj", "attn_q_a", "ffn_gate_inp")
    )


def moe_layers(header: GgufHeader) -> list[int]:
    """The layers that have routed experts, first to last, the MTP layer's among them."""
    return list(_moe_layers(header))


@cached_by_header
def _moe_layers(header: GgufHeader) -> tuple[int, ...]:
    return tuple(
        sorted(
            {
                layer
                for tensor in header.tensors
                if (layer := routed_layer_of(tensor.name)) is not None
            }
        )
    )


@functools.lru_cache(maxsize=8192)
def routed_layer_of(tensor: str) -> int | None:
    """The layer whose routed experts ``tensor`` is a part of; None for any other tensor."""
    found = _ROUTED.match(tensor)
    return int(found[1]) if found else None


def _bound(arch: str, numbers: Mapping[str, tuple[int, int]], least: int = 1) -> None:
    """Raises GgufError when one of ``numbers`` is under ``least`` or over its limit: loops and
    products are made of them.
    """
    for name, (value, most) in numbers.items():
        if not least <= value <= most:
            raise GgufError(
                f"metadata of {arch}: no number of {name.replace('_', ' ')} that makes sense"
            )


def _feed_forward(header: GgufHeader, tensors: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    scale = header.metadata.get(f"{header.architecture}.expert_weights_scale")
    return {
        "ff": header.of_arch("feed_forward_length"),
        "expert_ff": header.of_arch("expert_feed_forward_length"),
        "shared_ff": max(
            (s[-1] for name, s in tensors.items() if name.endswith("ffn_up_shexp.weight")),
            default=0,
        ),
        "experts": header.of_arch("expert_count"),
        "experts_used": header.of_arch("expert_used_count"),
        "expert_groups": header.of_arch("expert_group_count"),
        "groups_used": header.of_arch("expert_group_used_count"),
        "expert_norm": header.metadata.get(f"{header.architecture}.expert_weights_norm") is True,
        "expert_scale": float(scale) if isinstance(scale, int | float) else 0.0,
        "expert_bias": any(name.endswith("exp_probs_b.bias") for name in tensors),
        "qkv_bias": "blk.0.attn_q.bias" in tensors,
        "qk_norm": "blk.0.attn_q_norm.weight" in tensors,
        "fused_gate_up": any(name.endswith("ffn_gate_up_exps.weight") for name in tensors),
    }
