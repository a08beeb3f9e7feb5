"""The GGUF's keys beside architecture and tokenizer: what the file is, and where it comes from.

Source of the ``general.*`` and ``quantize.*`` keys: llama.cpp, gguf-py's ``Metadata`` and
src/llama-quant.cpp (``llama_model_quantize_impl``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gguf.utility import size_label

from dslocal import __version__
from dslocal.convert.architectures.mapping import MappedTensor
from dslocal.convert.checkpoint.checkpoint import Checkpoint
from dslocal.convert.checkpoint.config import Config
from dslocal.convert.checkpoint.json_file import read_json
from dslocal.convert.checkpoint.source import Source
from dslocal.convert.recipes.imatrix import Imatrix
from dslocal.convert.recipes.recipe import Recipe

GENERATION = "generation_config.json"
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
MAX_IMATRIX_NAME = 127  # characters; llama-quantize's buffer
_SAMPLING_KEYS = {"temperature": "temp", "top_p": "top_p"}


def sampling_metadata(source: Source) -> Iterator[tuple[str, Any]]:
    """Yield the vendor's sampling settings, where generation_config.json gives them.

    Raises:
        CheckpointError: The file makes no sense.
    """
    if not source.exists(GENERATION):
        return
    settings = Config(read_json(source, GENERATION), GENERATION)
    for key, name in _SAMPLING_KEYS.items():
        if settings.has(key):
            yield f"general.sampling.{name}", settings.number(key)


def general_metadata(
    name: str, sampling: Iterable[tuple[str, Any]], recipe: Recipe, tensors: Iterable[MappedTensor]
) -> Iterator[tuple[str, Any]]:
    """Yield the ``general.*`` keys in file order.

    Args:
        name: What the model is called.
        sampling: What :func:`sampling_metadata` gives.
        recipe: The output's recipe.
        tensors: The output's tensors.
    """
    yield "general.type", "model"
    yield from sampling
    yield "general.name", name
    yield "general.size_label", _size_label(tensors)
    yield "general.file_type", recipe.file_type
    yield "general.quantization_version", QUANTIZATION_VERSION


def quantization_metadata(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield the keys that llama-quantize replaces in a GGUF, in its order."""
    yield "general.quantization_version", QUANTIZATION_VERSION
    yield "general.file_type", recipe.file_type


def tool_metadata(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield what made the file: this version of dslocal, by which recipe."""
    yield "dslocal.version", __version__
    yield "dslocal.recipe", recipe.name


def imatrix_metadata(imatrix: Imatrix | None) -> Iterator[tuple[str, Any]]:
    """Yield what llama-quantize says of the importance matrix that it used."""
    if imatrix is None:
        return
    yield "quantize.imatrix.file", imatrix.file[:MAX_IMATRIX_NAME]
    if imatrix.datasets:
        yield "quantize.imatrix.dataset", imatrix.datasets[0][:MAX_IMATRIX_NAME]
    yield "quantize.imatrix.entries_count", len(imatrix.entries)
    if imatrix.chunks:
        yield "quantize.imatrix.chunks_count", imatrix.chunks


def provenance_metadata(checkpoint: Checkpoint, recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield where the file comes from: tool, recipe, and the source's revision and hashes.

    The source's are left out where they are not known.
    """
    source = checkpoint.source
    yield from tool_metadata(recipe)
    revision = source.revision
    if revision:
        yield "dslocal.source.revision", revision
    hashes = [source.sha256(shard) for shard in checkpoint.shards]
    if all(hashes):
        yield "dslocal.source.files", list(checkpoint.shards)
        yield "dslocal.source.sha256", hashes


def arithmetic_metadata(processor: str) -> Iterator[tuple[str, Any]]:
    """Yield whose arithmetic the quantized weights have.

    Files made with the same one from the same source are equal, whatever machine made them.

    Args:
        processor: Its name, as :func:`dslocal.convert.kernels.arithmetic_of` gives it.
    """
    yield "dslocal.arithmetic", processor


def _size_label(tensors: Iterable[MappedTensor]) -> str:
    """Return the model's size such as ``16x7.8M``.

    That is: experts times the weights of one of them with all that they share.
    """
    shared = one_expert = total = experts = 0
    for tensor in tensors:
        total += tensor.elements
        if tensor.is_routed_expert:
            experts = tensor.slices
            one_expert += tensor.elements // experts
        else:
            shared += tensor.elements
    label: str = size_label(total, shared, one_expert, experts)
    return label
