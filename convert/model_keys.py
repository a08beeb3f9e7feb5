"""The GGUF keys that say what a model is, and what recipes read from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .architectures.mapping import Architecture, MappedTensor
from .checkpoint.config import Config
from .recipes.imatrix import Imatrix
from .recipes.recipe import ModelTraits

LAYERS_OF_70B = 80  # by which llama.cpp takes a model for a 70B
NEXTN = ".nextn_predict_layers"


def architecture_metadata(
    architecture: Architecture, config: Config, mtp_layers: int
) -> dict[str, Any]:
    """Return the keys that say what the model is, in file order.

    Args:
        architecture: The model's.
        config: Its configuration.
        mtp_layers: How many MTP layers the file has.

    Raises:
        CheckpointError: The configuration makes no sense.
    """
    arch = architecture.arch
    keys = {f"{arch}.block_count": architecture.layers(config) + mtp_layers}
    model_keys = dict(architecture.metadata(config))
    if mtp_layers:
        # deepseek2's come first; others have a place of their own for it
        model_keys = {NEXTN: mtp_layers, **model_keys} if NEXTN not in model_keys else model_keys
    else:
        model_keys.pop(NEXTN, None)
    for key, value in model_keys.items():
        keys[arch + key if key.startswith(".") else key] = value
    return keys


def model_traits(
    arch: str,
    keys: Mapping[str, Any],
    tensors: Iterable[MappedTensor],
    imatrix: Imatrix | None,
) -> ModelTraits:
    """Return what recipes depend on besides the tensor.

    Args:
        arch: llama.cpp's name of the architecture.
        keys: What :func:`architecture_metadata` gives.
        tensors: The output's tensors.
        imatrix: The importance matrix.
    """
    n_layer = keys[f"{arch}.block_count"]
    main_layers = n_layer - keys.get(f"{arch}.nextn_predict_layers", 0)
    heads = keys[f"{arch}.attention.head_count"]
    kv_heads = keys[f"{arch}.attention.head_count_kv"]
    # Source: llama.cpp, src/models/llama.cpp and qwen2.cpp (load_arch_hparams)
    may_be_70b = arch == "qwen2" or (arch == "llama" and heads != kv_heads)
    return ModelTraits(
        n_layer=n_layer,
        main_layers=main_layers,
        gqa=heads // kv_heads,
        experts=keys.get(f"{arch}.expert_count", 0),
        is_70b=may_be_70b and main_layers == LAYERS_OF_70B,
        tied=all(tensor.name != "output.weight" for tensor in tensors),
        has_imatrix=imatrix is not None,
    )
