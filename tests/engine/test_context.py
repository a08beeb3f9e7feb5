"""Proves that the KV cache keeps shared prefixes without changing any result, that overflow is
refused, and that Ctrl-C stops C code at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.chat.endless_answer import SECONDS_TO_STOP, interrupt
from support.cli.running import Run, python

from dslocal.engine import FinishReason, Generation, LlamaContext, LlamaModel, Sampler
from dslocal.errors import EngineError

Floats = NDArray[np.float32]
PROMPT = (
    "<｜begin▁of▁sentence｜>",
    "<｜User｜>",
    "What is 47 × 86?",
    "<｜Assistant｜>",
    "<think>",
    "\n",
)
# how far logits may differ when the same ids were evaluated in other batches (Q8_0 activations, ids
# that mean nothing)
LOGITS = 0.4


def ids_of(model: LlamaModel, parts: Sequence[str] = PROMPT) -> list[int]:
    ids: list[int] = []
    for part in parts:
        token = model.special_id(part)
        ids += model.encode(part) if token is None else [token]
    return ids


def answer(
    context: LlamaContext, ids: Sequence[int], *, seed: int = 1, max_tokens: int = 600
) -> tuple[str, Generation]:
    generation = Generation(context, ids, Sampler(0.6, 0.95, seed), max_tokens=max_tokens)
    pieces = b"".join(context.model.piece(token) for token in generation)
    return pieces.decode(errors="replace"), generation


def fresh_logits(model: LlamaModel, ids: Sequence[int]) -> Floats:
    with LlamaContext(model, model.n_ctx_train) as context:
        context.prefill(ids)
        return context.logits().copy()


FIRST = list(range(100, 160))
PREFIXES = {
    "same again": (FIRST, 59),
    "longer": ([*FIRST, 7, 8, 9], 60),
    "shorter": (FIRST[:20], 19),
    "branches off": ([*FIRST[:30], 500, *FIRST[31:]], 30),
    "nothing shared": ([500, *FIRST[1:]], 0),
    "one id": (FIRST[:1], 0),
    "longer than a batch": ([*FIRST, *range(1000, 1700)], 60),
}


@pytest.mark.parametrize(("second", "kept"), PREFIXES.values(), ids=PREFIXES)
def test_a_shared_prefix_is_kept(
    model: LlamaModel, context: LlamaContext, second: list[int], kept: int
) -> None:
    reports: list[tuple[int, int]] = []
    assert context.prefill(FIRST) == 0
    assert context.prefill(second, lambda done, total: reports.append((done, total))) == kept
    assert context.ids == second
    assert reports[-1] == (len(second) - kept, len(second) - kept)
    assert [done for done, _ in reports] == sorted({done for done, _ in reports})
    assert np.abs(context.logits() - fresh_logits(model, second)).max() < LOGITS


def test_the_tolerance_on_logits_means_something(model: LlamaModel) -> None:
    assert (
        np.abs(
            fresh_logits(model, FIRST) - fresh_logits(model, [*FIRST[:-2], 500, FIRST[-1]])
        ).max()
        > 8 * LOGITS
    )


def test_an_answer_continues_where_the_last_one_ended(
    model: LlamaModel, context: LlamaContext
) -> None:
    ids = ids_of(model)
    text, first = answer(context, ids)
    assert text.endswith("The answer is 4042.")
    assert (first.cached, first.finish_reason) == (0, FinishReason.STOP)
    assert context.ids == [*ids, *first.ids]
    follow_up = [
        *ids,
        *first.ids,
        *ids_of(model, ("<｜end▁of▁sentence｜>", *PROMPT[1:2], "Now add 5 to that.", *PROMPT[3:])),
    ]
    text, second = answer(context, follow_up)
    assert second.cached == len(ids) + len(first.ids)
    again, third = answer(context, ids)
    assert third.cached == len(ids) - 1
    assert again.endswith("The answer is 4042.")


def test_logits_are_a_view_of_the_whole_vocabulary(
    model: LlamaModel, context: LlamaContext
) -> None:
    context.prefill(FIRST)
    logits = context.logits()
    assert logits.dtype == np.float32
    assert logits.shape == (model.n_vocab,)
    assert not logits.flags.owndata
    assert np.isfinite(logits).all()


def test_overflow_is_refused_and_harmless(model: LlamaModel) -> None:
    with LlamaContext(model, 512) as context:
        with pytest.raises(EngineError, match=r"513 tokens in a context of 512"):
            context.prefill(list(range(100, 613)))
        context.prefill(list(range(100, 612)))
        with pytest.raises(EngineError, match="513"):
            context.evaluate([5])
        text, generation = answer(context, ids_of(model))
        assert text.endswith("4042.")
        assert generation.finish_reason is FinishReason.STOP


class Endless(Sampler):
    """Draws a word for ever."""

    def sample(self, logits: Floats) -> int:
        super().sample(logits)
        return 300


@pytest.mark.parametrize(("max_tokens", "came"), [(1, 1), (7, 7), (9999, 512 - 15 + 1)])
def test_length_ends_a_generation(model: LlamaModel, max_tokens: int, came: int) -> None:
    """By max_tokens, or by the context: the last token needs no place in it."""
    ids = ids_of(model)
    with LlamaContext(model, 512) as context:
        generation = Generation(context, ids, Endless(0.6, 0.95, 1), max_tokens=max_tokens)
        assert len(list(generation)) == came
        assert generation.finish_reason is FinishReason.LENGTH
        assert len(context.ids) <= 512


def test_other_tokens_may_stop_it(model: LlamaModel, context: LlamaContext) -> None:
    close = model.special_id("</think>")
    assert close is not None
    generation = Generation(
        context, ids_of(model), Sampler(0.6, 0.95, 1), max_tokens=600, stop=(close,)
    )
    ids = list(generation)
    assert close not in ids
    assert generation.finish_reason is FinishReason.STOP
    assert len(ids) > 100


def test_leaving_a_generation_early_leaves_the_context_sound(
    model: LlamaModel, context: LlamaContext
) -> None:
    generation = iter(Generation(context, ids_of(model), Sampler(0.6, 0.95, 1), max_tokens=600))
    for _ in range(20):
        next(generation)
    del generation
    assert answer(context, ids_of(model))[0].endswith("4042.")


def test_a_thread_gets_no_ctrl_c_but_all_else_works(
    model: LlamaModel, context: LlamaContext
) -> None:
    came: list[str] = []
    thread = threading.Thread(target=lambda: came.append(answer(context, ids_of(model))[0]))
    thread.start()
    thread.join()
    assert came[0].endswith("4042.")


@pytest.mark.parametrize("work", ["prefill", "generation"])
def test_ctrl_c_stops_it_and_the_context_lives(run: Run, nano: Path, work: str) -> None:
    assert interrupt(nano, run.env(), work).answer.endswith("The answer is 4042.\n")


@pytest.mark.timed
@pytest.mark.parametrize("work", ["prefill", "generation"])
def test_ctrl_c_stops_it_at_once(run: Run, nano: Path, work: str) -> None:
    assert interrupt(nano, run.env(), work).seconds < SECONDS_TO_STOP


LOADING = """
import os, signal, sys
from pathlib import Path
from dslocal.engine import LlamaModel

path, shares = Path(sys.argv[1]), []

def ctrl_c(share):
    shares.append(share)
    os.kill(os.getpid(), signal.SIGINT)

try:
    LlamaModel(path, on_progress=ctrl_c)
except KeyboardInterrupt:
    print("interrupted", shares[-1] < 1)
shares.clear()
with LlamaModel(path, on_progress=shares.append) as model:
    print(model.encode("the") != [], shares[-1], shares == sorted(shares))
"""


def test_ctrl_c_stops_a_load(nano: Path) -> None:
    done = python(LOADING, str(nano))
    assert (done.stdout, done.stderr) == ("interrupted True\nTrue 1.0 True\n", "")
