"""Measure how fast a model is: prefill, decoding at a depth, sampling, time to the first token.

Token ids go in; seconds and tokens per second come out. Each function measures once. How often it
is called, and what the ids say, is up to the caller.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from dslocal.engine.context import LlamaContext
from dslocal.engine.generate import Generation
from dslocal.engine.interrupt import abort_on_signal
from dslocal.engine.model import LlamaModel
from dslocal.engine.sampling.sampler import Sampler
from dslocal.engine.speculation.speculation import DraftMode, Speculation, enable_speculation
from dslocal.errors import EngineError
from dslocal.types import StreamingUse

# the sampling settings of DeepSeek-R1's model card
TEMPERATURE = 0.6
TOP_P = 0.95
DRAWS = 64  # a token's sampling time is their median
MAX_ANSWERS = 64  # answers may end before there are enough tokens


@dataclass(frozen=True)
class DecodingSpeed:
    """Tokens per second, and how many of the ``drafted`` tokens were ``accepted``.

    ``streaming`` is what was read of experts; None where the model fits into the memory.
    """

    rate: float
    drafted: int
    accepted: int
    streaming: StreamingUse | None = None


def measure_prefill(context: LlamaContext, ids: Sequence[int]) -> float:
    """Return the tokens per second of evaluating ``ids`` into an empty cache.

    Raises:
        KeyboardInterrupt: on Ctrl-C.
    """
    context.clear()
    with abort_on_signal(context.abort):
        began = time.perf_counter()
        context.prefill(ids)
        context.logits()
        return len(ids) / (time.perf_counter() - began)


def measure_first_token(context: LlamaContext, ids: Sequence[int], seed: int) -> float:
    """Return the seconds from a prompt to its first token; the cache keeps a common prefix.

    Raises:
        KeyboardInterrupt: on Ctrl-C.
    """
    generation = Generation(context, ids, _sampler(seed), max_tokens=1)
    for _ in generation:
        pass
    return generation.timings.ttft


def measure_sampling(context: LlamaContext, seed: int) -> float:
    """Return the seconds that drawing one token takes, from the logits after the last id."""
    sampler, logits = _sampler(seed), context.logits()
    seconds = []
    for _ in range(DRAWS):
        began = time.perf_counter()
        sampler.sample(logits)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def measure_decoding(
    context: LlamaContext,
    ids: Sequence[int],
    tokens: int,
    seed: int,
    *,
    mtp: DraftMode = "off",
    draft_model: LlamaModel | None = None,
) -> DecodingSpeed:
    """Return how fast ``tokens`` tokens are decoded after ``ids``.

    An answer that ends early is followed by another. The first token of each answer comes with the
    prefill and does not count.

    Raises:
        KeyboardInterrupt: on Ctrl-C.
        EngineError: if every answer ends at once, or if drafting fails.
    """
    decoded = drafted = accepted = 0
    seconds = 0.0
    streaming = StreamingUse() if context.streamer else None
    with _drafting(context, mtp, draft_model) as speculation:
        for n in range(MAX_ANSWERS):
            left = tokens + 1 - decoded
            generation = Generation(context, ids, _sampler(seed + n), max_tokens=left)
            for _ in generation:
                pass
            if len(generation.ids) > 1:
                decoded += len(generation.ids) - 1
                seconds += generation.timings.decode
            if streaming and generation.timings.streaming:
                streaming += generation.timings.streaming
            drafted += generation.drafted
            accepted += generation.accepted
            if decoded >= tokens:
                break
        if speculation and speculation.error:
            raise speculation.error
    if not decoded:
        raise EngineError(
            "the model ends every answer at once",
            hint="use another model: nothing can be measured with this one",
        )
    return DecodingSpeed(decoded / seconds, drafted, accepted, streaming)


@contextmanager
def _drafting(
    context: LlamaContext, mode: DraftMode, draft_model: LlamaModel | None
) -> Iterator[Speculation | None]:
    """Let the context draft inside, and not afterwards."""
    speculation = enable_speculation(context, mode, draft_model)
    try:
        yield speculation
    finally:
        if speculation:
            speculation.close()
            context.observer = None


def _sampler(seed: int) -> Sampler:
    return Sampler(TEMPERATURE, TOP_P, seed)
