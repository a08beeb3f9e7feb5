"""Proves that conversations side by side give the same tokens as alone, that caches are copied, and
that ending one leaves the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engine.speculation import generate, prompt_ids

from dslocal.engine import Generation, LlamaContext, LlamaModel, Sampler
from dslocal.engine.sizing import no_alloc
from dslocal.engine.slots import slot_pool, step_times
from dslocal.engine.slots.slot import Slot
from dslocal.engine.slots.slot_choice import choose_slot
from dslocal.engine.slots.slot_pool import SlotPool
from dslocal.errors import EngineError
from dslocal.gguf.header import read_header
from dslocal.plan.load_config import LoadConfig
from dslocal.plan.memory.footprint import footprint
from dslocal.prefix import common_prefix_length

SEVERAL = LoadConfig(1024, n_seq=4, n_outputs=4)
QUESTIONS = ("What is 47 × 86?", "What is 31 + 57?", "capital of peru", "What is 12 × 34?")


@pytest.fixture(scope="module")
def pool(model: LlamaModel) -> Iterator[SlotPool]:
    with LlamaContext(model, SEVERAL) as host, SlotPool(host) as several:
        yield several


@pytest.fixture(autouse=True)
def empty(pool: SlotPool) -> None:
    for slot in pool.slots:
        slot.clear()
        slot.abort.clear()


def at_once(*calls: Callable[[], object]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_each_says_what_it_says_alone(
    pool: SlotPool, model: LlamaModel, context: LlamaContext
) -> None:
    alone = []
    for question in QUESTIONS:
        context.clear()
        alone.append(generate(context, prompt_ids(model, question), temperature=0.6, seed=3).ids)
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        slot = pool.slots[number]
        found[number] = generate(
            slot, prompt_ids(model, QUESTIONS[number]), temperature=0.6, seed=3
        ).ids
        slot.mark_idle()

    before = pool.steps
    at_once(*(lambda number=number: ask(number) for number in range(4)))
    assert [found[number] for number in range(4)] == alone
    assert pool.steps - before < 0.7 * sum(map(len, alone)), "they are evaluated together"


def test_a_copy_continues_as_its_original(pool: SlotPool, model: LlamaModel) -> None:
    one, other = pool.slots[0], pool.slots[2]
    prompt = prompt_ids(model)
    generate(one, prompt, max_tokens=30)
    other.copy(one, len(prompt))
    assert other.ids == prompt
    again = Generation(other, prompt, Sampler(0, 1, 1), max_tokens=30)
    assert list(again) == generate(one, prompt, max_tokens=30).ids
    assert again.cached == len(prompt) - 1


def test_a_long_prompt_does_not_hold_up_a_stream(
    pool: SlotPool, model: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_times, "MAX_STALL_S", 0.02)
    one, other = pool.slots[0], pool.slots[1]
    long = prompt_ids(model, "word " * 700)
    came: list[float] = []

    def speak() -> None:
        for _ in Generation(one, prompt_ids(model), Sampler(0, 1, 1), max_tokens=150):
            came.append(time.perf_counter())
        one.mark_idle()

    spans: list[tuple[float, float]] = []

    def read() -> None:
        while len(came) < 10:
            time.sleep(0.001)
        began = time.perf_counter()
        other.prefill(long)
        spans.append((began, time.perf_counter()))
        other.mark_idle()

    at_once(speak, read)
    assert sum(spans[0][0] < at < spans[0][1] for at in came) >= 3


def test_a_prompt_does_not_wait_for_a_stream(
    pool: SlotPool, model: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its pieces come before the stream's next token, as far as that may wait."""
    monkeypatch.setattr(step_times, "MAX_STALL_S", 100.0)
    speaking, reading = pool.slots[:2]
    prompt = prompt_ids(model, "word " * 700)
    came = 0
    at_begin: list[int] = []
    at_end: list[int] = []
    ended = threading.Event()

    def read() -> None:
        at_begin.append(came)
        reading.prefill(prompt)
        at_end.append(came)

    def speak() -> None:
        nonlocal came
        for _ in Generation(speaking, prompt_ids(model), Sampler(0, 1, 1), max_tokens=60):
            came += 1
            if came == 10:
                reading.run(read)
        ended.set()

    before = pool.steps
    speaking.run(speak)
    assert ended.wait(60)
    assert at_begin == at_end
    assert pool.steps - before > 60 + 4, "it takes several steps, between which others may come"


def test_one_that_leaves_leaves_the_others(pool: SlotPool, model: LlamaModel) -> None:
    leaving, staying = pool.slots[0], pool.slots[1]
    raised: list[BaseException] = []
    kept: list[int] = []

    def leave() -> None:
        try:
            for number, _ in enumerate(
                Generation(leaving, prompt_ids(model), Sampler(0, 1, 1), max_tokens=400)
            ):
                if number == 10:
                    leaving.abort.set()
        except KeyboardInterrupt as e:
            raised.append(e)
        leaving.mark_idle()

    def stay() -> None:
        kept.extend(generate(staying, prompt_ids(model), max_tokens=60).ids)
        staying.mark_idle()

    at_once(leave, stay)
    assert len(raised) == 1
    assert len(kept) == 60
    leaving.abort.clear()
    assert generate(leaving, prompt_ids(model), max_tokens=60).ids == kept


def test_a_job_takes_part_in_the_next_step(pool: SlotPool, model: LlamaModel) -> None:
    """What comes while a step is at work does not wait for another one."""
    busy, new = pool.slots[:2]
    steps: list[int] = []
    ended = threading.Event()

    def read() -> None:
        new.prefill(prompt_ids(model))
        steps.append(pool.steps)

    def come() -> None:
        steps.append(pool.steps + 1)  # when the one at work has ended
        new.run(read)

    def speak() -> None:
        generate(busy, prompt_ids(model), max_tokens=20)
        ended.set()

    model.on_first_evaluation(come)
    busy.run(speak)
    assert ended.wait(60)
    assert steps[1] == steps[0] + 1


@pytest.mark.parametrize("comes", [True, False])
def test_the_next_step_waits_for_a_job_that_is_expected(
    pool: SlotPool, model: LlamaModel, monkeypatch: pytest.MonkeyPatch, *, comes: bool
) -> None:
    """It takes part in that step, and if it does not come, the others go on without it."""
    monkeypatch.setattr(slot_pool, "MAX_JOB_WAIT_S", 30.0 if comes else 0.001)
    busy, ending, new = pool.slots[:3]
    steps: list[int] = []
    is_released, ended = threading.Event(), threading.Event()

    def end() -> None:
        ending.prefill(prompt_ids(model))
        steps.append(pool.steps)
        ending.expect_job()
        is_released.set()

    def read() -> None:
        new.prefill(prompt_ids(model))
        steps.append(pool.steps)

    def speak() -> None:
        generate(busy, prompt_ids(model), max_tokens=20)
        ended.set()

    busy.run(speak)
    ending.run(end)
    assert is_released.wait(60)
    if comes:
        new.run(read)
    assert ended.wait(60)
    assert steps == ([steps[0], steps[0] + 1] if comes else steps[:1])


def test_one_that_leaves_does_not_wait_for_the_next_step(pool: SlotPool, model: LlamaModel) -> None:
    leaving, staying = pool.slots[:2]
    steps: list[int] = []
    ended = threading.Event()

    def speak() -> None:
        with pytest.raises(KeyboardInterrupt):
            generate(leaving, prompt_ids(model), max_tokens=50)
        steps.append(pool.steps)

    def stay() -> None:
        generate(staying, prompt_ids(model), max_tokens=20)
        ended.set()

    def leave() -> None:
        steps.append(pool.steps + 1)
        leaving.abort.set()

    leaving.run(speak)
    staying.run(stay)
    model.on_first_evaluation(leave)
    assert ended.wait(60)
    assert steps[1] == steps[0]


def test_a_long_prompt_takes_whole_steps(
    pool: SlotPool, model: LlamaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pieces end where steps do, so that no rest of a piece takes a step of its own."""
    monkeypatch.setattr(step_times, "MAX_STALL_S", 100.0)
    monkeypatch.setattr(step_times, "MAX_PIECE_S", 50.0)
    speaking, reading = pool.slots[:2]
    room = 448  # whole products in a batch of 512, beside four slots
    prompt = prompt_ids(model, "word " * 900)[: 2 * room]
    steps: list[int] = []
    ended = threading.Event()

    def read() -> None:
        before = pool.steps
        reading.prefill(prompt)
        steps.append(pool.steps - before)

    def speak() -> None:
        for number, _ in enumerate(
            Generation(speaking, prompt_ids(model), Sampler(0, 1, 1), max_tokens=60)
        ):
            if number == 5:
                reading.run(read)
        ended.set()

    speaking.run(speak)
    assert ended.wait(60)
    assert steps == [2]


def test_a_prompt_is_given_up(pool: SlotPool, model: LlamaModel) -> None:
    slot, prompt = pool.slots[3], prompt_ids(model, "word " * 900)
    with pytest.raises(KeyboardInterrupt):
        slot.prefill(prompt, lambda done, total: slot.abort.set())
    assert 0 < len(slot.ids) < len(prompt)
    slot.abort.clear()
    assert generate(slot, prompt_ids(model), max_tokens=5).ids


@pytest.mark.timed
def test_a_prompt_is_given_up_at_once(pool: SlotPool, model: LlamaModel) -> None:
    slot = pool.slots[3]
    ended: list[float] = []

    def read() -> None:
        with pytest.raises(KeyboardInterrupt):
            slot.prefill(prompt_ids(model, "word " * 900))
        ended.append(time.perf_counter())

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.05)
    left = time.perf_counter()
    slot.abort.set()
    thread.join(60)
    assert ended[0] - left < 2
    slot.abort.clear()
    assert generate(slot, prompt_ids(model), max_tokens=5).ids


def test_closing_ends_what_waits(model: LlamaModel) -> None:
    """A long prompt in a thread, an answer in the scheduler's, and what comes too late."""
    prompt = prompt_ids(model, "word " * 900)
    ended: list[str] = []
    with LlamaContext(model, SEVERAL) as host, SlotPool(host) as pool:
        read, spoken = pool.slots[:2]
        late = pool.slots[2]

        def prefill(slot: Slot, *, name: str) -> None:
            with pytest.raises(KeyboardInterrupt):
                slot.prefill(prompt)
            ended.append(name)

        thread = threading.Thread(target=prefill, args=(read,), kwargs={"name": "thread"})
        thread.start()
        spoken.run(lambda: prefill(spoken, name="scheduler"))
        while not read.ids:
            time.sleep(0.001)
        pool.close()
        thread.join(60)
        assert sorted(ended) == ["scheduler", "thread"]
        for refused in (lambda: late.prefill(prompt), lambda: late.copy(read, 1)):
            with pytest.raises(KeyboardInterrupt):
                refused()


def test_what_does_not_fit_is_refused(pool: SlotPool) -> None:
    with pytest.raises(EngineError, match=r"1,025 tokens in a context of 1,024"):
        pool.slots[0].evaluate([5] * 1025)


class Held:
    """What a slot holds: a prompt, and an answer after it."""

    def __init__(self, *ids: int) -> None:
        self.ids, self.prompt_length = [*ids, *range(20000, 20500 if ids else 20000)], len(ids)


TALK, OTHER = range(100), range(1000, 1100)


@pytest.mark.parametrize(
    ("held", "prompt", "chosen", "source"),
    [
        ([(), ()], TALK, 0, None),
        ([OTHER, TALK], range(120), 1, None),
        ([TALK, ()], OTHER, 1, None),
        ([TALK, OTHER], range(5000, 5100), 0, None),
        ([OTHER, [*range(50), *range(9000, 9100)]], TALK, 0, 1),
        ([OTHER, [*range(10), *range(9000, 9100)]], TALK, 0, None),
        ([[*range(50), *range(9000, 9100)]], TALK, 0, None),
    ],
    ids=[
        "empty",
        "continues",
        "an empty one first",
        "the longest rested",
        "a beginning is copied",
        "too short to copy",
        "the only one",
    ],
)
def test_where_a_conversation_goes(
    held: list[range], prompt: range, chosen: int, source: int | None
) -> None:
    idle = [Held(*ids) for ids in held]
    assert choose_slot(idle, list(prompt)) == (
        idle[chosen],
        None if source is None else idle[source],
    )


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [([], [], 0), ([1], [], 0), ([1, 2], [1, 2, 3], 2), ([1, 5, 3], [1, 2, 3], 1)],
)
def test_what_two_prompts_have_in_common(one: list[int], other: list[int], alike: int) -> None:
    assert common_prefix_length(one, other) == alike


def test_memory_is_planned_to_the_byte(nano: Path) -> None:
    header = read_header(nano)
    load_configs = [
        LoadConfig(n_ctx, n_seq=n, n_outputs=n, n_ubatch=ubatch)
        for n, n_ctx, ubatch in ((2, 1000, 512), (3, 512, 64), (16, 4096, 512))
    ]
    for load_config, exact in zip(
        load_configs, no_alloc.exact_memory_uses(nano, load_configs), strict=True
    ):
        assert footprint(header, load_config) == exact
