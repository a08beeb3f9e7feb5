"""A draft model in a file of its own, beside a GGUF of the same model: an MTP layer, or DSpark.

Says whether the two belong together, and gives them one header. Knows headers alone. What is
planned for the joined header holds for the two files: the draft model is loaded as a model of its
own, with its own copies of the embeddings and the output where the file has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan.memory import dspark
from dslocal.plan.memory.shape import MTP_ARCHITECTURES, can_draft

SUFFIX = "-mtp.gguf"  # of a sidecar that is found without being named
SHARED_KEYS = (  # what the layer and the model must agree on
    "embedding_length",
    "attention.head_count",
    "attention.kv_lora_rank",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
)
# what DSpark and the model must agree on
DSPARK_KEYS = (
    "embedding_length",
    "attention.head_count",
    "attention.key_length",
    "attention.q_lora_rank",
    "attention.output_group_count",
    "attention.output_lora_rank",
    "attention.sliding_window",
    "rope.dimension_count",
    "hyper_connection.count",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
)
# What the layer's file must have besides the layer, to be a model of its own.
OWN_TENSORS = ("token_embd.weight", "output.weight", "output_norm.weight")
_HINT = "dslocal convert CHECKPOINT --mtp-only writes the model's own layer"
_DSPARK_HINT = "dslocal convert CHECKPOINT --dspark-only writes the model's own DSpark"


def sidecar_path(path: Path) -> Path:
    """Return where the draft model of the model at ``path`` is looked for."""
    return path.with_name(path.stem + SUFFIX)


def find_sidecar(path: Path, header: GgufHeader) -> Path | None:
    """Return the usable sidecar beside the model at ``path``, by its name.

    None if the model has an MTP layer of its own, or the file does not exist.
    """
    found = sidecar_path(path)
    if can_draft(header) or not found.is_file() or sidecar_fault(path, header):
        return None
    return found


def sidecar_fault(path: Path, header: GgufHeader) -> GgufError | None:
    """Return why the file beside the model at ``path`` cannot draft for it.

    None if it can, if the file does not exist, or if the model has an MTP layer of its own.
    """
    found = sidecar_path(path)
    if can_draft(header) or not found.is_file():
        return None
    try:
        join_header(header, read_header(found), found.name)
    except GgufError as e:
        return e
    return None


def join_header(header: GgufHeader, layer: GgufHeader, name: str) -> GgufHeader:
    """Return ``header`` with the draft model of another file, as if it were in the same file.

    Args:
        header: the model's header.
        layer: the header of the draft model's file: of an MTP layer, or of DSpark.
        name: what that file is called in messages.

    Raises:
        GgufError: the two do not belong together.
    """
    if can_draft(header):
        raise GgufError(
            f"{name}: the model has an MTP layer of its own",
            hint="it drafts without that file",
        )
    if layer.architecture == dspark.ARCHITECTURE:
        return _join_dspark(header, layer, name)
    n_layer = header.of_arch("block_count") - header.mtp_layers
    _check_match(header, layer, n_layer, name)
    arch = layer.architecture
    metadata = {
        **header.metadata,
        f"{arch}.block_count": n_layer + 1,
        f"{arch}.nextn_predict_layers": 1,
    }
    of_layer = (
        replace(tensor, offset=0)
        for tensor in layer.tensors
        if tensor.name in OWN_TENSORS or tensor.name.startswith(f"blk.{n_layer}.")
    )
    joined = replace(header, metadata=metadata, tensors=(*header.tensors, *of_layer))
    if not can_draft(joined):
        raise GgufError(f"{name}: its layer is not one that llama.cpp could draft with", hint=_HINT)
    return joined


def _join_dspark(header: GgufHeader, drafter: GgufHeader, name: str) -> GgufHeader:
    """Return ``header`` with DSpark of another file. Raises GgufError as :func:`join_header`."""
    if not dspark.is_dspark(drafter):
        raise GgufError(
            f"{name}: a dflash draft model that is not DeepSeek-V4's DSpark",
            hint="of these, dslocal supports only DSpark",
        )
    if header.architecture != dspark.TARGET_ARCHITECTURE:
        raise GgufError(
            f"{name}: DSpark drafts for DeepSeek-V4, not for architecture "
            f"{header.architecture!r:.40}",
            hint="--mtp auto drafts without it",
        )
    _check_numbers(header, drafter, DSPARK_KEYS, name, _DSPARK_HINT)
    if drafter.tokens() != header.tokens():
        raise GgufError(f"{name}: its vocabulary is not the model's", hint=_DSPARK_HINT)
    return dspark.joined(header, drafter, name)


def _check_numbers(
    header: GgufHeader, other: GgufHeader, keys: Sequence[str], name: str, hint: str
) -> None:
    """Raise GgufError for the first of ``keys`` that the two headers disagree on."""
    for key in keys:
        theirs, ours = other.of_arch(key), header.of_arch(key)
        if theirs != ours:
            raise GgufError(f"{name}: {key} is {theirs:,}, and the model's {ours:,}", hint=hint)


def _check_match(header: GgufHeader, layer: GgufHeader, n_layer: int, name: str) -> None:
    """Raise GgufError where the layer's file belongs to another model.

    Args:
        header: the model's header.
        layer: the header of the layer's file.
        n_layer: layers of the model.
        name: what the layer's file is called in messages.
    """
    arch = layer.architecture
    is_mtp_file = arch in MTP_ARCHITECTURES and layer.mtp_layers == 1
    if arch != header.architecture or not is_mtp_file:
        raise GgufError(
            f"{name}: no MTP layer for a model of architecture {header.architecture!r:.40}",
            hint=_HINT,
        )
    before = layer.of_arch("block_count") - 1
    if before != n_layer:
        raise GgufError(
            f"{name}: the layer after {before} layers, and the model has {n_layer}", hint=_HINT
        )
    _check_numbers(header, layer, SHARED_KEYS, name, _HINT)
    if layer.tokens() != header.tokens():
        raise GgufError(f"{name}: its vocabulary is not the model's", hint=_HINT)
    names = {tensor.name for tensor in layer.tensors}
    for tensor in OWN_TENSORS:
        if tensor not in names:
            raise GgufError(f"{name}: {tensor} is missing", hint=_HINT)
