"""An MTP layer in a file of its own, beside a GGUF of the same model that lacks it: whether the two
belong together, and as one header.

Knows headers alone. What is planned for the joined header holds for the two files: the layer is
loaded as a model of its own, with its own copies of the embeddings and the output where the file
has them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan.memory.shape import can_draft

SUFFIX = "-mtp.gguf"  # of a sidecar that is found by itself
SAME = (  # what the layer and the model must agree on
    "embedding_length",
    "attention.head_count",
    "attention.kv_lora_rank",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
)
OWN = (
    "token_embd.weight",
    "output.weight",
    "output_norm.weight",
)  # without them it cannot be a model of its own


def find_sidecar(path: Path, header: GgufHeader) -> Path | None:
    """The sidecar of the model at ``path``, by its name, when the model has no such layer and the
    file can be used.
    """
    found = path.with_name(path.stem + SUFFIX)
    if can_draft(header) or not found.is_file():
        return None
    try:
        join_header(header, read_header(found), found.name)
    except GgufError:
        return None
    return found


def join_header(header: GgufHeader, layer: GgufHeader, name: str) -> GgufHeader:
    """``header`` with the MTP layer of the file called ``name``, as if it were in the same file.
    Raises GgufError where they do not fit.
    """
    hint = "the same model's: dslocal convert CHECKPOINT --mtp-only"
    if can_draft(header):
        raise GgufError(
            f"{name}: the model has an MTP layer of its own",
            hint="without the file it drafts as well",
        )
    arch = layer.architecture
    layers = header.of_arch("block_count") - header.of_arch("nextn_predict_layers")
    if (
        arch != header.architecture
        or arch != "deepseek2"
        or layer.of_arch("nextn_predict_layers") != 1
    ):
        raise GgufError(
            f"{name}: no MTP layer for a model of architecture {header.architecture!r:.40}",
            hint=hint,
        )
    if layer.of_arch("block_count") != layers + 1:
        raise GgufError(
            f"{name}: the layer after {layer.of_arch('block_count') - 1} layers, and the model has {layers}",
            hint=hint,
        )
    for key in SAME:
        if layer.of_arch(key) != header.of_arch(key):
            raise GgufError(
                f"{name}: {key} is {layer.of_arch(key):,}, and the model's {header.of_arch(key):,}",
                hint=hint,
            )
    if layer.tokens() != header.tokens():
        raise GgufError(f"{name}: its vocabulary is not the model's", hint=hint)
    names = {tensor.name for tensor in layer.tensors}
    if missing := [tensor for tensor in OWN if tensor not in names]:
        raise GgufError(f"{name}: {missing[0]} is missing", hint=hint)
    metadata = {
        **header.metadata,
        f"{arch}.block_count": layers + 1,
        f"{arch}.nextn_predict_layers": 1,
    }
    theirs = (
        replace(tensor, offset=0)
        for tensor in layer.tensors
        if tensor.name in OWN or tensor.name.startswith(f"blk.{layers}.")
    )
    found = replace(header, metadata=metadata, tensors=(*header.tensors, *theirs))
    if not can_draft(found):
        raise GgufError(f"{name}: its layer is not one that llama.cpp could draft with", hint=hint)
    return found
