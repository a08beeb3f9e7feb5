"""Share the room of a batch between running answers and prompts.

Running answers get one token each, where it is their turn (:mod:`.turns`). The rest of the room is
for prompts, in the order of their deadlines, which count tokens of prompts: a prompt of n tokens
that comes when t tokens have been evaluated has the deadline t + PATIENCE · n. So a short prompt
does not wait for a long one that came before it. Nor does a long one wait for ever: what comes
after its deadline does not overtake it. At most PATIENCE · n + s · m tokens of prompts are
evaluated from when it comes until it is done, in a pool of s slots whose longest prompt has m
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .step_times import StepTimes, whole_products
from .turns import StepKind

PATIENCE = 2  # tokens that a prompt lets others have before it, for each of its own


class Sharer(Protocol):
    """What has ids in a batch.

    Attributes:
        seq_id: The number of its sequence.
        pending: Its ids that are to be evaluated, at least one: one of an answer, or of a prompt.
        deadline: When its prompt should be done, see :func:`deadline`.
    """

    seq_id: int
    pending: list[int]
    deadline: int

    @property
    def is_prompt(self) -> bool:
        """Return whether the pending ids are of a prompt."""


S = TypeVar("S", bound=Sharer)


def deadline(evaluated: int, tokens: int) -> int:
    """Return when a prompt should be done, as a count of evaluated tokens of prompts.

    Args:
        evaluated: How many have been evaluated when it comes.
        tokens: How many are missing of the prompt.
    """
    return evaluated + PATIENCE * tokens


def share_batch(
    waiting: Sequence[S], batch_tokens: int, times: StepTimes, turn: StepKind
) -> list[tuple[S, list[int]]]:
    """Return the ids of each slot that go into the next batch, ordered by sequence.

    One token of each slot is in a step with answers, in the order of the sequences: llama.cpp
    evaluates neighbouring sequences together, and a gap would part them. A step takes as long as
    all that is in it, so short prompts do not take a part of a long one with them: their answers
    begin sooner.

    Args:
        waiting: The slots, at least one.
        batch_tokens: The room of the batch.
        times: How long steps take.
        turn: Whose turn it is, if both answers and prompts wait.
    """
    prompts = sorted((slot for slot in waiting if slot.is_prompt), key=lambda slot: slot.deadline)
    has_answers = len(prompts) < len(waiting)
    if not prompts or not has_answers:
        turn = StepKind.BOTH
    lengths = {slot.seq_id: 1 for slot in waiting if turn is not StepKind.PROMPTS}
    room = max(0, batch_tokens - len(lengths))
    if has_answers:
        room = 0 if turn is StepKind.ANSWERS else times.prompt_room(room)
    for rank, slot in enumerate(prompts):
        have = lengths.get(slot.seq_id, 0)
        missing = len(slot.pending) - have
        if room == 0 or (rank > 0 and missing > room):
            break
        taken = min(missing, room)
        if has_answers:
            taken = whole_products(taken)
        lengths[slot.seq_id] = have + taken
        room -= taken
        if taken < missing:
            break
    in_order = sorted(waiting, key=lambda slot: slot.seq_id)
    shares = [slot for slot in in_order if slot.seq_id in lengths]
    return [(slot, slot.pending[: lengths[slot.seq_id]]) for slot in shares]
