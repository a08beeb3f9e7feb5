"""Proves how prompts share a batch with answers: in what order, and that none waits for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dslocal.engine.slots.batch_shares import PATIENCE, deadline, share_batch
from dslocal.engine.slots.step_times import StepTimes

BATCH = 512
FAST = StepTimes()
FAST.record(0.01, 4, 4)
FAST.record(0.1, 256, 1)  # 640 tokens in the time that a prompt may hold up answers


@dataclass(eq=False)
class Waiting:
    """A slot: its sequence, the ids that it waits for, and the deadline of its prompt."""

    seq_id: int
    pending: list[int]
    deadline: int = 0


def waiting(lengths: list[int], deadlines: list[int] | None = None) -> list[Waiting]:
    due = deadlines or [deadline(0, length) for length in lengths]
    return [
        Waiting(seq_id, list(range(length)), each)
        for seq_id, (length, each) in enumerate(zip(lengths, due, strict=True))
    ]


@pytest.mark.parametrize(
    ("lengths", "deadlines", "shares"),
    [
        ([1, 1, 1], None, [1, 1, 1]),
        ([511], None, [511]),
        ([700], None, [512]),
        ([1, 700], None, [1, 449]),  # whole products
        ([700, 20, 1], None, [1, 20, 1]),  # the short one begins sooner without the long one
        ([700, 20, 30], None, [1, 20, 30]),
        ([100, 20, 300], None, [100, 20, 300]),  # all fit
        ([700, 20, 1], [50, 60, 0], [449, 1, 1]),  # the long one has waited
        ([700, 20], [50, 60], [511, 1]),
        ([700, 200, 1], [50, 60, 0], [449, 1, 1]),
        ([20, 700, 20], [10, 20, 30], [20, 1, 1]),  # nobody overtakes one that does not fit
    ],
)
def test_what_each_gets(lengths: list[int], deadlines: list[int] | None, shares: list[int]) -> None:
    slots = waiting(lengths, deadlines)
    shared = share_batch(slots[::-1], BATCH, FAST)
    assert [slot for slot, _ in shared] == slots
    assert [len(ids) for _, ids in shared] == shares
    assert all(ids == slot.pending[: len(ids)] for slot, ids in shared)


@pytest.mark.parametrize("batch_tokens", [4, 8])
def test_a_full_batch_has_one_token_of_each(batch_tokens: int) -> None:
    shared = share_batch(waiting([9] * 8), batch_tokens, FAST)
    assert [len(ids) for _, ids in shared] == [1] * 8


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
    for step in range(100_000):
        for slot in rest:
            if not slot.pending:
                slot.pending = [0] * others()
                slot.deadline = deadline(evaluated, len(slot.pending))
                longest = max(longest, len(slot.pending))
        if step == already:
            watched.pending, watched.deadline = [0] * length, deadline(evaluated, length)
            came = evaluated
        for slot, ids in share_batch([watched, *rest], BATCH, FAST):
            evaluated += len(ids) - 1
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
