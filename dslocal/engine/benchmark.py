"""How fast a model is: prefill, decoding at a depth, sampling, and the time to the first token,
each measured once per call.

Token ids go in, seconds and tokens a second come out; who repeats, and what the ids say, is the
caller's business.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from dslocal.engine.sampling.sampler import Sampler
from dslocal.engine.speculation.speculation import DraftMode, Speculation, enable_speculation
from dslocal.errors import EngineError

from .context import LlamaContext
from .generate import Generation
from .interrupt import abort_on_ctrl_c

TEMPERATURE, TOP_P = 0.6, 0.95  # as R1's makers recommend
DRAWS = 64  # of which the median is a token's sampling time
ATTEMPTS = 64  # answers that may end of themselves before there are enough tokens


@dataclass(frozen=True)
class DecodingSpeed:
    """``rate`` is tokens a second; of ``drafted`` tokens ``accepted`` were right."""

    rate: float
    drafted: int
    accepted: int


def measure_prefill(context: LlamaContext, ids: Sequence[int]) -> float:
    """Tokens a second for evaluating ``ids`` into an empty cache. Raises KeyboardInterrupt on
    Ctrl-C.
    """
    context.clear()
    with abort_on_ctrl_c(context.abort):
        began = time.perf_counter()
        context.prefill(ids)
        context.logits()
        return len(ids) / (time.perf_counter() - began)


def measure_first_token(context: LlamaContext, ids: Sequence[int], seed: int) -> float:
    """Seconds from a prompt to its first token, with whatever the cache shares with it kept. Raises
    KeyboardInterrupt on Ctrl-C.
    """
    generation = Generation(context, ids, _sampler(seed), max_tokens=1)
    for _ in generation:
        pass
    return generation.timings.ttft


def measure_sampling(context: LlamaContext, seed: int) -> float:
    """Seconds that drawing one token takes, from the logits after the last id."""
    sampler, logits, seconds = _sampler(seed), context.logits(), []
    for _ in range(DRAWS):
        began = time.perf_counter()
        sampler.sample(logits)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def measure_decoding(
    context: LlamaContext, ids: Sequence[int], tokens: int, seed: int, *, mtp: DraftMode = "off"
) -> DecodingSpeed:
    """``tokens`` tokens after ``ids``, drawn as R1's makers recommend. An answer that ends of
    itself is followed by another.

    The first token of each comes with the prefill, and does not count. Raises KeyboardInterrupt on
    Ctrl-C, EngineError when nothing is ever said.
    """
    made = drafted = accepted = 0
    seconds = 0.0
    with _drafting(context, mtp) as speculation:
        for attempt in range(ATTEMPTS):
            generation = Generation(
                context, ids, _sampler(seed + attempt), max_tokens=tokens + 1 - made
            )
            for _ in generation:
                pass
            if len(generation.ids) > 1:
                made, seconds = made + len(generation.ids) - 1, seconds + generation.timings.decode
            drafted, accepted = drafted + generation.drafted, accepted + generation.accepted
            if made >= tokens:
                break
        if speculation and speculation.error:
            raise speculation.error
    if not made:
        raise EngineError(
            "the model ends every answer at once", hint="nothing can be measured with it"
        )
    return DecodingSpeed(made / seconds, drafted, accepted)


@contextmanager
def _drafting(context: LlamaContext, mode: DraftMode) -> Iterator[Speculation | None]:
    """The context drafts inside, and no more afterwards."""
    speculation = enable_speculation(context, mode)
    try:
        yield speculation
    finally:
        if speculation:
            speculation.close()
            context.observer = None


def _sampler(seed: int) -> Sampler:
    return Sampler(TEMPERATURE, TOP_P, seed)
