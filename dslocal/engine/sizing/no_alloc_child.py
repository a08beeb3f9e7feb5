"""The child process of :mod:`.no_alloc`.

It reads a question on standard input and prints one line of JSON for each way to load the file.
Nothing is allocated (``no_alloc``, which needs ``load_mode`` NONE), so the answers come in
milliseconds whatever the model's size.
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
from dslocal.engine.llama_params import (
    MTP_CONTEXT,
    context_params,
    draft_context_params,
    model_params,
)
from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.parts import read_parts
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import output_bytes

from .breakdown import memory_breakdown

DATA_LIMIT = 8 << 30  # bytes; a hostile header may promise a vocabulary of any size


class SizingRefused(Exception):
    """llama.cpp does not load the model, or makes no context of it."""


class _FirstError:
    """The first error that llama.cpp logs; its warnings are of no interest here."""

    def __init__(self) -> None:
        """Listen to llama.cpp's log from here on."""
        low = libraries.require()
        self.text = ""

        def on_log(level: int, text: bytes, _: Any) -> None:
            if level == ERROR and not self.text:
                self.text = text.decode("utf-8", "replace").strip()

        self._callback = low.llama_log_callback(on_log)  # kept alive: llama.cpp calls it
        low.llama_log_set(self._callback, ctypes.c_void_p(0))


def main() -> None:
    """Answer the question on standard input."""
    question = json.load(sys.stdin)
    _limit_memory()
    error = _FirstError()
    libraries.require().llama_backend_init()
    path = Path(question["path"])
    header = read_parts(path)[1]
    for fields in question["load_configs"]:
        load_config = LoadConfig(**{**fields, "kv_type": GgmlType(fields["kv_type"])})
        error.text = ""
        try:
            answer = size_config(path, header, load_config)
        except SizingRefused:
            answer = {"error": error.text or "no reason given"}
        print(json.dumps(answer), flush=True)


def size_config(path: Path, header: GgufHeader, load_config: LoadConfig) -> dict[str, Any]:
    """Return the buffers of the model and of its context, or contexts when it drafts.

    Raises:
        SizingRefused: llama.cpp does not load the file that way.
    """
    low = libraries.require()
    params = model_params(header, replace(load_config, load_mode="none"))
    params.no_alloc = True
    model = low.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise SizingRefused
    context = _new_context(model, context_params(load_config))
    buffers = [asdict(buffer) for buffer in memory_breakdown(context)]
    if load_config.mtp:
        draft = _new_context(model, draft_context_params(load_config, context, MTP_CONTEXT, 1))
        buffers += [{**asdict(buffer), "model": 0} for buffer in memory_breakdown(draft)]
        low.llama_free(draft)
    # llama.cpp begins with one row of output and takes more when more are asked for
    n_vocab = low.llama_vocab_n_tokens(low.llama_model_get_vocab(model))
    output = output_bytes(n_vocab, low.llama_model_n_embd_out(model), load_config)
    low.llama_free(context)
    low.llama_model_free(model)
    return {"buffers": buffers, "output": output}


def _new_context(model: Any, settings: Any) -> Any:
    context = libraries.require().llama_init_from_model(model, settings)
    if not context:
        raise SizingRefused
    return context


def _limit_memory() -> None:
    """Let no header make this process take more than ``DATA_LIMIT``."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))


if __name__ == "__main__":
    main()
