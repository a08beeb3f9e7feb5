"""DSpark, the draft model of V4-Flash-0731 and V4-Pro-0813, in a file of its own.

llama.cpp calls its architecture ``dflash``. A model's header and DSpark's are joined to one, in
which DSpark's metadata keep their names and its tensors get a prefix; what is planned for that
holds for the two files. Knows headers alone. Source: llama.cpp, src/models/dflash.cpp.
"""

from __future__ import annotations

from dataclasses import replace

from dslocal.errors import GgufError
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.header_fields import Value

ARCHITECTURE = "dflash"
TARGET_ARCHITECTURE = "deepseek4"  # the only one whose hidden states it can read
PREFIX = "dspark."  # of its tensors in a joined header
NOISE_TOKEN = "tokenizer.ggml.mask_token_id"  # noqa: S105 - a metadata key
CONFIDENCE = "conf_proj.weight"
NEEDED_TENSORS = (
    "fc.weight",
    "enc.output_norm.weight",
    "output_norm.weight",
    "markov_w1.weight",
    "markov_w2.weight",
)
# Tokens of a micro-batch: each gives logits, so that many would take much memory, and keys of the
# window are enough.
MAX_ROWS = 128
MAX_BLOCK = 16  # tokens at a time: every release drafts fewer
MAX_STAGES = 64  # every release has fewer


def is_dspark(header: GgufHeader) -> bool:
    """Return whether a file is DSpark's, and not another model that llama.cpp calls dflash."""
    names = {tensor.name for tensor in header.tensors}
    return (
        header.architecture == ARCHITECTURE
        and header.of_arch("hyper_connection.count") > 0
        and names.issuperset(NEEDED_TENSORS)
    )


def has_dspark(header: GgufHeader) -> bool:
    """Return whether DSpark was joined to a model's header."""
    return header.architecture == TARGET_ARCHITECTURE and block_size(header) > 0


def block_size(header: GgufHeader) -> int:
    """Return how many tokens are drafted at a time; 0 without DSpark."""
    return header.integer(f"{ARCHITECTURE}.block_size")


def stages(header: GgufHeader) -> int:
    """Return how many blocks like V4's layers DSpark has; 0 without DSpark."""
    return header.integer(f"{ARCHITECTURE}.block_count")


def target_layers(header: GgufHeader) -> tuple[int, ...]:
    """Return the layers of the model whose input it reads, counted as llama.cpp does.

    The number of layers stands for what leaves the last one.
    """
    found = header.metadata.get(f"{ARCHITECTURE}.target_layers")
    if not isinstance(found, list):
        return ()
    return tuple(layer for layer in found if type(layer) is int)


def has_confidence(header: GgufHeader) -> bool:
    """Return whether DSpark, by its own header, gives a confidence for each draft."""
    return any(tensor.name == CONFIDENCE for tensor in header.tensors)


def joined(header: GgufHeader, drafter: GgufHeader, name: str) -> GgufHeader:
    """Return a model's header with DSpark's.

    Args:
        header: the model's header.
        drafter: DSpark's header, which agrees with it in its dimensions.
        name: what DSpark's file is called in messages.

    Raises:
        GgufError: llama.cpp could not draft with it.
    """
    layers = target_layers(drafter)
    count = header.of_arch("block_count") - header.mtp_layers
    if not layers or any(not 0 <= layer <= count for layer in layers):
        raise GgufError(f"{name}: its target_layers are not layers of the model")
    if not 1 <= stages(drafter) <= MAX_STAGES:
        raise GgufError(f"{name}: block_count is not from 1 to {MAX_STAGES}")
    if not 1 <= block_size(drafter) <= MAX_BLOCK:
        raise GgufError(f"{name}: block_size is not from 1 to {MAX_BLOCK}")
    vocabulary = len(header.tokens()) or header.of_arch("vocab_size")
    if not 0 <= drafter.integer(NOISE_TOKEN, -1) < vocabulary:
        raise GgufError(f"{name}: {NOISE_TOKEN} is not a token of the model")
    own: dict[str, Value] = {
        key: value for key, value in drafter.metadata.items() if key.startswith(f"{ARCHITECTURE}.")
    }
    tensors = (replace(tensor, name=PREFIX + tensor.name, offset=0) for tensor in drafter.tensors)
    return replace(header, metadata={**header.metadata, **own}, tensors=(*header.tensors, *tensors))
