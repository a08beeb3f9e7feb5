"""DeepSeek's models as GGUF headers alone: published dimensions, tensors typed as Q4_K_M, weights a
hole in the file.

``write_header(folder, "v3")`` makes a sparse file that llama.cpp sizes and dslocal plans with.
``SHAPES`` holds the dimensions, from each model's published config.json. ``mtp`` appends V3's
multi-token-prediction layer, ``legacy`` writes MLA as files did before llama.cpp cached it
compressed, ``words`` gives the file a vocabulary instead of its size alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.recipes.by_name import recipe_named
from dslocal.convert.recipes.recipe import ModelTraits
from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader

Numbers = dict[str, int]
Rows = Iterator[tuple[str, tuple[int, ...]]]

_MLA = {"heads": 128, "q_rank": 1536, "kv_rank": 512, "nope": 128, "rope": 64, "value": 128}
_V2_MOE = {
    "expert_ff": 1536,
    "experts": 160,
    "used": 6,
    "shared": 2,
    "dense": 1,
    "groups": 8,
    "groups_used": 3,
    "scale": 16,
}
_LITE_MOE = {"expert_ff": 1408, "experts": 64, "used": 6, "shared": 2, "dense": 1, "scale": 1}
_V3_MOE = {
    "expert_ff": 2048,
    "experts": 256,
    "used": 8,
    "shared": 1,
    "dense": 3,
    "groups": 8,
    "groups_used": 4,
    "scale": 2,
    "norm": 1,
}
_INDEXER = {"index_heads": 64, "index_head": 128, "top_k": 2048}
SHAPES: dict[str, tuple[str, Numbers]] = {
    "v3": (
        "deepseek2",
        {"layers": 61, "width": 7168, "ff": 18432, "vocab": 129280, **_MLA, **_V3_MOE},
    ),
    "v3.2": (
        "deepseek32",
        {"layers": 61, "width": 7168, "ff": 18432, "vocab": 129280, **_MLA, **_V3_MOE, **_INDEXER},
    ),
    "coder-v2": (
        "deepseek2",
        {"layers": 60, "width": 5120, "ff": 12288, "vocab": 102400, **_MLA, **_V2_MOE},
    ),
    "v2-lite": (
        "deepseek2",
        {
            "layers": 27,
            "width": 2048,
            "ff": 10944,
            "vocab": 102400,
            **_MLA,
            **_LITE_MOE,
            "heads": 16,
            "q_rank": 0,
        },
    ),
    "moe-16b": (
        "deepseek",
        {
            "layers": 28,
            "width": 2048,
            "ff": 10944,
            "vocab": 102400,
            "heads": 16,
            "kv_heads": 16,
            **_LITE_MOE,
        },
    ),
    "qwen-7b": (
        "qwen2",
        {"layers": 28, "width": 3584, "ff": 18944, "vocab": 152064, "heads": 28, "kv_heads": 4},
    ),
    "qwen3-8b": (
        "qwen3",
        {"layers": 36, "width": 4096, "ff": 12288, "vocab": 151936, "heads": 32, "kv_heads": 8},
    ),
    "llama-70b": (
        "llama",
        {"layers": 80, "width": 8192, "ff": 28672, "vocab": 128256, "heads": 64, "kv_heads": 8},
    ),
    "llm-67b": (
        "llama",
        {"layers": 95, "width": 8192, "ff": 22016, "vocab": 102400, "heads": 64, "kv_heads": 8},
    ),
}
ALIGNMENT = 32


def write_header(
    folder: Path,
    name: str,
    *,
    recipe: str = "Q4_K_M",
    mtp: bool = False,
    legacy: bool = False,
    words: bool = False,
    tensors_per_file: int = 0,
) -> Path:
    """Return the sparse file of one of :data:`SHAPES`, or the first of several if it is split."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

    arch, n = SHAPES[name]
    tensors = [
        MappedTensor(tensor, shape[::-1], ()) for tensor, shape in _tensors(arch, n, mtp, legacy)
    ]
    facts = ModelTraits(
        n["layers"] + mtp,
        n["layers"],
        n["heads"] // n.get("kv_heads", n["heads"]),
        n.get("experts", 0),
        False,
        False,
        False,
    )
    types = recipe_named(recipe).assign(tensors, facts, 0)
    path = folder / f"{name}{'-mtp' * mtp}{'-legacy' * legacy}{'-words' * words}-{recipe}.gguf"
    writer = GGUFWriter(path, arch, split_max_tensors=tensors_per_file)
    for key, value in _metadata(n, mtp, legacy):
        if isinstance(value, float):
            writer.add_float32(f"{arch}.{key}", value)
        elif isinstance(value, bool):
            writer.add_bool(f"{arch}.{key}", value)
        else:
            writer.add_uint32(f"{arch}.{key}", value)
    writer.add_string("tokenizer.ggml.model", "gpt2" if words else "no_vocab")
    if words:
        writer.add_string("tokenizer.ggml.pre", "deepseek-v3")
        writer.add_array("tokenizer.ggml.tokens", [f"word{i}" for i in range(n["vocab"])])
        writer.add_array("tokenizer.ggml.token_type", [1] * n["vocab"])
        writer.add_array(
            "tokenizer.ggml.merges", [f"left{i} right{i}" for i in range(n["vocab"] - 1000)]
        )
    for tensor in tensors:
        kind = types[tensor.name]
        nbytes = kind.nbytes(math.prod(tensor.shape))
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), nbytes, GGMLQuantizationType(int(kind))
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    files: list[Path] = writer.format_shard_names(path)
    for part, infos in zip(files, writer.tensors, strict=True):
        weights = sum(_aligned(info.nbytes) for info in infos.values())
        with part.open("r+b") as file:
            file.truncate(_aligned(part.stat().st_size) + weights)
    return files[0]


def write_sparse_copy(header: GgufHeader, first_bytes: bytes, target: Path) -> Path:
    """Return a file that has ``header``, and a hole instead of weights.

    Args:
        header: the header of a file.
        first_bytes: the first bytes of that file, as many as the header takes at least.
        target: where to write the copy.
    """
    if len(first_bytes) < header.data_start:
        raise GgufError(f"{len(first_bytes):,} bytes do not hold the header")
    with target.open("wb") as file:
        file.write(first_bytes[: header.data_start])
        file.truncate(header.file_size)
    return target


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _metadata(n: Numbers, mtp: bool, legacy: bool) -> Iterator[tuple[str, Any]]:
    yield "block_count", n["layers"] + mtp
    yield "context_length", 163840
    yield "embedding_length", n["width"]
    yield "feed_forward_length", n["ff"]
    yield "attention.head_count", n["heads"]
    yield "attention.layer_norm_rms_epsilon", 1e-6
    yield "rope.freq_base", 10000.0
    yield "vocab_size", n["vocab"]
    if mtp:
        yield "nextn_predict_layers", 1
    if "kv_rank" in n:
        yield from _mla_metadata(n, legacy)
    else:
        yield "attention.head_count_kv", n["kv_heads"]
        yield "rope.dimension_count", _head(n)
        yield "attention.key_length", _head(n)
        yield "attention.value_length", _head(n)
    if "experts" in n:
        yield "leading_dense_block_count", n["dense"]
        yield "expert_feed_forward_length", n["expert_ff"]
        yield "expert_count", n["experts"]
        yield "expert_used_count", n["used"]
        yield "expert_shared_count", n["shared"]
        yield "expert_weights_scale", float(n["scale"])
        yield "expert_weights_norm", bool(n.get("norm"))
        yield "expert_gating_func", 2 if n.get("norm") else 1
        yield "expert_group_count", n.get("groups", 1)
        yield "expert_group_used_count", n.get("groups_used", 1)


def _mla_metadata(n: Numbers, legacy: bool) -> Iterator[tuple[str, Any]]:
    yield "attention.kv_lora_rank", n["kv_rank"]
    yield "rope.dimension_count", n["rope"]
    if n["q_rank"]:
        yield "attention.q_lora_rank", n["q_rank"]
    yield "attention.head_count_kv", n["heads"] if legacy else 1
    yield "attention.key_length", n["nope"] + n["rope"] if legacy else n["kv_rank"] + n["rope"]
    yield "attention.value_length", n["value"] if legacy else n["kv_rank"]
    if not legacy:
        yield "attention.key_length_mla", n["nope"] + n["rope"]
        yield "attention.value_length_mla", n["value"]
    if "top_k" in n:
        yield "attention.indexer.head_count", n["index_heads"]
        yield "attention.indexer.key_length", n["index_head"]
        yield "attention.indexer.top_k", n["top_k"]


def _tensors(arch: str, n: Numbers, mtp: bool, legacy: bool) -> Rows:
    """Return names and shapes in GGUF's order, row length first."""
    width, vocab = n["width"], n["vocab"]
    yield "token_embd.weight", (width, vocab)
    yield "output_norm.weight", (width,)
    yield "output.weight", (width, vocab)
    for layer in range(n["layers"] + mtp):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", (width,)
        yield block + "ffn_norm.weight", (width,)
        parts = _mla(n, legacy) if "kv_rank" in n else _attention(arch, n)
        yield from ((block + part, shape) for part, shape in parts)
        dense = layer < n.get("dense", n["layers"])
        yield from (
            (block + part, shape)
            for part, shape in (_dense(width, n["ff"], "") if dense else _experts(n))
        )
        if layer >= n["layers"]:
            yield block + "nextn.eh_proj.weight", (2 * width, width)
            for part in ("enorm", "hnorm", "shared_head_norm"):
                yield f"{block}nextn.{part}.weight", (width,)


def _attention(arch: str, n: Numbers) -> Rows:
    width, heads = n["width"], {"q": n["heads"], "k": n["kv_heads"], "v": n["kv_heads"]}
    for part, count in heads.items():
        yield f"attn_{part}.weight", (width, count * _head(n))
        if arch == "qwen2":
            yield f"attn_{part}.bias", (count * _head(n),)
        if arch == "qwen3" and part != "v":
            yield f"attn_{part}_norm.weight", (_head(n),)
    yield "attn_output.weight", (n["heads"] * _head(n), width)


def _mla(n: Numbers, legacy: bool) -> Rows:
    width = n["width"]
    heads = n["heads"]
    rank = n["kv_rank"]
    key = n["nope"] + n["rope"]
    if n["q_rank"]:
        yield "attn_q_a.weight", (width, n["q_rank"])
        yield "attn_q_a_norm.weight", (n["q_rank"],)
        yield "attn_q_b.weight", (n["q_rank"], heads * key)
    else:
        yield "attn_q.weight", (width, heads * key)
    yield "attn_kv_a_mqa.weight", (width, rank + n["rope"])
    yield "attn_kv_a_norm.weight", (rank,)
    if legacy:
        yield "attn_kv_b.weight", (rank, heads * (n["nope"] + n["value"]))
    else:
        yield "attn_k_b.weight", (n["nope"], rank, heads)
        yield "attn_v_b.weight", (rank, n["value"], heads)
    yield "attn_output.weight", (heads * n["value"], width)
    if "top_k" in n:
        yield "indexer.attn_k.weight", (width, n["index_head"])
        yield "indexer.attn_q_b.weight", (n["q_rank"], n["index_heads"] * n["index_head"])
        yield "indexer.k_norm.bias", (n["index_head"],)
        yield "indexer.k_norm.weight", (n["index_head"],)
        yield "indexer.proj.weight", (width, n["index_heads"])


def _dense(width: int, ff: int, kind: str) -> Rows:
    yield f"ffn_gate{kind}.weight", (width, ff)
    yield f"ffn_up{kind}.weight", (width, ff)
    yield f"ffn_down{kind}.weight", (ff, width)


def _experts(n: Numbers) -> Rows:
    width = n["width"]
    ff = n["expert_ff"]
    experts = n["experts"]
    yield "ffn_gate_inp.weight", (width, experts)
    if n.get("norm"):
        yield "exp_probs_b.bias", (experts,)
    yield "ffn_gate_exps.weight", (width, ff, experts)
    yield "ffn_up_exps.weight", (width, ff, experts)
    yield "ffn_down_exps.weight", (ff, width, experts)
    yield from _dense(width, ff * n["shared"], "_shexp")


def _head(n: Numbers) -> int:
    return n["width"] // n["heads"]
