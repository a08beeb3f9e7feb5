"""Proves that the MTP layer follows what the model reads and says, in long prompts and over turns,
in the memory that was planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.chat.endless_answer import SECONDS_TO_STOP, interrupt
from support.cli.running import Run
from support.engine.speculation import QUESTION, generate, prompt_ids

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.sizing.breakdown import memory_breakdown
from dslocal.engine.speculation.draft_context import DraftContext
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.mtp_draft import MtpDrafter
from dslocal.engine.speculation.speculation import Speculation
from dslocal.errors import EngineError
from dslocal.gguf import libraries
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import footprint

LOADING = LoadConfig(4096, n_outputs=4, mtp=True)


LONG_ANSWER = "What is 12 * (3 + 4) - 5 * 6?"


@pytest.fixture(scope="module")
def model(nano: Path) -> Iterator[LlamaModel]:
    """nano with its MTP layer."""
    with LlamaModel(nano, LOADING) as loaded:
        yield loaded


def one_at_a_time(context: LlamaContext) -> Speculation:
    """Drafts one token at a time, of which nearly all should be right."""
    return Speculation(context, MtpDrafter(context), DraftLength([1], optional=False))


@pytest.fixture
def context(model: LlamaModel) -> Iterator[LlamaContext]:
    with LlamaContext(model, LOADING) as fresh:
        one_at_a_time(fresh)
        yield fresh


def share(context: LlamaContext, prompt: Sequence[int]) -> float:
    """Of drafts that were right."""
    found = generate(context, prompt, max_tokens=100)
    assert found.drafted >= 40
    return found.accepted / found.drafted


def conversation(model: LlamaModel, tokens: int) -> list[int]:
    """Earlier turns of about so many tokens, then the question."""
    turn = [*prompt_ids(model, "What is 3 + 4?"), *model.encode("3 + 4 = 7")]
    return [*(turn * (tokens // len(turn))), *prompt_ids(model, LONG_ANSWER)]


@pytest.mark.parametrize("tokens", [0, 200, 700, 1100])
def test_a_prompt_is_followed_as_it_is_read(
    model: LlamaModel, context: LlamaContext, tokens: int
) -> None:
    assert share(context, conversation(model, tokens)) > 0.85


def test_it_follows_over_turns(model: LlamaModel, context: LlamaContext) -> None:
    """Proves it where the next prompt shares a prefix, where it goes on, and where nothing of the
    last is left.
    """
    prompt = prompt_ids(model)
    assert share(context, prompt) > 0.85
    assert share(context, prompt) > 0.85
    assert share(context, [*context.ids, *prompt_ids(model, "What is 12 * 34?")]) > 0.8
    assert share(context, prompt_ids(model, "What is 61 * 29?")) > 0.85


def test_a_draft_continues_from_the_last_token_heard_of(model: LlamaModel) -> None:
    """Proves that second and third drafts are the same whether what came before was heard of in one
    batch or token by token.
    """
    prompt = conversation(model, 30)
    known: list[list[int]] = []
    for at_once in (True, False):
        with LlamaContext(model, LOADING) as context:
            drafter = MtpDrafter(context)
            Speculation(context, drafter, DraftLength([3], optional=False)).begin()
            context.prefill(prompt[:-12])
            for ids in [prompt[-12:-1]] if at_once else ([id] for id in prompt[-12:-1]):
                context.evaluate(ids)
                if not at_once:
                    drafter._catch_up(0)
            known.append(drafter.propose(context.ids, prompt[-1], 3))
    assert known[0] == known[1]
    assert len(known[0]) == 3


def test_what_it_did_not_hear_costs_drafts_but_no_tokens(
    model: LlamaModel, context: LlamaContext
) -> None:
    """Proves that a context which was restored behind its back still drafts, though the prompt is
    unknown to it.
    """
    prompt = conversation(model, 300)
    with LlamaContext(model, LOADING) as plain:
        known = generate(plain, prompt)
    observer, context.observer = context.observer, None
    context.prefill(prompt[:-3])
    context.observer = observer
    found = generate(context, prompt)
    assert found.ids == known.ids
    assert found.cached == len(prompt) - 3
    assert found.accepted > 0.6 * found.drafted > 20


def test_the_second_context_is_made_when_it_is_needed(model: LlamaModel) -> None:
    with LlamaContext(model, LOADING) as context:
        drafter = MtpDrafter(context)
        assert not drafter.is_listening
        drafter.close()  # nothing there, nothing wrong
        speculation = one_at_a_time(context)
        generate(context, prompt_ids(model), max_tokens=5)
        speculation.close()
        speculation.close()
        assert generate(context, prompt_ids(model), max_tokens=20).drafted == 0


@pytest.mark.parametrize(
    "load_config",
    [
        LoadConfig(2048, n_outputs=4, mtp=True),
        LoadConfig(1024, n_outputs=4, mtp=True, n_ubatch=128, kv_type=GgmlType.Q8_0),
        LoadConfig(1024, n_outputs=4, mtp=True, flash_attn=False),
    ],
)
def test_it_takes_the_memory_that_was_planned(nano: Path, load_config: LoadConfig) -> None:
    """Proves the plan's sum for both contexts equal to what llama.cpp holds once a long prompt was
    followed and drafts were made.
    """
    with LlamaModel(nano, load_config) as model, LlamaContext(model, load_config) as context:
        drafter = MtpDrafter(context)
        Speculation(context, drafter, DraftLength([3], optional=False))
        assert generate(context, conversation(model, 700), max_tokens=20).drafted > 0
        buffers = [*memory_breakdown(context.handle), *memory_breakdown(drafter.handle)]
        planned = footprint(model.header, load_config)
        assert sum(buffer.context for buffer in buffers) == planned.kv.total
        assert sum(buffer.compute for buffer in buffers) == planned.compute.total
        alone = footprint(
            model.header,
            LoadConfig(
                load_config.n_ctx, load_config.kv_type, load_config.n_ubatch, load_config.flash_attn
            ),
        )
        assert (
            planned.output.total - alone.output.total > 4 * 256 * 512 * 2
        )  # hidden states of a batch, and a copy


def test_a_model_without_the_layer_is_refused(nano: Path) -> None:
    """Proves that no context is asked for where llama.cpp would abort the process, and that the
    answer comes all the same.
    """
    with LlamaModel(nano) as model, LlamaContext(model, LoadConfig(1024, n_outputs=4)) as context:
        model.header = replace(
            model.header, metadata={**model.header.metadata, "deepseek2.nextn_predict_layers": 0}
        )
        speculation = one_at_a_time(context)
        assert generate(context, prompt_ids(model), max_tokens=20).drafted == 0
        assert isinstance(speculation.error, EngineError)
        assert "has no MTP layer" in str(speculation.error)


def test_interrupted_while_following_a_prompt(model: LlamaModel, context: LlamaContext) -> None:
    """Proves that an abort in the second context ends the work, and that both caches are sound
    afterwards.
    """
    assert share(context, prompt_ids(model)) > 0.85
    observer = context.observer
    assert observer is not None
    evaluated = observer.evaluated

    def aborted(start: int, ids: Sequence[int]) -> None:
        context.abort.set()
        evaluated(start, ids)

    observer.evaluated = aborted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        context.prefill(list(range(100, 800)))
    observer.evaluated = evaluated  # type: ignore[method-assign]
    context.abort.clear()
    prompt = conversation(model, 600)
    with LlamaContext(model, LOADING) as fresh:
        fresh.prefill(prompt)
        context.prefill(prompt)
        assert np.array_equal(context.logits(), fresh.logits())
    assert share(context, prompt) > 0.85


@pytest.mark.parametrize("work", ["prefill", "generation"])
def test_ctrl_c_stops_it_and_both_contexts_live(run: Run, nano: Path, work: str) -> None:
    answer = interrupt(nano, run.env(), work, drafting=True).answer
    assert answer.startswith("None True ")
    assert answer.endswith("The answer is 4042.\n")


@pytest.mark.timed
@pytest.mark.parametrize("work", ["prefill", "generation"])
def test_ctrl_c_stops_it_at_once(run: Run, nano: Path, work: str) -> None:
    assert interrupt(nano, run.env(), work, drafting=True).seconds < SECONDS_TO_STOP


def test_the_question_is_what_nano_knows(model: LlamaModel) -> None:
    """Proves that the prompts above end as nano's do, or the shares would mean nothing."""
    with LlamaContext(model, LOADING) as context:
        found = generate(context, prompt_ids(model, QUESTION), max_tokens=600)
    assert b"".join(map(model.piece, found.ids)).decode().endswith("4042.")


@pytest.mark.parametrize(
    ("on_gpu", "is_small", "least_reused"),
    [(False, True, 0.0), (True, True, 0.9), (True, False, 0.6)],
    ids=["CPU", "GPU", "GPU and a large layer"],
)
def test_a_batch_of_a_fixed_number_of_rows_drafts_the_same(
    model: LlamaModel,
    monkeypatch: pytest.MonkeyPatch,
    on_gpu: bool,
    is_small: bool,
    least_reused: float,
) -> None:
    """Proves what is done on a GPU, without one: rows that are in the cache are evaluated again, so
    that the graph of the last batch is kept, and the likeliest token is found where they are.
    """
    with LlamaContext(model, LOADING) as context:
        one_at_a_time(context)
        known = generate(context, prompt_ids(model), max_tokens=100)
    with LlamaContext(model, LOADING) as context:
        if on_gpu:
            monkeypatch.setattr(context, "load_config", replace(LOADING, n_gpu_layers=99))
        drafter = MtpDrafter(context)
        monkeypatch.setattr(drafter, "_is_small", is_small)
        Speculation(context, drafter, DraftLength([3], optional=False))
        found = generate(context, prompt_ids(model), max_tokens=100)
        low = libraries.require()
        evaluations = found.drafted
        reused = low.llama_perf_context(drafter.handle).n_reused
    assert found.ids == known.ids
    assert found.accepted > 0.4 * found.drafted
    assert reused >= least_reused * evaluations


@pytest.mark.parametrize("has_fixed_rows", [False, True])
@pytest.mark.parametrize("aborted_at", [0, 1, 2])
def test_interrupted_while_drafting(
    model: LlamaModel, monkeypatch: pytest.MonkeyPatch, has_fixed_rows: bool, aborted_at: int
) -> None:
    """Proves that no guess is left in the layer's cache, whichever of three drafts is aborted: the
    answer continues with drafts as right as without.
    """
    prompt = prompt_ids(model)
    with LlamaContext(model, LOADING) as context:
        drafter = MtpDrafter(context)
        monkeypatch.setattr(drafter, "_has_fixed_rows", has_fixed_rows)
        speculation = Speculation(context, drafter, DraftLength([3], optional=False))
        known = generate(context, prompt, max_tokens=100)
        beginning = known.ids[:20]
        context.prefill([*prompt, *beginning])
        likeliest = DraftContext.likeliest
        calls = iter(range(3))

        def abort_behind(draft_context: DraftContext, row: int) -> int:
            if next(calls) == aborted_at:
                raise KeyboardInterrupt
            return likeliest(draft_context, row)

        with monkeypatch.context() as patch:
            patch.setattr(DraftContext, "likeliest", abort_behind)
            with pytest.raises(KeyboardInterrupt):
                drafter.propose(context.ids, known.ids[20], 3)
        rest = generate(context, [*prompt, *beginning], max_tokens=80)
        assert speculation.error is None
    assert beginning + rest.ids == known.ids
    assert rest.accepted > 0.4 * rest.drafted
