"""Evaluate one batch with llama.cpp, and return why that ended."""

from __future__ import annotations

from typing import Any

from dslocal.errors import EngineError
from dslocal.gguf import libraries

from . import llama_log
from .graph import EvalCallback
from .interrupt import AbortFlag

DECODE_ABORTED = 2  # what llama_decode returns, see llama.h


def decode(handle: Any, batch: Any, abort: AbortFlag, callback: EvalCallback | None = None) -> None:
    """Call ``llama_decode`` for one batch.

    Args:
        handle: llama.cpp's context.
        batch: A ``llama_batch``.
        abort: The flag that the context polls.
        callback: What sees the nodes of the context's graphs, if anything does.

    Raises:
        KeyboardInterrupt: if aborted; part of the batch may be in the cache.
        EngineError: if llama.cpp fails; part of the batch may be in the cache.
        DslocalError: as the callback raised it; part of the batch may be in the cache.
    """
    llama_log.clear()
    abort.busy = True
    status = libraries.require().llama_decode(handle, batch)
    abort.busy = False
    if callback is not None:
        callback.raise_failure()
    if status == DECODE_ABORTED or abort.is_set():
        raise KeyboardInterrupt
    if status:
        reason = llama_log.first_complaint("no reason given")
        raise EngineError(f"llama.cpp failed to evaluate ({status}): {reason}")
