"""Evaluate a long text in chunks of equal length, each by itself.

The text is cut like a text with which llama.cpp's tools measure a model. An incomplete last chunk
is left out. If the vocabulary asks for BOS, it replaces the first token of every chunk. Source:
llama.cpp, tools/imatrix/imatrix.cpp (``compute_imatrix``), tools/perplexity/perplexity.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dslocal.engine import loader
from dslocal.engine.context import LlamaContext
from dslocal.engine.interrupt import abort_on_signal
from dslocal.engine.model import LlamaModel
from dslocal.errors import UsageError
from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.overrides import Overrides

OnLogits = Callable[[int, NDArray[np.float32]], None]


def bos_token(model: LlamaModel) -> int | None:
    """Return the token that every chunk begins with; None where the vocabulary wants none."""
    low: Any = libraries.require()
    vocabulary = low.llama_model_get_vocab(model.handle)
    if not low.llama_vocab_get_add_bos(vocabulary):
        return None
    return int(low.llama_vocab_bos(vocabulary))


def plan_chunks(
    path: Path, header: GgufHeader, chunk_size: int, *, logits_from: int = 0
) -> LoadConfig:
    """Return how a model is loaded to evaluate chunks: with a KV cache that loses nothing.

    Args:
        path: The GGUF file.
        header: Its header.
        chunk_size: The tokens of each chunk.
        logits_from: The first token of a chunk that logits are computed after.

    Raises:
        DoesNotFitError: The model does not fit into this machine.
    """
    wanted = Overrides(n_ctx=chunk_size, kv_type=GgmlType.F16)
    config = loader.plan_for(path, header, wanted).load_config
    outputs = min(chunk_size - logits_from, config.n_batch)
    return replace(config, n_outputs=outputs, n_seq=1)


def cut_into_chunks(
    ids: Sequence[int], chunk_size: int, *, bos: int | None, max_tokens: int | None = None
) -> list[list[int]]:
    """Return the chunks of ``ids``.

    Args:
        ids: The text.
        chunk_size: The tokens of each chunk.
        bos: What replaces the first token of each; None leaves it.
        max_tokens: No more than these are evaluated, rounded up to a chunk; None for all.

    Raises:
        UsageError: The text does not fill one chunk.
    """
    count = len(ids) // chunk_size
    if count == 0:
        raise UsageError(
            f"the text has {len(ids):,} tokens, and a chunk takes {chunk_size:,}",
            hint="use a longer text",
        )
    if max_tokens is not None:
        count = min(count, -(-max_tokens // chunk_size))
    chunks = [list(ids[n * chunk_size : (n + 1) * chunk_size]) for n in range(count)]
    if bos is not None:
        for chunk in chunks:
            chunk[0] = bos
    return chunks


def evaluate_chunk(
    context: LlamaContext,
    chunk: Sequence[int],
    *,
    logits_from: int = 0,
    on_logits: OnLogits | None = None,
) -> None:
    """Evaluate one chunk in an empty cache, with the logits of every token.

    The load config of ``context`` must have ``n_outputs`` for a chunk, or for a batch if that is
    smaller.

    Args:
        context: What evaluates it.
        chunk: The token ids.
        logits_from: The first token that logits are computed after, counted from 0.
        on_logits: Receives, batch by batch, the number of a token and float32
            ``[tokens, n_vocab]``: the logits after that token and the next ones. They are valid
            until it returns.

    Raises:
        KeyboardInterrupt: if aborted.
        EngineError: if llama.cpp fails.
    """
    context.clear()
    for start in range(0, len(chunk), context.load_config.n_batch):
        batch = chunk[start : start + context.load_config.n_batch]
        skipped = max(0, logits_from - start)
        with abort_on_signal(context.abort):
            context.evaluate(batch, logits_from=skipped)
        if on_logits and skipped < len(batch):
            on_logits(start + skipped, context.logit_rows(len(batch) - skipped))
