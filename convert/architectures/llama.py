"""llama: DeepSeek LLM 7B and 67B, Coder 1.3B to 33B, Math 7B, and the R1 distills of Llama 3.

Source: llama.cpp, conversion/llama.py. Llama 3's rope scaling becomes a tensor of factors,
``rope_freqs.weight``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.config import Config

from .common import (
    ATTENTION_INTERLEAVED,
    DENSE,
    EMBEDDING,
    HEAD,
    NORMS,
    attention_dims,
    base_metadata,
    head_dim,
    is_unused,
    rope_kind,
    rope_metadata,
)
from .mapping import Architecture, MappedTensor, map_tensors, reject_unmapped


def tensors(checkpoint: Checkpoint, _: bool) -> list[MappedTensor]:
    c = checkpoint.config
    d, tied = attention_dims(c), c.flag("tie_word_embeddings", False)
    mapped = list(map_tensors(checkpoint, EMBEDDING + (() if tied else HEAD), d))
    for layer in range(c.integer("num_hidden_layers")):
        mapped += map_tensors(
            checkpoint,
            NORMS + ATTENTION_INTERLEAVED + DENSE,
            d,
            f"model.layers.{layer}.",
            f"blk.{layer}.",
        )
    if rope_kind(c) == "llama3":  # once the shapes have proved head_dim
        factors = tuple(rope_factors(c))
        mapped.append(MappedTensor("rope_freqs.weight", (len(factors),), (), factors))
    reject_unmapped(
        checkpoint, mapped, lambda name: is_unused(name) or (tied and name == "lm_head.weight")
    )
    return mapped


def rope_factors(c: Config) -> Iterator[float]:
    """By how much each frequency is divided, float32 ``[head_dim / 2]`` (Llama 3.1's scaling,
    transformers' modeling_rope_utils).
    """
    rope, size = c.rope, head_dim(c)
    factor, low, high = (
        rope.number("factor", 8.0),
        rope.number("low_freq_factor", 1.0),
        rope.number("high_freq_factor", 4.0),
    )
    old = rope.integer("original_max_position_embeddings", 8192)
    if factor <= 0 or low <= 0 or high <= low:
        raise c.fail(
            "rope_scaling",
            f"factor {factor:g}, low_freq_factor {low:g} and high_freq_factor {high:g} do not go together",
        )
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    for frequency in np.float32(1) / np.float32(c.rope_theta) ** exponents:
        wavelength = np.float32(2 * math.pi) / frequency
        if wavelength < old / high:
            yield 1.0
        elif wavelength > old / low:
            yield factor
        else:
            smooth = (np.float32(old) / wavelength - np.float32(low)) / np.float32(high - low)
            yield float(1 / ((1 - smooth) / np.float32(factor) + smooth))


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    yield from base_metadata(c)
    if not c.has("head_dim"):
        yield ".attention.key_length", head_dim(c)
        yield ".attention.value_length", head_dim(c)
    yield from rope_metadata(c, ("linear", "llama3"))
    yield ".vocab_size", c.integer("vocab_size")
    yield ".rope.dimension_count", head_dim(c)


LLAMA = Architecture(
    arch="llama",
    accepts=("LlamaForCausalLM",),
    models="DeepSeek LLM 7B/67B, Coder 1.3B/6.7B/33B, Math 7B, R1-Distill-Llama 8B/70B",
    metadata=metadata,
    tensors=tensors,
)
