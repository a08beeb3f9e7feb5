"""A DeepSeek-V4 of five layers and random weights, without a vocabulary, for tests of the engine.

It has all kinds of layers: with the window alone, with groups of 4 tokens and their indexer, and
with groups of 128. Its experts are chosen by token id in the first layer, and by the router in the
others. Its sizes are those that llama.cpp's own tests use, or smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

N_VOCAB = 128
WINDOW = 128
N_CTX_TRAIN = 8192


@dataclass(frozen=True)
class _Sizes:
    width: int = 256
    heads: int = 4
    head: int = 64
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


class _Writer:
    """Adds tensors of random values to a GGUF file."""

    def __init__(self, path: Path, seed: int) -> None:
        self.gguf = gguf.GGUFWriter(path, "deepseek4")
        self._random = np.random.default_rng(seed)

    def random(self, name: str, *shape: int, scale: float | None = None) -> None:
        values = self._random.standard_normal(shape, np.float32)
        self.gguf.add_tensor(name, values * np.float32(scale or shape[-1] ** -0.5))

    def ones(self, name: str, size: int) -> None:
        self.gguf.add_tensor(name, np.ones(size, np.float32))

    def expert_ids(self, name: str, sizes: _Sizes) -> None:
        rows = [self._random.permutation(sizes.experts)[:2] for _ in range(N_VOCAB)]
        self.gguf.add_tensor(name, np.stack(rows).astype(np.int32))


def write_tiny_v4(path: Path, seed: int = 0) -> Path:
    """Write the model to ``path``, 14 MB, and return that."""
    sizes, writer = _Sizes(), _Writer(path, seed)
    _add_metadata(writer.gguf, sizes)
    _add_ends(writer, sizes)
    for layer in range(sizes.layers):
        _add_attention(writer, sizes, layer)
        _add_experts(writer, sizes, layer)
    writer.gguf.write_header_to_file()
    writer.gguf.write_kv_data_to_file()
    writer.gguf.write_tensors_to_file()
    writer.gguf.close()
    return path


def _add_metadata(writer: gguf.GGUFWriter, sizes: _Sizes) -> None:
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
        "attention.sliding_window": WINDOW,
        "attention.output_group_count": sizes.groups,
        "attention.output_lora_rank": sizes.output_rank,
        "attention.indexer.head_count": sizes.index_heads,
        "attention.indexer.key_length": sizes.index_head,
        "attention.indexer.top_k": 8,
        "rope.dimension_count": sizes.head // 2,
        "rope.scaling.original_context_length": 512,
        "expert_count": sizes.experts,
        "expert_used_count": 2,
        "expert_shared_count": 1,
        "expert_feed_forward_length": sizes.expert_width,
        "expert_gating_func": 4,
        "hyper_connection.count": sizes.streams,
        "hyper_connection.sinkhorn_iterations": 20,
        "hash_layer_count": 1,
        "vocab_size": N_VOCAB,
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


def _add_ends(writer: _Writer, sizes: _Sizes) -> None:
    """Add what comes before the layers and after them."""
    writer.random("token_embd.weight", N_VOCAB, sizes.width, scale=1.0)
    writer.random("output.weight", N_VOCAB, sizes.width)
    writer.ones("output_norm.weight", sizes.width)
    writer.random("output_hc_fn.weight", sizes.streams, sizes.streams * sizes.width)
    writer.random("output_hc_base.weight", sizes.streams)
    writer.random("output_hc_scale.weight", 1)


def _add_attention(writer: _Writer, sizes: _Sizes, layer: int) -> None:
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


def _add_compressor(writer: _Writer, sizes: _Sizes, prefix: str, ratio: int, head: int) -> None:
    """Add what makes one key of ``ratio`` tokens. Groups of 4 overlap: theirs is twice as wide."""
    width = 2 * head if ratio == 4 else head
    writer.random(f"{prefix}_compressor_kv.weight", width, sizes.width)
    writer.random(f"{prefix}_compressor_gate.weight", width, sizes.width)
    writer.random(f"{prefix}_compressor_ape.weight", ratio, width, scale=0.1)
    writer.ones(f"{prefix}_compressor_norm.weight", head)


def _add_experts(writer: _Writer, sizes: _Sizes, layer: int) -> None:
    """Add a layer's router, routed experts and shared expert."""
    block = f"blk.{layer}."
    writer.random(f"{block}ffn_gate_inp.weight", sizes.experts, sizes.width)
    if layer == 0:
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
