"""The log probabilities that a model gives to a prompt, as lm-evaluation-harness asks for them.

A context has logits after the last id of a batch alone, since a row for every id would take a
gigabyte of compute buffers for a long prompt. So the ids are evaluated one by one: as slow as
generating them, and with the memory that was planned.
"""

from __future__ import annotations

from collections.abc import Sequence

from dslocal.engine.context import LlamaContext
from dslocal.engine.interface import EngineContext
from dslocal.errors import UsageError
from dslocal.types import TokenLogprobs

from .logprobs import token_logprobs


def prompt_logprobs(context: EngineContext, ids: Sequence[int], top: int) -> list[TokenLogprobs]:
    """Return the logprobs of all ``ids`` after the first, each given those before it.

    Args:
        context: Its cache holds ``ids`` without the last one afterwards.
        ids: At least one token id.
        top: How many of the likeliest tokens are listed at each position.

    Raises:
        KeyboardInterrupt: if aborted.
        EngineError: if llama.cpp fails, or the ids do not fit.
        UsageError: if another engine generates.
    """
    if not isinstance(context, LlamaContext):
        raise UsageError(f"{context.title}: cannot give logprobs of a prompt")
    found = []
    context.clear()
    for place in range(len(ids) - 1):
        context.evaluate(ids[place : place + 1])
        found.append(token_logprobs(context.logits(), ids[place + 1], top))
    return found
