"""The GGUF's ``general.*`` keys: what the file is, how large, and how its makers sample from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gguf.utility import size_label

from dslocal import __version__
from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.checkpoint.checkpoint import Checkpoint, read_json
from dslocal.convert.checkpoint.config import Config
from dslocal.convert.recipes.imatrix import Imatrix
from dslocal.convert.recipes.named import Recipe

GENERATION = "generation_config.json"
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION


def general_metadata(
    checkpoint: Checkpoint, recipe: Recipe, tensors: Iterable[MappedTensor]
) -> Iterator[tuple[str, Any]]:
    """The keys in file order. Raises CheckpointError when generation_config.json makes no sense."""
    yield "general.type", "model"
    if checkpoint.source.exists(GENERATION):
        settings = Config(read_json(checkpoint.source, GENERATION), GENERATION)
        for key, name in (("temperature", "temp"), ("top_p", "top_p")):
            if settings.has(key):
                yield f"general.sampling.{name}", settings.number(key)
    yield "general.name", checkpoint.source.name
    yield "general.size_label", _size_label(tensors)
    yield "general.file_type", recipe.file_type
    yield "general.quantization_version", QUANTIZATION_VERSION


def imatrix_metadata(imatrix: Imatrix | None) -> Iterator[tuple[str, Any]]:
    """What llama-quantize says of the importance matrix that it used."""
    if imatrix is None:
        return
    yield "quantize.imatrix.file", imatrix.file[:127]
    if imatrix.datasets:
        yield "quantize.imatrix.dataset", imatrix.datasets[0][:127]
    yield "quantize.imatrix.entries_count", len(imatrix.entries)
    if imatrix.chunks:
        yield "quantize.imatrix.chunks_count", imatrix.chunks


def provenance(checkpoint: Checkpoint, recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Where the file comes from: tool, recipe, and the source's revision and hashes where they are
    known.
    """
    source = checkpoint.source
    yield "dslocal.version", __version__
    yield "dslocal.recipe", recipe.name
    if revision := source.revision:
        yield "dslocal.source.revision", revision
    hashes = [source.sha256(shard) for shard in checkpoint.shards]
    if all(hashes):
        yield "dslocal.source.files", list(checkpoint.shards)
        yield "dslocal.source.sha256", hashes


def _size_label(tensors: Iterable[MappedTensor]) -> str:
    """As ``16x7.8M``: experts times what one of them and everything shared have."""
    shared = one_expert = total = experts = 0
    for tensor in tensors:
        total += tensor.elements
        if tensor.name.endswith("_exps.weight"):
            experts = tensor.shape[0]
            one_expert += tensor.elements // experts
        else:
            shared += tensor.elements
    label: str = size_label(total, shared, one_expert, experts)
    return label
