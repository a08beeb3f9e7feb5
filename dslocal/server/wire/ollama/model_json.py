"""What Ollama's routes say about models."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from dslocal import prompts
from dslocal.catalog.quant_names import quant_of_header

from .ollama_response import timestamp
from .request import LATEST

if TYPE_CHECKING:
    from dslocal.gguf.header import GgufHeader
    from dslocal.server.models.offered_model import LoadedModel, OfferedModel

Json = dict[str, Any]
SHOWN_KEYS = (
    "block_count",
    "embedding_length",
    "attention.head_count",
    "expert_count",
    "expert_used_count",
    "vocab_size",
)
FOREVER = "9999-12-31T23:59:59Z"  # until another model needs the memory


def listed_json(model: OfferedModel, name: str) -> Json:
    """Return a model as ``/api/tags`` lists it."""
    tagged = name if ":" in name else name + LATEST
    return {
        "name": tagged,
        "model": tagged,
        "modified_at": timestamp(0),
        "size": model.header.file_size,
        "digest": model.fingerprint,
        "details": _details(model),
    }


def running_json(model: LoadedModel) -> Json:
    """Return a loaded model as ``/api/ps`` lists it."""
    entry, left_s = model.entry, model.seconds_left
    memory = {"size": entry.need.total, "size_vram": entry.need.gpu}
    listed = listed_json(entry, entry.name)
    del listed["modified_at"]
    expires_at = FOREVER if left_s == math.inf else timestamp(int(time.time() + left_s))
    n_ctx = model.served.context.n_ctx
    return {**listed, **memory, "expires_at": expires_at, "context_length": n_ctx}


def shown_json(model: OfferedModel, n_ctx: int) -> Json:
    """Return a model as ``/api/show`` describes it.

    Args:
        model: The model.
        n_ctx: The tokens of context that a request has here, whatever the model was made for.
    """
    header = model.header
    architecture = header.architecture
    about = {f"{architecture}.{key}": header.of_arch(key) for key in SHOWN_KEYS}
    return {
        "modelfile": "",
        "parameters": f"num_ctx {n_ctx}",
        "template": "",
        "license": header.text("general.license"),
        "details": _details(model),
        "model_info": {
            "general.architecture": architecture,
            "general.basename": header.text("general.name"),
            "general.parameter_count": _parameters(header),
            **{key: value for key, value in about.items() if value},
            f"{architecture}.context_length": n_ctx,
        },
        "capabilities": _capabilities(model.family),
        "modified_at": timestamp(0),
    }


def _details(model: OfferedModel) -> Json:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.header.architecture,
        "families": [model.header.architecture],
        "parameter_size": _short_count(_parameters(model.header)),
        "quantization_level": quant_of_header(model.header),
    }


def _capabilities(family: prompts.Family) -> list[str]:
    found = ["completion"]
    if family.format.tools is not None:
        found.append("tools")
    if family.fim is not None:
        found.append("insert")
    if family.format.think is not None:
        found.append("thinking")
    return found


def _parameters(header: GgufHeader) -> int:
    return sum(tensor.elements for tensor in header.tensors)


def _short_count(parameters: int) -> str:
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f}B"
    return f"{parameters / 1e6:.1f}M"
