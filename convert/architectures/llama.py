"""llama: DeepSeek LLM 7B and 67B, Coder 1.3B to 33B, Math 7B, and the R1 distills of Llama 3.

Source: llama.cpp, conversion/llama.py. Llama 3's rope scaling becomes a tensor of factors,
``rope_freqs.weight``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dslocal.convert.checkpoint.config import Config

from .common import (
    ATTENTION_INTERLEAVED,
    DENSE,
    EMBEDDING,
    HEAD,
    NORMS,
    attention_dims,
    base_metadata,
    has_tied_embeddings,
    head_dim,
    is_ignored,
    rope_kind,
    rope_metadata,
)
from .mapping import Architecture, CheckpointTensors, MappedTensor, map_tensors


def map_checkpoint(source: CheckpointTensors, _mtp: bool) -> list[MappedTensor]:
    """Return the GGUF tensors. Raises CheckpointError."""
    c = source.config
    dims = attention_dims(c)
    head = () if has_tied_embeddings(c) else HEAD
    mapped = list(map_tensors(source, EMBEDDING + head, dims))
    table = NORMS + ATTENTION_INTERLEAVED + DENSE
    for layer in range(c.integer("num_hidden_layers")):
        mapped += map_tensors(source, table, dims, f"model.layers.{layer}.", f"blk.{layer}.")
    if rope_kind(c) == "llama3":  # once the shapes have proved head_dim
        factors = tuple(rope_factors(c))
        mapped.append(MappedTensor("rope_freqs.weight", (len(factors),), (), factors))
    return mapped


def rope_factors(c: Config) -> Iterator[float]:
    """Yield by how much each rope frequency is divided: float32 ``[head_dim / 2]``.

    Source: Llama 3.1's scaling, transformers' modeling_rope_utils
    (``_compute_llama3_parameters``).

    Raises:
        CheckpointError: The factors contradict each other.
    """
    rope, size = c.rope, head_dim(c)
    factor = rope.number("factor", 8.0)
    low = rope.number("low_freq_factor", 1.0)
    high = rope.number("high_freq_factor", 4.0)
    old_context = rope.integer("original_max_position_embeddings", 8192)
    if factor <= 0 or low <= 0 or high <= low:
        raise c.error(
            "rope_scaling",
            f"factor {factor:g}, low_freq_factor {low:g} and high_freq_factor {high:g} "
            "cannot be combined",
        )
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    for frequency in np.float32(1) / np.float32(c.rope_theta) ** exponents:
        wavelength = np.float32(2 * math.pi) / frequency
        if wavelength < old_context / high:
            yield 1.0
        elif wavelength > old_context / low:
            yield factor
        else:
            periods = np.float32(old_context) / wavelength
            smooth = (periods - np.float32(low)) / np.float32(high - low)
            yield float(1 / ((1 - smooth) / np.float32(factor) + smooth))


def metadata(c: Config) -> Iterable[tuple[str, Any]]:
    """Yield the GGUF keys in llama.cpp's order. Raises CheckpointError."""
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
    tensors=map_checkpoint,
    is_ignored=is_ignored,
)
