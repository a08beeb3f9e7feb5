"""The child process of :mod:`.no_alloc`.

Reads a question on standard input and writes one line of JSON for each load config. Nothing is
allocated (``no_alloc``, which needs the load mode "none"), so the answers come in milliseconds
whatever the model's size.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dslocal.engine.llama_log import ERROR
from dslocal.engine.llama_params import MTP_CONTEXT, context_params, model_params
from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import output_bytes

from .breakdown import memory_breakdown

MAX_DATA = 8 << 30  # bytes; a hostile header may promise a vocabulary of any size


class SizingRefused(Exception):
    """llama.cpp does not accept a model or a load config."""


class _ErrorLog:
    """Keeps the first error that llama.cpp logs in ``first``. Warnings do not matter here."""

    def __init__(self) -> None:
        low = libraries.require()
        self.first = ""

        def on_log(level: int, text: bytes, _: Any) -> None:
            if level == ERROR and not self.first:
                self.first = text.decode("utf-8", "replace").strip()

        self._callback = low.llama_log_callback(on_log)
        low.llama_log_set(self._callback, ctypes.c_void_p(0))


def main() -> None:
    """Answer the question on standard input."""
    question = json.load(sys.stdin)
    _limit_memory()
    log = _ErrorLog()
    libraries.require().llama_backend_init()
    path = Path(question["path"])
    header = read_header(path)
    for fields in question["load_configs"]:
        fields["kv_type"] = GgmlType(fields["kv_type"])
        log.first = ""
        try:
            answer = size_config(path, header, LoadConfig(**fields))
        except SizingRefused:
            answer = {"error": log.first or "no reason given"}
        print(json.dumps(answer), flush=True)


def size_config(path: Path, header: GgufHeader, load_config: LoadConfig) -> dict[str, Any]:
    """Return the sizes of the buffers of a model and of its context; of two contexts if it drafts.

    Returns:
        ``buffers``, a list of :class:`.BufferSizes` as dictionaries, and ``output``, the bytes of
        the output buffer. That starts with one row and grows when more are asked for, so it is
        computed.

    Raises:
        SizingRefused: if llama.cpp does not accept the model or the config.
    """
    low = libraries.require()
    params = model_params(header, replace(load_config, load_mode="none"))
    params.no_alloc = True
    model = low.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise SizingRefused
    settings = context_params(load_config)
    context = _make_context(model, settings)
    buffers = [asdict(buffer) for buffer in memory_breakdown(context)]
    n_vocab = low.llama_vocab_n_tokens(low.llama_model_get_vocab(model))
    output = output_bytes(n_vocab, low.llama_model_n_embd_out(model), load_config)
    if load_config.mtp:
        settings.ctx_type, settings.ctx_other = MTP_CONTEXT, context
        draft_context = _make_context(model, settings)
        # the model's buffers are counted already
        drafting = [replace(buffer, model=0) for buffer in memory_breakdown(draft_context)]
        buffers += [asdict(buffer) for buffer in drafting]
        low.llama_free(draft_context)
    low.llama_free(context)
    low.llama_model_free(model)
    return {"buffers": buffers, "output": output}


def _make_context(model: Any, settings: Any) -> Any:
    context = libraries.require().llama_init_from_model(model, settings)
    if not context:
        raise SizingRefused
    return context


def _limit_memory() -> None:
    """Let the process die rather than take more memory than any header needs, where that works."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MAX_DATA, MAX_DATA))


if __name__ == "__main__":
    main()
