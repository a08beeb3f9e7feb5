"""Proves that a conversation with DeepSeek-V4, whose cache cannot be cut, can be taken back all the
same: whatever came before, the logits are those of a fresh evaluation of the same ids.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.engine.kv_notes import change_note
from support.engine.speculation import Scripted, generate
from support.gguf.tiny_v4 import N_VOCAB, write_tiny_v4

from dslocal.engine import LlamaContext, LlamaModel
from dslocal.engine.generate import Generation
from dslocal.engine.graph import EvalCallback, GraphObserver
from dslocal.engine.kv_cache.kv_state import restore_state, save_state, state_bytes
from dslocal.engine.sampling.sampler import Sampler
from dslocal.engine.slots.slot_pool import SlotPool
from dslocal.engine.speculation.draft_length import DraftLength
from dslocal.engine.speculation.speculation import Speculation
from dslocal.gguf.tensor_types import GgmlType
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.checkpoints import CHECKPOINT_SPACING, MAX_CHECKPOINTS

# Exact sums: with a cache in F16 a sum's last bit, which depends on the batch, becomes 1e-3.
EXACT = LoadConfig(4096, kv_type=GgmlType.F32, flash_attn=False)
DRAFTING = LoadConfig(4096, kv_type=GgmlType.F32, flash_attn=False, n_outputs=4)
SEVERAL = LoadConfig(1024, kv_type=GgmlType.F32, flash_attn=False, n_seq=8, n_outputs=8)
CLOSE = 1e-4  # logits have a standard deviation of 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaModel]:
    """A tiny V4."""
    with LlamaModel(write_tiny_v4(tmp_path_factory.mktemp("v4") / "v4.gguf")) as loaded:
        yield loaded


@pytest.fixture
def context(model: LlamaModel) -> Iterator[LlamaContext]:
    with LlamaContext(model, EXACT) as made:
        yield made


@pytest.fixture(scope="module")
def fresh(model: LlamaModel) -> Iterator[LlamaContext]:
    """Evaluates each prompt from the start."""
    with LlamaContext(model, EXACT) as made:
        yield made


def random_ids(count: int, seed: int = 1) -> list[int]:
    drawn = random.Random(seed)
    return [drawn.randrange(N_VOCAB) for _ in range(count)]


def assert_like_fresh(context: LlamaContext, fresh: LlamaContext) -> None:
    """The logits after what ``context`` holds are those of a fresh evaluation."""
    fresh.clear()
    fresh.prefill(context.ids)
    assert np.abs(context.logits() - fresh.logits()).max() <= CLOSE


def test_a_prompt_that_leaves_the_last_one_anywhere(
    context: LlamaContext, fresh: LlamaContext
) -> None:
    drawn = random.Random(3)
    ids = random_ids(1200)
    context.prefill(ids)
    for turn in range(10):
        kept = ids[: drawn.randrange(1, len(ids))]
        ids = kept + random_ids(drawn.randrange(1, 300), turn)
        assert context.prefill(ids) <= len(kept)
        assert context.ids == ids
        assert_like_fresh(context, fresh)


@pytest.mark.parametrize(
    ("changed_at", "cached"),
    [
        pytest.param(-2, -4, id="the tags that open the answer"),
        pytest.param(700, 500, id="the last question"),
        pytest.param(300, 0, id="a question without a checkpoint before it"),
    ],
)
def test_what_is_evaluated_again(context: LlamaContext, changed_at: int, cached: int) -> None:
    """Proves that both ends of each prompt can be returned to, here of 500 and of 800 tokens."""
    ids = random_ids(800)
    context.prefill(ids[:500])
    context.prefill(ids)
    ids[changed_at] = (ids[changed_at] + 1) % N_VOCAB
    assert context.prefill(ids) == cached % len(ids)


def test_a_turn_without_its_reasoning_is_evaluated_from_the_question(
    context: LlamaContext, fresh: LlamaContext
) -> None:
    """Ten turns as a chat makes them: each next prompt lacks the reasoning of the last answer."""
    history: list[int] = []
    evaluated = 0
    for turn in range(10):
        prompt = history + random_ids(60, turn) + [1]
        cached = context.prefill([*prompt, 2])
        evaluated += len(prompt) + 1 - cached
        answer = generate(context, [*prompt, 2], temperature=1.0, seed=turn, max_tokens=40).ids
        assert_like_fresh(context, fresh)
        history = [*prompt, 3, *answer[-20:]]
    assert evaluated < 10 * (60 + 20 + 2 + 4), "the history is not evaluated again"


def test_checkpoints_stay_few_and_apart(context: LlamaContext) -> None:
    for start in range(0, 3 * CHECKPOINT_SPACING, 64):
        context.evaluate(random_ids(64, start))
    lengths = context.memory.checkpoint_lengths
    assert lengths == [CHECKPOINT_SPACING * n for n in (1, 2, 3)]
    for length in range(100, 3000, 100):
        context.prefill(context.ids[:length])
    assert len(context.memory.checkpoint_lengths) <= MAX_CHECKPOINTS


def test_an_aborted_evaluation_leaves_no_trace(context: LlamaContext, fresh: LlamaContext) -> None:
    ids = random_ids(700)
    context.prefill(ids)
    context.abort.set()
    with pytest.raises(KeyboardInterrupt):
        context.evaluate(random_ids(5, seed=2))
    context.abort.clear()
    assert context.ids == ids[: len(context.ids)]
    context.prefill(random_ids(5, seed=3) if not context.ids else [*ids, 7])
    assert_like_fresh(context, fresh)


class AbortsOnce(GraphObserver):
    """Sets a context's abort flag, as Ctrl-C does, at the first node after it was armed."""

    def __init__(self) -> None:
        self.armed: LlamaContext | None = None

    def wants(self, address: int) -> bool:
        if self.armed:
            self.armed.abort.set()
            self.armed = None
        return False

    def take(self, address: int) -> None:
        raise AssertionError("no node is wanted")


def test_ctrl_c_within_a_token_loses_nothing_of_the_answer(
    model: LlamaModel, fresh: LlamaContext
) -> None:
    prompt, observer = random_ids(300), AbortsOnce()
    with LlamaContext(model, EXACT, eval_callback=EvalCallback(observer)) as context:
        answer = Generation(context, prompt, Sampler(1.0, 1.0, 1), max_tokens=60)
        tokens = iter(answer)
        for _ in range(40):
            next(tokens)
        observer.armed = context
        with pytest.raises(KeyboardInterrupt):
            next(tokens)
        assert context.ids == [*prompt, *answer.ids]
        context.abort.clear()
        cached = context.prefill([*prompt, *answer.ids, 7])
        assert cached == len(prompt) + len(answer.ids)
        assert_like_fresh(context, fresh)


def test_ctrl_c_ends_a_prompt_at_once(model: LlamaModel, fresh: LlamaContext) -> None:
    prompt, observer = random_ids(300), AbortsOnce()
    with LlamaContext(model, EXACT, eval_callback=EvalCallback(observer)) as context:
        observer.armed = context
        with pytest.raises(KeyboardInterrupt):
            context.prefill(prompt)
        assert len(context.ids) < len(prompt)
        context.abort.clear()
        context.prefill(prompt)
        assert_like_fresh(context, fresh)


@pytest.mark.parametrize("right", [0, 1, 2, 3])
def test_drafts_change_nothing(model: LlamaModel, right: int) -> None:
    prompt = random_ids(300)
    with LlamaContext(model, DRAFTING) as plain:
        expected = generate(plain, prompt, max_tokens=60).ids
    with LlamaContext(model, DRAFTING) as drafting:
        known = [*prompt, *expected]
        Speculation(drafting, Scripted(known, right=right), DraftLength([3], optional=False))
        found = generate(drafting, prompt, max_tokens=60)
        assert found.ids == expected
        assert found.drafted > 0
        assert drafting.ids in (known, known[:-1])


def test_a_state_file_is_restored_and_continued(
    model: LlamaModel, context: LlamaContext, fresh: LlamaContext, tmp_path: Path
) -> None:
    context.prefill(random_ids(700))
    save_state(context, tmp_path / "state")
    with LlamaContext(model, EXACT) as later:
        assert restore_state(later, tmp_path / "state") == 700
        assert later.prefill([*later.ids, 5, 6]) == 700
        assert_like_fresh(later, fresh)
        assert later.prefill([*later.ids[:700], 9]) == 700
        assert_like_fresh(later, fresh)


def test_a_restored_state_is_taken_back(
    model: LlamaModel, context: LlamaContext, fresh: LlamaContext, tmp_path: Path
) -> None:
    """The reasoning of the last answer is left out after a restart, as it is without one."""
    prompt = random_ids(700)
    context.prefill(prompt)
    generate(context, prompt, temperature=1.0, max_tokens=40)
    save_state(context, tmp_path / "state")
    assert (tmp_path / "state").stat().st_size == pytest.approx(state_bytes(context), abs=1000)
    with LlamaContext(model, EXACT) as later:
        restore_state(later, tmp_path / "state")
        assert later.memory.checkpoint_lengths == context.memory.checkpoint_lengths
        assert later.prefill([*prompt[:-1], *random_ids(80, seed=2)]) >= 696
        assert_like_fresh(later, fresh)


@pytest.mark.parametrize(
    "checkpoints",
    [5, [5], [[1, 2, 3]], [["x", 1]], [[900, 8]], [[5, -8]], [[5, 1 << 40]], [[5, 1 << 70]]],
)
def test_a_note_of_wrong_checkpoints_is_not_believed(
    context: LlamaContext, fresh: LlamaContext, tmp_path: Path, checkpoints: object
) -> None:
    context.prefill(random_ids(700))
    save_state(context, tmp_path / "state")
    change_note(tmp_path / "state", checkpoints=checkpoints)
    context.clear()
    assert restore_state(context, tmp_path / "state") == 0
    assert context.prefill(random_ids(650)) == 0
    assert_like_fresh(context, fresh)


def test_eight_slots_answer_as_each_alone(model: LlamaModel) -> None:
    """Each asks twice, and leaves out the end of its first answer the second time."""
    prompts = [random_ids(150 + 20 * number, number) for number in range(8)]

    def converse(slot: LlamaContext, prompt: list[int]) -> list[int]:
        first = generate(slot, prompt, max_tokens=20).ids
        second = generate(slot, [*prompt[:-2], 4, *first[:5], 6, 7], max_tokens=20).ids
        return first + second

    with LlamaContext(model, EXACT) as alone:
        expected = [converse(alone, prompt) for prompt in prompts]
    found: dict[int, list[int]] = {}
    with LlamaContext(model, SEVERAL) as host, SlotPool(host) as pool:

        def work(number: int) -> None:
            found[number] = converse(pool.slots[number], prompts[number])
            pool.slots[number].mark_idle()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [found[number] for number in range(8)] == expected
        copy = pool.slots[0]
        copy.copy(pool.slots[5], len(prompts[5]) - 1)
        assert generate(copy, prompts[5], max_tokens=20).ids == expected[5][:20]
