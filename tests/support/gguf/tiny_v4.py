"""DeepSeek-V4 without a vocabulary: with five layers and random weights, for tests of the engine,
or with the published dimensions and a hole for weights, for tests of the plan.

The small one has all kinds of layers: with the window alone, with groups of 4 tokens and their
indexer, and with groups of 128. Its experts are chosen by token id in the first layer, and by the
router in the others. Its sizes are those that llama.cpp's own tests use, or smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

N_VOCAB = 128
N_CTX_TRAIN = 8192


@dataclass(frozen=True)
class V4Sizes:
    """The dimensions of a V4."""

    vocabulary: int = 128
    used: int = 2
    hash_layers: int = 1
    window: int = 128
    top_k: int = 8
    width: int = 256
    heads: int = 4
    head: int = 64
    rope: int = 32
    q_rank: int = 64
    groups: int = 2
    output_rank: int = 32
    experts: int = 8
    expert_width: int = 64
    streams: int = 4
    index_heads: int = 8
    index_head: int = 128
    ratios: tuple[int, ...] = (0, 0, 4, 128, 4, 0)  # the last one is the MTP layer's

    @property
    def layers(self) -> int:
        return len(self.ratios) - 1


V4_FLASH = V4Sizes(
    vocabulary=129280,
    used=6,
    hash_layers=3,
    top_k=512,
    width=4096,
    heads=64,
    head=512,
    rope=64,
    q_rank=1024,
    groups=8,
    output_rank=1024,
    experts=256,
    expert_width=2048,
    index_heads=64,
    ratios=(0, 0, *(4, 128) * 20, 4, 0),
)
V4_PRO = V4Sizes(
    vocabulary=129280,
    used=6,
    hash_layers=3,
    top_k=1024,
    width=7168,
    heads=128,
    head=512,
    rope=64,
    q_rank=1536,
    groups=16,
    output_rank=1024,
    experts=384,
    expert_width=3072,
    index_heads=64,
    ratios=(128, 128, *(4, 128) * 29, 4, 0),
)


class _Writer:
    """Adds tensors to a GGUF file: of random values, or as a hole in it."""

    def __init__(self, path: Path, seed: int | None) -> None:
        self.gguf = gguf.GGUFWriter(path, "deepseek4")
        self._random = None if seed is None else np.random.default_rng(seed)
        self.hole = 0  # bytes

    def random(self, name: str, *shape: int, scale: float | None = None) -> None:
        if self._random is None:
            self._add_hole(name, shape)
            return
        values = self._random.standard_normal(shape, np.float32)
        self.gguf.add_tensor(name, values * np.float32(scale or shape[-1] ** -0.5))

    def ones(self, name: str, size: int) -> None:
        if self._random is None:
            self._add_hole(name, (size,))
        else:
            self.gguf.add_tensor(name, np.ones(size, np.float32))

    def expert_ids(self, name: str, sizes: V4Sizes) -> None:
        if self._random is None:
            self._add_hole(name, (sizes.vocabulary, sizes.used), gguf.GGMLQuantizationType.I32)
            return
        rows = [self._random.permutation(sizes.experts)[:2] for _ in range(sizes.vocabulary)]
        self.gguf.add_tensor(name, np.stack(rows).astype(np.int32))

    def _add_hole(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    ) -> None:
        is_f32 = len(shape) == 1 or kind is gguf.GGMLQuantizationType.I32
        stored = kind if is_f32 else _stored_type(name)
        in_block, block_bytes = gguf.GGML_QUANT_SIZES[stored]
        nbytes = math.prod(shape) // in_block * block_bytes
        self.hole += -(-nbytes // 32) * 32
        self.gguf.add_tensor_info(name, shape, np.dtype(np.float32), nbytes, stored)


def _stored_type(name: str) -> gguf.GGMLQuantizationType:
    """Return the type that ds4's two-bit recipe gives a matrix."""
    if "down_exps" in name:
        return gguf.GGMLQuantizationType.Q2_K
    if "_exps" in name:
        return gguf.GGMLQuantizationType.IQ2_XXS
    if "ape" in name or "gate_inp" in name:
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.Q8_0


def write_tiny_v4(path: Path, seed: int = 0) -> Path:
    """Write the model to ``path``, 14 MB, and return that."""
    writer = _add_all(path, V4Sizes(), seed)
    writer.gguf.write_header_to_file()
    writer.gguf.write_kv_data_to_file()
    writer.gguf.write_tensors_to_file()
    writer.gguf.close()
    return path


def write_v4_header(path: Path, sizes: V4Sizes) -> Path:
    """Write a file of these sizes, whose weights are a hole, to ``path``, and return that."""
    writer = _add_all(path, sizes, None)
    writer.gguf.write_header_to_file()
    writer.gguf.write_kv_data_to_file()
    writer.gguf.write_ti_data_to_file()
    writer.gguf.close()
    start = -(-path.stat().st_size // 32) * 32
    with path.open("r+b") as file:
        file.truncate(start + writer.hole)
    return path


def _add_all(path: Path, sizes: V4Sizes, seed: int | None) -> _Writer:
    writer = _Writer(path, seed)
    _add_metadata(writer.gguf, sizes)
    _add_ends(writer, sizes)
    for layer in range(sizes.layers):
        _add_attention(writer, sizes, layer)
        _add_experts(writer, sizes, layer)
    return writer


def _add_metadata(writer: gguf.GGUFWriter, sizes: V4Sizes) -> None:
    numbers = {
        "block_count": sizes.layers,
        "context_length": N_CTX_TRAIN,
        "embedding_length": sizes.width,
        "embedding_length_out": sizes.width * sizes.streams,
        "attention.head_count": sizes.heads,
        "attention.head_count_kv": 1,
        "attention.key_length": sizes.head,
        "attention.value_length": sizes.head,
        "attention.q_lora_rank": sizes.q_rank,
        "attention.sliding_window": sizes.window,
        "attention.output_group_count": sizes.groups,
        "attention.output_lora_rank": sizes.output_rank,
        "attention.indexer.head_count": sizes.index_heads,
        "attention.indexer.key_length": sizes.index_head,
        "attention.indexer.top_k": sizes.top_k,
        "rope.dimension_count": sizes.rope,
        "rope.scaling.original_context_length": 512,
        "expert_count": sizes.experts,
        "expert_used_count": sizes.used,
        "expert_shared_count": 1,
        "expert_feed_forward_length": sizes.expert_width,
        "expert_gating_func": 4,
        "hyper_connection.count": sizes.streams,
        "hyper_connection.sinkhorn_iterations": 20,
        "hash_layer_count": sizes.hash_layers,
        "vocab_size": sizes.vocabulary,
    }
    fractions = {
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.compress_rope_freq_base": 160000.0,
        "rope.freq_base": 10000.0,
        "rope.scaling.factor": 16.0,
        "expert_weights_scale": 1.5,
        "hyper_connection.epsilon": 1e-6,
    }
    for key, number in numbers.items():
        writer.add_uint32(f"deepseek4.{key}", number)
    for key, fraction in fractions.items():
        writer.add_float32(f"deepseek4.{key}", fraction)
    writer.add_array("deepseek4.attention.compress_ratios", sizes.ratios)
    for part in ("exp", "shexp"):
        writer.add_array(f"deepseek4.swiglu_clamp_{part}", [10.0] * sizes.layers)
    writer.add_bool("deepseek4.expert_weights_norm", True)
    writer.add_string("deepseek4.rope.scaling.type", "yarn")
    writer.add_string("tokenizer.ggml.model", "no_vocab")


def _add_ends(writer: _Writer, sizes: V4Sizes) -> None:
    """Add what comes before the layers and after them."""
    writer.random("token_embd.weight", sizes.vocabulary, sizes.width, scale=1.0)
    writer.random("output.weight", sizes.vocabulary, sizes.width)
    writer.ones("output_norm.weight", sizes.width)
    writer.random("output_hc_fn.weight", sizes.streams, sizes.streams * sizes.width)
    writer.random("output_hc_base.weight", sizes.streams)
    writer.random("output_hc_scale.weight", 1)


def _add_attention(writer: _Writer, sizes: V4Sizes, layer: int) -> None:
    """Add a layer's norms, hyper-connections and attention."""
    block = f"blk.{layer}."
    mixes = (2 + sizes.streams) * sizes.streams
    for part in ("attn", "ffn"):
        writer.ones(f"{block}{part}_norm.weight", sizes.width)
        writer.random(f"{block}hc_{part}_fn.weight", mixes, sizes.streams * sizes.width)
        writer.random(f"{block}hc_{part}_base.weight", mixes, scale=0.1)
        writer.random(f"{block}hc_{part}_scale.weight", 3, scale=0.5)
    writer.random(f"{block}attn_sinks.weight", sizes.heads)
    writer.random(f"{block}attn_q_a.weight", sizes.q_rank, sizes.width)
    writer.ones(f"{block}attn_q_a_norm.weight", sizes.q_rank)
    writer.random(f"{block}attn_q_b.weight", sizes.heads * sizes.head, sizes.q_rank)
    writer.random(f"{block}attn_kv.weight", sizes.head, sizes.width)
    writer.ones(f"{block}attn_kv_a_norm.weight", sizes.head)
    grouped = sizes.heads * sizes.head // sizes.groups
    ranks = sizes.groups * sizes.output_rank
    writer.random(f"{block}attn_output_a.weight", ranks, grouped)
    writer.random(f"{block}attn_output_b.weight", sizes.width, ranks)
    ratio = sizes.ratios[layer]
    if ratio:
        _add_compressor(writer, sizes, f"{block}attn", ratio, sizes.head)
    if ratio == 4:
        rows = sizes.index_heads * sizes.index_head
        writer.random(f"{block}indexer.attn_q_b.weight", rows, sizes.q_rank)
        writer.random(f"{block}indexer.proj.weight", sizes.index_heads, sizes.width)
        _add_compressor(writer, sizes, f"{block}indexer", ratio, sizes.index_head)


def _add_compressor(writer: _Writer, sizes: V4Sizes, prefix: str, ratio: int, head: int) -> None:
    """Add what makes one key of ``ratio`` tokens. Groups of 4 overlap: theirs is twice as wide."""
    width = 2 * head if ratio == 4 else head
    writer.random(f"{prefix}_compressor_kv.weight", width, sizes.width)
    writer.random(f"{prefix}_compressor_gate.weight", width, sizes.width)
    writer.random(f"{prefix}_compressor_ape.weight", ratio, width, scale=0.1)
    writer.ones(f"{prefix}_compressor_norm.weight", head)


def _add_experts(writer: _Writer, sizes: V4Sizes, layer: int) -> None:
    """Add a layer's router, routed experts and shared expert."""
    block = f"blk.{layer}."
    writer.random(f"{block}ffn_gate_inp.weight", sizes.experts, sizes.width)
    if layer < sizes.hash_layers:
        writer.expert_ids(f"{block}ffn_gate_tid2eid.weight", sizes)
    else:
        writer.random(f"{block}exp_probs_b.bias", sizes.experts, scale=0.1)
    for part in ("gate", "up"):
        writer.random(
            f"{block}ffn_{part}_exps.weight", sizes.experts, sizes.expert_width, sizes.width
        )
        writer.random(f"{block}ffn_{part}_shexp.weight", sizes.expert_width, sizes.width)
    writer.random(f"{block}ffn_down_exps.weight", sizes.experts, sizes.width, sizes.expert_width)
    writer.random(f"{block}ffn_down_shexp.weight", sizes.width, sizes.expert_width)
