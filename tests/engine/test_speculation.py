"""Proves that drafts change how fast an answer comes and nothing else: the same tokens, the same
cache, whatever the drafter says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engine.speculation import Scripted, generate, prompt_ids, scripted

from dslocal.engine import FinishReason, Generation, LlamaContext, LlamaModel, Sampler
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.speculation import Speculation, enable_speculation
from dslocal.errors import EngineError
from dslocal.plan.load_config import LoadConfig

LOADING = LoadConfig(1024, n_outputs=4, mtp=True)
QUESTIONS = (
    "What is 47 × 86?",
    "What is 12 * (3 + 4)?",
    "What is the capital of Peru?",
    "Who are you?",
)
DRAFTS = 3


@pytest.fixture(scope="module")
def model(nano: Path) -> Iterator[LlamaModel]:
    """nano with its MTP layer."""
    with LlamaModel(nano, LOADING) as loaded:
        yield loaded


@pytest.fixture
def plain(model: LlamaModel) -> Iterator[LlamaContext]:
    with LlamaContext(model, LOADING) as fresh:
        yield fresh


@pytest.fixture
def drafting(model: LlamaModel) -> Iterator[LlamaContext]:
    with LlamaContext(model, LOADING) as fresh:
        yield fresh


def sound(context: LlamaContext, prompt: Sequence[int], answer: Sequence[int]) -> None:
    """The cache holds prompt and answer, but perhaps the last token, and what is in it is what a
    fresh evaluation would leave.
    """
    said = [*prompt, *answer]
    assert context.ids in (said, said[:-1])
    with LlamaContext(context.model, LOADING) as fresh:
        fresh.prefill(said)
        context.prefill(said)
        assert np.abs(context.logits() - fresh.logits()).max() < 0.3  # other batches


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.2])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_text_is_the_same(
    model: LlamaModel,
    plain: LlamaContext,
    drafting: LlamaContext,
    question: str,
    temperature: float,
) -> None:
    """Proves it for MTP at any temperature: with Q8_0 weights a batch's logits are bit by bit those
    of single tokens.
    """
    prompt = prompt_ids(model, question)
    enable_speculation(drafting, "on")
    for seed in range(2):
        one, other = (
            generate(context, prompt, temperature=temperature, seed=seed)
            for context in (plain, drafting)
        )
        assert other.ids == one.ids
        assert other.finish_reason is one.finish_reason
        assert (one.drafted, one.accepted) == (0, 0)
        assert 0 < other.accepted <= other.drafted
        assert len(other.ids) - 1 >= other.accepted
    sound(drafting, prompt, other.ids)


def test_most_first_drafts_are_right(model: LlamaModel, drafting: LlamaContext) -> None:
    speculation = enable_speculation(drafting, "on")
    assert speculation is not None
    drafted = accepted = 0
    for question in QUESTIONS:
        generation = generate(drafting, prompt_ids(model, question))
        drafted, accepted = drafted + generation.drafted, accepted + generation.accepted
    assert speculation.error is None
    assert accepted > 0.5 * drafted > 50


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("right", [0, 1, 2, 3])
def test_a_draft_may_be_wrong_anywhere(
    model: LlamaModel, plain: LlamaContext, drafting: LlamaContext, right: int, most: int
) -> None:
    """Proves that rejection at every position leaves text, counts, cache and drafter as they should
    be.
    """
    prompt = prompt_ids(model)
    known = generate(plain, prompt, max_tokens=40)
    drafter = Scripted([*prompt, *known.ids], right=right, most=most)
    scripted(drafting, drafter)
    found = generate(drafting, prompt, max_tokens=40)
    assert found.ids == known.ids
    assert drafter.heard == drafting.ids
    cycle = min(right, most) + 1
    assert found.accepted == pytest.approx((len(known.ids) - 1) * (cycle - 1) / cycle, abs=most)
    sound(drafting, prompt, found.ids)


@pytest.mark.parametrize("max_tokens", range(1, 9))
def test_max_tokens_ends_it_within_a_draft(
    model: LlamaModel, plain: LlamaContext, drafting: LlamaContext, max_tokens: int
) -> None:
    prompt = prompt_ids(model)
    known = generate(plain, prompt, max_tokens=20)
    scripted(drafting, Scripted([*prompt, *known.ids], right=DRAFTS))
    found = generate(drafting, prompt, max_tokens=max_tokens)
    assert found.ids == known.ids[:max_tokens]
    assert found.finish_reason is FinishReason.LENGTH
    sound(drafting, prompt, found.ids)


@pytest.mark.parametrize("at", range(1, 9))
def test_a_stop_token_ends_it_within_a_draft(
    model: LlamaModel, plain: LlamaContext, drafting: LlamaContext, at: int
) -> None:
    """Proves that nothing after it is emitted, and that it is not in the cache either."""
    prompt = prompt_ids(model)
    known = generate(plain, prompt, max_tokens=30).ids
    stop = next(token for token in known[at:] if token not in known[:at])
    scripted(drafting, Scripted([*prompt, *known], right=DRAFTS))
    found = generate(drafting, prompt, max_tokens=30, stop=[stop])
    assert found.ids == known[: known.index(stop)]
    assert found.finish_reason is FinishReason.STOP
    assert drafting.ids == [*prompt, *found.ids]


def test_nothing_is_drafted_past_the_end_of_the_answer(
    model: LlamaModel, plain: LlamaContext, drafting: LlamaContext
) -> None:
    prompt = prompt_ids(model, "Who are you?")
    known = generate(plain, prompt)
    assert known.finish_reason is FinishReason.STOP
    end = model.special_id("<｜end▁of▁sentence｜>")
    assert end is not None
    scripted(drafting, Scripted([*prompt, *known.ids, end, 7, 7], right=DRAFTS))
    found = generate(drafting, prompt)
    assert (found.ids, found.finish_reason) == (known.ids, FinishReason.STOP)
    assert found.accepted == found.drafted


@pytest.mark.parametrize("room", range(1, 7))
def test_a_full_context_ends_it_within_a_draft(model: LlamaModel, room: int) -> None:
    """Proves that the last token needs no place, and that no draft is evaluated where there is none
    for it.
    """
    prompt = prompt_ids(model)
    fill = [*prompt, *([300] * (512 - len(prompt) - room))]
    load_config = LoadConfig(512, n_outputs=4, mtp=True)
    with LlamaContext(model, load_config) as plain, LlamaContext(model, load_config) as drafting:
        known = generate(plain, fill)
        scripted(drafting, Scripted([*fill, *known.ids], right=DRAFTS))
        found = generate(drafting, fill)
        assert found.ids == known.ids
        assert len(found.ids) == room + 1
        assert found.finish_reason is FinishReason.LENGTH
        assert len(drafting.ids) == 512


@pytest.mark.parametrize("after", range(1, 8))
def test_leaving_early_leaves_no_drafts(
    model: LlamaModel, plain: LlamaContext, drafting: LlamaContext, after: int
) -> None:
    prompt = prompt_ids(model)
    known = generate(plain, prompt, max_tokens=20).ids
    scripted(drafting, Scripted([*prompt, *known], right=DRAFTS))
    tokens = iter(Generation(drafting, prompt, Sampler(0, 1, 1), max_tokens=20))
    came = [next(tokens) for _ in range(after)]
    tokens.close()  # type: ignore[attr-defined]
    assert came == known[:after]
    sound(drafting, prompt, came)


class Failing(Scripted):
    """Fails in one of its calls, after a while."""

    def __init__(self, known: Sequence[int], call: str) -> None:
        super().__init__(known, right=DRAFTS)
        self.call = call

    def fail(self, call: str, length: int) -> None:
        if call == self.call and length > len(self.known) - 20:
            raise EngineError("out of memory")

    def propose(self, ids: Sequence[int], token: int, max_drafts: int) -> list[int]:
        self.fail("propose", len(ids))
        return super().propose(ids, token, max_drafts)

    def evaluated(self, start: int, ids: Sequence[int]) -> None:
        self.fail("evaluated", start)
        super().evaluated(start, ids)


@pytest.mark.parametrize("call", ["propose", "evaluated", "verify"])
def test_a_failure_of_the_drafter_never_costs_the_answer(
    model: LlamaModel,
    plain: LlamaContext,
    drafting: LlamaContext,
    call: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proves that plain decoding continues, and that the drafter is closed."""
    prompt = prompt_ids(model)
    known = generate(plain, prompt, max_tokens=40)
    drafter = Failing([*prompt, *known.ids], call)
    speculation = scripted(drafting, drafter)
    evaluate = drafting.evaluate

    def failing(ids: Sequence[int], *, logits_from: int | None = None) -> None:
        if logits_from is not None and call == "verify" and len(drafting.ids) > len(prompt) + 10:
            raise EngineError("no room for so many")
        evaluate(ids, logits_from=logits_from)

    monkeypatch.setattr(drafting, "evaluate", failing)
    found = generate(drafting, prompt, max_tokens=40)
    assert found.ids == known.ids
    assert found.accepted >= 6
    assert isinstance(speculation.error, EngineError)
    assert drafter.closed
    sound(drafting, prompt, found.ids)
    assert generate(drafting, prompt, max_tokens=40).drafted == 0


def test_off_and_a_context_without_room_for_it_draft_nothing(
    model: LlamaModel, plain: LlamaContext
) -> None:
    assert enable_speculation(plain, "off") is None
    assert plain.observer is None
    with LlamaContext(model, 512) as narrow:
        assert enable_speculation(narrow, "auto") is None


def test_auto_drafts_nothing_on_a_small_model_until_it_has_been_measured(
    model: LlamaModel, drafting: LlamaContext
) -> None:
    """Proves that a short answer of nano costs nothing: not even the second context is made."""
    speculation = enable_speculation(drafting, "auto")
    assert isinstance(speculation, Speculation)
    assert generate(drafting, prompt_ids(model)).drafted == 0
    assert not speculation.draft_length.active


class FakeClock:
    """A clock that only evaluations move: by what a batch of each size costs."""

    def __init__(self, context: LlamaContext, costs: Sequence[float]) -> None:
        self.now = 0.0
        evaluate = context.evaluate

        def timed(ids: Sequence[int], *, logits_from: int | None = None) -> None:
            evaluate(ids, logits_from=logits_from)
            if len(ids) < len(costs) + 1:
                self.now += costs[len(ids) - 1]

        context.evaluate = timed  # type: ignore[method-assign]

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("costs", "best"),
    [
        ([10, 10.5, 11, 11.5], 2),  # a third draft is never right
        ([10, 16, 30, 40], 1),
        ([10, 19, 22, 30], 2),  # the second pays for the first
        ([10, 25, 40, 60], 0),
    ],
)
def test_as_many_are_drafted_as_pays_by_the_clock(
    model: LlamaModel, plain: LlamaContext, drafting: LlamaContext, costs: list[float], best: int
) -> None:
    """Proves it by cost of a batch and acceptance, and the text the same."""
    prompt = prompt_ids(model)
    known = generate(plain, prompt, max_tokens=200)
    drafter = Scripted([*prompt, *known.ids], right=2)
    clock = FakeClock(drafting, costs)
    speculation = Speculation(drafting, drafter, DraftLength((1, 2, 3)), clock)
    assert generate(drafting, prompt, max_tokens=200).ids == known.ids
    assert speculation.draft_length.best == best


@pytest.mark.parametrize(
    ("changes", "is_own_time"),
    [
        ({"repack": True}, True),
        ({"load_mode": "none"}, True),
        ({"n_gpu_layers": 9}, False),
        ({}, False),
    ],
)
def test_other_programs_do_not_count_where_the_cpu_computes_from_memory(
    model: LlamaModel,
    plain: LlamaContext,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    is_own_time: bool,
) -> None:
    """Proves that waiting for a GPU or a disk counts: the thread does not compute then."""
    monkeypatch.setattr(plain, "load_config", replace(LOADING, **changes))
    speculation = Speculation(plain, Scripted([], right=0), DraftLength((1,)))
    is_fine = time.get_clock_info("thread_time").resolution < 1e-3
    assert speculation.clock is (time.thread_time if is_own_time and is_fine else time.perf_counter)
