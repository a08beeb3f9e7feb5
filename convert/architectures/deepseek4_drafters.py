"""V4's draft models, which a checkpoint carries as ``mtp.N.*`` and which get files of their own.

The preview has one multi-token-prediction (MTP) layer. V4-Flash-DSpark and the releases after it
have DSpark instead: three stages that draft a block of tokens at once, a Markov head and a
confidence head; llama.cpp calls its architecture dflash. Their last mixers have the same GGUF names
as the model's, so neither can be in the model's file. Source: llama.cpp, conversion/deepseek.py
(``DeepseekV4Model.filter_tensors``, ``DeepseekV4DSparkModel``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dslocal.convert.checkpoint.config import Config, short_repr
from dslocal.convert.checkpoint.safetensors import FP8
from dslocal.gguf.tensor_types import GgmlType

from .deepseek4_blocks import (
    BF16,
    EMBEDDING,
    HEAD,
    block,
    check_config,
    compress_ratios,
    converter_order,
    expand,
    hash_layers,
    model_metadata,
    named_dims,
)
from .mapping import (
    Architecture,
    CheckpointTensors,
    MappedTensor,
    SourceRows,
    TensorMapping,
)

PREFIX = "mtp."
NEXTN = (
    TensorMapping("enorm.weight", "nextn.enorm.weight", ("embd",), published=BF16),
    TensorMapping("hnorm.weight", "nextn.hnorm.weight", ("embd",), published=BF16),
    TensorMapping("norm.weight", "nextn.shared_head_norm.weight", ("embd",), published=BF16),
)
TRUNK_NORM, *MIXERS = HEAD
# what reads the target's hidden states, in the first stage
DSPARK_INPUT = (
    TensorMapping("main_proj.weight", "fc.weight", ("embd", "targets*embd"), published=FP8),
    TensorMapping("main_norm.weight", "enc.output_norm.weight", ("embd",), published=BF16),
)
# what gives tokens and their confidence, in the last stage
DSPARK_OUTPUT = (
    *HEAD,
    TensorMapping(
        "markov_head.markov_w1.weight", "markov_w1.weight", ("vocab", "markov"), published=BF16
    ),
    TensorMapping(
        "markov_head.markov_w2.weight", "markov_w2.weight", ("vocab", "markov"), published=BF16
    ),
    TensorMapping(
        "confidence_head.proj.weight", "conf_proj.weight", ("1", "embd+markov"), published=BF16
    ),
)


def drafter_of(c: Config) -> Architecture | None:
    """Return the architecture of the draft model that a V4 checkpoint carries, or None.

    config.json says of DSpark's checkpoints, too, that they have one MTP layer.
    """
    if c.has("dspark_block_size"):
        return DSPARK
    return MTP if c.integer("num_nextn_predict_layers", 0, minimum=0) else None


def is_ignored(_config: Config, _mtp: bool, name: str) -> bool:
    """Return whether a tensor is not the drafter's."""
    return not name.startswith(PREFIX) or name.endswith("ffn.gate.bias_vl")


def _map_mtp(source: CheckpointTensors, _mtp: bool) -> list[MappedTensor]:
    """Return the GGUF tensors of the MTP layer's file. Raises CheckpointError."""
    c = source.config
    check_config(c)
    if c.integer("num_nextn_predict_layers") > 1:
        raise c.error("num_nextn_predict_layers", "is more than 1; llama.cpp runs one MTP layer")
    dims = named_dims(c)
    hf, gguf = f"{PREFIX}0.", f"blk.{c.integer('num_hidden_layers')}."
    mapped = list(expand(source, (*EMBEDDING, TRUNK_NORM), dims))
    mapped += expand(source, MIXERS, dims, hf)
    mapped += expand(source, (*block(0, is_hashed=False, has_vision=False), *NEXTN), dims, hf, gguf)
    embd = dims["embd"]
    for name in ("e_proj", "h_proj"):
        source.require(f"{hf}{name}.weight", (embd, embd), FP8)
    # the two side by side: a row of one, then a row of the other
    rows = tuple(
        SourceRows(f"{hf}{name}.weight", row, row + 1)
        for row in range(embd)
        for name in ("e_proj", "h_proj")
    )
    eh_proj = f"{gguf}nextn.eh_proj.weight"
    mapped.append(MappedTensor(eh_proj, (embd, 2 * embd), rows, native=GgmlType.Q8_0))
    return mapped


def _mtp_metadata(c: Config) -> Iterator[tuple[str, Any]]:
    """Yield the keys of the MTP layer's file. Raises CheckpointError."""
    layers = c.integer("num_hidden_layers") + 1
    yield from model_metadata(c, layers, compress_ratios(c), hash_layers(c))
    yield ".embedding_length_out", c.integer("hidden_size") * c.integer("hc_mult")
    yield ".nextn_predict_layers", 1


def _stages(c: Config) -> int:
    """Return how many stages DSpark has: as many as there are ratios after the layers'."""
    layers = c.integer("num_hidden_layers")
    stages = len(compress_ratios(c)) - layers
    if not stages:
        raise c.error("compress_ratios", f"has {layers} entries; DSpark's stages have none")
    return stages


def _target_layers(c: Config) -> list[int]:
    """Return the layers whose hidden states DSpark reads. Raises CheckpointError."""
    ids, layers = c.values.get("dspark_target_layer_ids"), c.integer("num_hidden_layers")
    if not isinstance(ids, list) or not ids:
        raise c.error("dspark_target_layer_ids", f"is {short_repr(ids)}; layers are needed")
    for target in ids:
        if type(target) is not int or not 0 <= target < layers:
            raise c.error(
                "dspark_target_layer_ids", f"has {short_repr(target)}, of {layers} layers"
            )
    return ids


def _map_dspark(source: CheckpointTensors, _mtp: bool) -> list[MappedTensor]:
    """Return the GGUF tensors of DSpark's file. Raises CheckpointError."""
    c = source.config
    check_config(c)
    markov = c.integer("dspark_markov_rank")
    dims = named_dims(c)
    dims |= {
        "targets*embd": len(_target_layers(c)) * dims["embd"],
        "markov": markov,
        "embd+markov": dims["embd"] + markov,
    }
    stages = _stages(c)
    mapped = list(expand(source, DSPARK_INPUT, dims, f"{PREFIX}0."))
    mapped += expand(source, DSPARK_OUTPUT, dims, f"{PREFIX}{stages - 1}.")
    for stage in range(stages):
        table = block(0, is_hashed=False, has_vision=False)
        mapped += expand(source, table, dims, f"{PREFIX}{stage}.", f"blk.{stage}.")
    return mapped


def _dspark_metadata(c: Config) -> Iterator[tuple[str, Any]]:
    """Yield the keys of DSpark's file. Raises CheckpointError."""
    stages = _stages(c)
    yield from model_metadata(c, stages, [0] * stages, 0)
    yield ".block_size", c.integer("dspark_block_size")
    # llama.cpp counts the embeddings as layer 0
    yield ".target_layers", [target + 1 for target in _target_layers(c)]
    noise, vocab = c.integer("dspark_noise_token_id", minimum=0), c.integer("vocab_size")
    if noise >= vocab:
        raise c.error("dspark_noise_token_id", f"is {noise}; config.json's vocab_size is {vocab}")
    yield "tokenizer.ggml.mask_token_id", noise


MTP = Architecture(
    arch="deepseek4",
    accepts=(),
    models="V4's MTP layer",
    metadata=_mtp_metadata,
    tensors=_map_mtp,
    is_ignored=is_ignored,
    mtp_layers=lambda _config: 1,
    converter_order=converter_order,
)
DSPARK = Architecture(
    arch="dflash",
    accepts=(),
    models="DSpark",
    metadata=_dspark_metadata,
    tensors=_map_dspark,
    is_ignored=is_ignored,
    layers=_stages,
    converter_order=converter_order,
)
