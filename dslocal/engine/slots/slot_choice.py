"""Which conversation goes where: the lane whose cache shares most with a prompt, but not at the
price of another conversation's.

Pure functions over what the caches hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

WORTH = 32  # tokens in common from which a cache is worth going on from, or copying
OWN = 0.5  # of the last prompt that must be in common for the conversation to be the same


class Cache(Protocol):
    """What holds ids, the first ``prompt_length`` of which were a prompt: the rest is an answer, whose
    thought no later prompt has.
    """

    ids: list[int]
    prompt_length: int


C = TypeVar("C", bound=Cache)


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two prompts begin with alike."""
    most = min(len(one), len(other))
    if list(one[:most]) == list(other[:most]):
        return most
    return next(i for i in range(most) if one[i] != other[i])


def choose_slot(idle: Sequence[C], ids: Sequence[int]) -> tuple[C, C | None]:
    """The lane for a prompt of ``ids`` among those that are ``idle``, the one that has rested
    longest first, and another whose beginning is to be copied there.

    A lane goes on where the prompt shares most of its last one. Else the prompt is a conversation
    of its own, which takes an empty lane or the one that has rested longest, and a beginning that
    it shares with another, as the same instructions, is copied.
    """
    shared = {id(lane): common_prefix_length(lane.ids, ids) for lane in idle}
    best = max(idle, key=lambda lane: shared[id(lane)])
    if not best.ids or shared[id(best)] >= OWN * best.prompt_length:
        return best, None
    target = next((lane for lane in idle if not lane.ids), idle[0])
    if target is best or shared[id(best)] - shared[id(target)] < WORTH:
        return target, None
    return target, best
