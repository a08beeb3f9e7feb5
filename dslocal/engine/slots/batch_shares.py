"""Share the room of a batch between running answers and prompts.

Running answers get one token each. The rest of the room is for prompts, in the order of their
deadlines, which count tokens of prompts: a prompt of n tokens that comes when t tokens have been
evaluated has the deadline t + PATIENCE · n. So a short prompt does not wait for a long one that
came before it. Nor does a long one wait for ever: what comes after its deadline does not overtake
it. At most PATIENCE · n + s · m tokens of prompts are evaluated from when it comes until it is
done, in a pool of s slots whose longest prompt has m tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .step_times import StepTimes

PATIENCE = 2  # tokens that a prompt lets others have before it, for each of its own


class Sharer(Protocol):
    """What has ids in a batch.

    Attributes:
        seq_id: The number of its sequence.
        pending: Its ids that are to be evaluated, at least one: one of an answer, or a prompt.
        deadline: When its prompt should be done, see :func:`deadline`.
    """

    seq_id: int
    pending: list[int]
    deadline: int


S = TypeVar("S", bound=Sharer)


def deadline(evaluated: int, tokens: int) -> int:
    """Return when a prompt should be done, as a count of evaluated tokens of prompts.

    Args:
        evaluated: How many have been evaluated when it comes.
        tokens: How many are missing of the prompt.
    """
    return evaluated + PATIENCE * tokens


def share_batch(
    waiting: Sequence[S], batch_tokens: int, times: StepTimes
) -> list[tuple[S, list[int]]]:
    """Return the ids of each slot that go into the next batch, ordered by sequence.

    One token of each slot is in it, in the order of the sequences: llama.cpp evaluates neighbouring
    sequences together, and a gap would part them. A step takes as long as all that is in it, so
    short prompts do not take a part of a long one with them: their answers begin sooner.

    Args:
        waiting: The slots, at least one.
        batch_tokens: The room of the batch.
        times: How long steps take.
    """
    room = max(0, batch_tokens - len(waiting))
    if any(len(slot.pending) == 1 for slot in waiting):
        room = times.prompt_room(room)
    lengths = {slot.seq_id: 1 for slot in waiting}
    prompts = [slot for slot in waiting if len(slot.pending) > 1]
    for rank, slot in enumerate(sorted(prompts, key=lambda slot: slot.deadline)):
        missing = len(slot.pending) - 1
        if rank > 0 and missing > room:
            break
        lengths[slot.seq_id] += min(missing, room)
        room -= min(missing, room)
    in_order = sorted(waiting, key=lambda slot: slot.seq_id)
    return [(slot, slot.pending[: lengths[slot.seq_id]]) for slot in in_order]
