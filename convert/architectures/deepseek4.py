"""deepseek4: V4-Flash and V4-Pro, their later releases, Vision-Exp's text model, and their Base.

Source: llama.cpp, conversion/deepseek.py (``DeepseekV4Model``). Converted here and not there are
Base checkpoints, whose experts are FP8 with float32 scales, and copies of a model in bf16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dslocal.convert.checkpoint.config import Config

from .deepseek4_blocks import (
    EMBEDDING,
    HEAD,
    ROUTER_BIAS,
    VISION_BIAS,
    block,
    check_config,
    compress_ratios,
    converter_order,
    expand,
    hash_layers,
    model_metadata,
    named_dims,
)
from .deepseek4_drafters import drafter_of
from .mapping import Architecture, CheckpointTensors, MappedTensor

NOT_TEXT = ("vision.", "aligner.", "image_")


def map_checkpoint(source: CheckpointTensors, _mtp: bool) -> list[MappedTensor]:
    """Return the GGUF tensors of the model without its drafter.

    Raises:
        CheckpointError: The configuration contradicts itself or the tensors.
    """
    c = source.config
    check_config(c)
    dims, hashed = named_dims(c), hash_layers(c)
    mapped = list(expand(source, EMBEDDING + HEAD, dims))
    layers = c.integer("num_hidden_layers")
    for layer, ratio in enumerate(compress_ratios(c)[:layers]):
        hf = f"layers.{layer}."
        has_vision = c.has("vision_n_layers") or hf + VISION_BIAS.hf in source.names
        table = block(ratio, is_hashed=layer < hashed, has_vision=has_vision)
        mapped += expand(source, table, dims, hf, f"blk.{layer}.")
    return mapped


def is_ignored(c: Config, _mtp: bool, name: str) -> bool:
    """Return whether a tensor is left out on purpose: drafters, vision, unused router biases."""
    if name.startswith(("mtp.", *NOT_TEXT)):
        return True
    return name in {f"layers.{layer}.{ROUTER_BIAS.hf}" for layer in range(hash_layers(c))}


def metadata(c: Config) -> Iterator[tuple[str, Any]]:
    """Yield the GGUF keys in llama.cpp's order. Raises CheckpointError."""
    layers = c.integer("num_hidden_layers")
    yield from model_metadata(c, layers, compress_ratios(c), hash_layers(c))
    yield ".embedding_length_out", c.integer("hidden_size") * c.integer("hc_mult")


def warnings(c: Config) -> Iterable[str]:
    """Yield what is left out."""
    if c.has("vision_n_layers"):
        yield "the vision encoder is left out: llama.cpp needs it in a separate file"


DEEPSEEK4 = Architecture(
    arch="deepseek4",
    accepts=("DeepseekV4ForCausalLM",),
    models="V4-Flash, V4-Flash-0731, V4-Flash-Vision-Exp, V4-Pro, V4-Pro-0813, their Base",
    metadata=metadata,
    tensors=map_checkpoint,
    is_ignored=is_ignored,
    warnings=warnings,
    drafter=drafter_of,
    converter_order=converter_order,
)
