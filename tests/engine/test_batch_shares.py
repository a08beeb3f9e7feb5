"""Proves how prompts share steps with answers: in what order, and that none waits for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dslocal.engine.slots.batch_shares import PATIENCE, deadline, share_batch
from dslocal.engine.slots.step_times import MAX_STALL_S, StepTimes, whole_products
from dslocal.engine.slots.turns import StepKind, Turns

BATCH = 512
FAST = StepTimes()
FAST.record(0.01, 4, 4)
FAST.record(0.1, 256, 1)  # 179 tokens in the time that a piece of a prompt may take


@dataclass(eq=False)
class Waiting:
    """A slot: its sequence, the ids that it waits for, and the deadline of its prompt."""

    seq_id: int
    pending: list[int]
    deadline: int = 0

    @property
    def is_prompt(self) -> bool:
        return len(self.pending) > 1


def waiting(lengths: list[int], deadlines: list[int] | None = None) -> list[Waiting]:
    due = deadlines or [deadline(0, length) for length in lengths]
    return [
        Waiting(seq_id, list(range(length)), each)
        for seq_id, (length, each) in enumerate(zip(lengths, due, strict=True))
    ]


@pytest.mark.parametrize(
    ("turn", "lengths", "deadlines", "shares"),
    [
        (StepKind.BOTH, [1, 1, 1], None, [1, 1, 1]),
        (StepKind.BOTH, [511], None, [511]),
        (StepKind.BOTH, [700], None, [512]),
        (StepKind.BOTH, [1, 700], None, [1, 129]),  # whole products
        (StepKind.BOTH, [1, 101], None, [1, 65]),
        (StepKind.BOTH, [700, 20, 1], None, [1, 20, 1]),  # it begins sooner without the long one
        (StepKind.BOTH, [700, 20, 30], None, [1, 20, 30]),
        (StepKind.BOTH, [100, 20, 300], None, [100, 20, 300]),  # all fit
        (StepKind.BOTH, [700, 20, 1], [50, 60, 0], [129, 1, 1]),  # the long one has waited
        (StepKind.BOTH, [700, 20], [50, 60], [511, 1]),
        (StepKind.BOTH, [700, 200, 1], [50, 60, 0], [129, 1, 1]),
        (
            StepKind.BOTH,
            [20, 700, 20],
            [10, 20, 30],
            [20, 1, 1],
        ),  # nobody overtakes what cannot fit
        (StepKind.PROMPTS, [1, 700], None, [0, 128]),
        (StepKind.PROMPTS, [1, 100], None, [0, 64]),
        (StepKind.PROMPTS, [1, 40], None, [0, 40]),
        (StepKind.PROMPTS, [700, 20, 1, 30], None, [0, 20, 0, 30]),
        (StepKind.PROMPTS, [700, 20, 1], [50, 60, 0], [128, 0, 0]),
        (
            StepKind.PROMPTS,
            [100, 20, 1],
            [50, 60, 0],
            [64, 0, 0],
        ),  # its rest comes before the others
        (StepKind.PROMPTS, [1, 1], None, [1, 1]),  # there is no prompt
        (StepKind.PROMPTS, [700], None, [512]),  # nor an answer
        (StepKind.ANSWERS, [1, 700, 20, 1], None, [1, 1, 1, 1]),  # a gap would part them
        (StepKind.ANSWERS, [700, 20], None, [1, 20]),
    ],
)
def test_what_each_gets(
    turn: StepKind, lengths: list[int], deadlines: list[int] | None, shares: list[int]
) -> None:
    slots = waiting(lengths, deadlines)
    shared = share_batch(slots[::-1], BATCH, FAST, turn)
    expected = [(slot, length) for slot, length in zip(slots, shares, strict=True) if length]
    assert [(slot, len(ids)) for slot, ids in shared] == expected
    assert all(ids == slot.pending[: len(ids)] for slot, ids in shared)


@pytest.mark.parametrize("batch_tokens", [4, 8])
def test_a_full_batch_has_one_token_of_each(batch_tokens: int) -> None:
    shared = share_batch(waiting([9] * 8), batch_tokens, FAST, StepKind.BOTH)
    assert [len(ids) for _, ids in shared] == [1] * 8


def test_prompts_go_first_until_answers_have_waited() -> None:
    turns, now_s = Turns(), 100.0
    taken: list[StepKind] = []
    for _ in range(9):
        turn = turns.next(FAST, now_s)
        taken.append(turn)
        now_s += FAST.decode_s if turn is StepKind.ANSWERS else FAST.piece_s
        turns.record(turn is not StepKind.PROMPTS, now_s)
    pieces = [
        StepKind.PROMPTS
    ] * 3  # as many as end within MAX_STALL_S, with the step of the answers
    assert taken == [StepKind.BOTH, *pieces, StepKind.ANSWERS, *pieces, StepKind.ANSWERS]


@pytest.mark.parametrize("decode_s", [0.001, 0.02, 0.1, 0.3, 2.0])
@pytest.mark.parametrize("token_s", [0.00001, 0.0005, 0.002, 0.01, 0.5])
def test_neither_prompts_nor_answers_wait_for_ever(decode_s: float, token_s: float) -> None:
    """On a fast machine or a slow one: of two steps, one is for prompts."""
    times = StepTimes()
    times.record(decode_s, 4, 4)
    times.record(token_s * 20, 20, 1)
    turns, now_s = Turns(), 100.0
    waited_s, steps_without_prompts = 0.0, 0
    for _ in range(200):
        turn = turns.next(times, now_s)
        shared = share_batch(waiting([1, 1, 5000]), BATCH, times, turn)
        seconds = sum(len(ids) for _, ids in shared if len(ids) > 1) * token_s
        seconds += decode_s if turn is not StepKind.PROMPTS else 0
        now_s, waited_s = now_s + seconds, waited_s + seconds
        turns.record(turn is not StepKind.PROMPTS, now_s)
        assert waited_s <= max(MAX_STALL_S, decode_s, 17 * token_s) + decode_s + token_s
        if turn is not StepKind.PROMPTS:
            waited_s = 0.0
        steps_without_prompts = steps_without_prompts + 1 if turn is StepKind.ANSWERS else 0
        assert steps_without_prompts <= 1


@pytest.mark.parametrize(
    ("tokens", "evaluated"), [(1, 1), (63, 63), (64, 64), (65, 64), (127, 64), (450, 448)]
)
def test_a_piece_is_a_number_of_whole_products_or_less_than_one(
    tokens: int, evaluated: int
) -> None:
    assert whole_products(tokens) == evaluated


def tokens_until_done(
    length: int, slots: int, others: Callable[[], int], already: int = 0
) -> tuple[int, int]:
    """Return the tokens of prompts that are evaluated until a prompt is done, and their bound.

    Args:
        length: The tokens of the prompt.
        slots: In all but one of them there is always another prompt.
        others: Returns the tokens of the next one.
        already: Steps that are made before the prompt comes.
    """
    evaluated = came = 0
    longest = length
    watched = Waiting(0, [0], 0)  # an answer until the prompt comes
    rest = [Waiting(seq_id, []) for seq_id in range(1, slots)]
    turns = random.Random(length)
    for step in range(100_000):
        for slot in rest:
            if not slot.pending:
                slot.pending = [0] * others()
                slot.deadline = deadline(evaluated, len(slot.pending))
                longest = max(longest, len(slot.pending))
        if step == already:
            watched.pending, watched.deadline = [0] * length, deadline(evaluated, length)
            came = evaluated
        turn = turns.choice(list(StepKind))
        for slot, ids in share_batch([watched, *rest], BATCH, FAST, turn):
            evaluated += len(ids) if slot.is_prompt else 0
            if slot is not watched or step >= already:
                del slot.pending[: len(ids)]
        if not watched.pending:
            return evaluated - came, PATIENCE * length + slots * longest
    raise AssertionError("it waits for ever")


@pytest.mark.parametrize("length", [2, 50, 600, 3000])
@pytest.mark.parametrize("slots", [2, 4, 16])
@pytest.mark.parametrize("others", [[2], [20], [449], [2000], [20, 700], [2, 3000]])
def test_no_prompt_waits_for_ever(length: int, slots: int, others: list[int]) -> None:
    """However many others come, longer or shorter, before it and after it."""
    rng = random.Random(length * slots)
    for already in (0, 7):
        found, bound = tokens_until_done(length, slots, lambda: rng.choice(others), already)
        assert found <= bound


def test_a_short_prompt_does_not_wait_for_long_ones() -> None:
    found, _ = tokens_until_done(20, 8, lambda: 3000)
    assert found < BATCH
