"""Choose the slot that evaluates a prompt: the one whose cache shares most with it, but not at the
price of another conversation's cache.

Pure functions over what the caches hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from dslocal.prefix import common_prefix_length

MIN_COPIED_TOKENS = 32  # a shorter common prefix is not worth copying
SAME_CONVERSATION = 0.5  # share of its last prompt that a slot must have in common with the next


class CachedPrompt(Protocol):
    """What a slot's cache holds: ``ids``, the first ``prompt_length`` of which were a prompt.

    The rest is an answer, whose reasoning no later prompt contains.
    """

    ids: list[int]
    prompt_length: int


S = TypeVar("S", bound=CachedPrompt)


def choose_slot(idle: Sequence[S], ids: Sequence[int]) -> tuple[S, S | None]:
    """Return the slot for a prompt, and another slot whose cache is to be copied into it.

    A slot continues its conversation if the prompt shares at least half of the slot's last prompt.
    Otherwise the prompt starts a conversation of its own. It takes an empty slot, or the one that
    has been idle longest, and copies the prefix that it shares with another slot, such as the same
    instructions.

    Args:
        idle: The slots that may be used, the one that has been idle longest first; at least one.
        ids: The prompt.

    Returns:
        The slot, and the slot to copy from or None.
    """
    shared = {id(slot): common_prefix_length(slot.ids, ids) for slot in idle}
    best = max(idle, key=lambda slot: shared[id(slot)])
    if not best.ids or shared[id(best)] >= SAME_CONVERSATION * best.prompt_length:
        return best, None
    target = next((slot for slot in idle if not slot.ids), idle[0])
    if target is best or shared[id(best)] - shared[id(target)] < MIN_COPIED_TOKENS:
        return target, None
    return target, best
