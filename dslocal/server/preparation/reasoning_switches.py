"""Decide whether an answer begins with reasoning, how thorough it is and how long, by the family's
rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dslocal import prompts
from dslocal.server.exchange.tasks import ReasoningSwitch, ReasoningWish
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError

from .requests import ServedModel


@dataclass(frozen=True)
class ReasoningChoice:
    """How an answer begins, its reasoning's budget, and what the client should know.

    Attributes:
        thinking: How the answer begins.
        budget: Tokens of reasoning at most; None for no limit.
        budget_field: The field that has the budget.
        effort: How thoroughly the model reasons; None for the family's default.
        ignored: What was not obeyed.
    """

    thinking: prompts.Thinking
    budget: int | None
    budget_field: str
    effort: str | None = None
    ignored: tuple[IgnoredField, ...] = ()


def choose_reasoning(
    served: ServedModel, wish: ReasoningWish, *, has_prefilled_call: bool
) -> ReasoningChoice:
    """Return what a request's wish means for the model.

    Args:
        served: The model, which has its own default.
        wish: What the request says.
        has_prefilled_call: Whether the prompt ends within a tool call, so that nothing comes first.

    Raises:
        ApiError: 400 where two fields contradict each other, and where reasoning is to be enabled
            and the family has none.
    """
    switches = wish.switches
    _refuse_contradiction(switches)
    modes = served.family.thinking_modes
    without = prompts.Thinking.BYPASSED if prompts.Thinking.BYPASSED in modes else modes[0]
    thinking = served.thinking
    if has_prefilled_call or (switches and not switches[0].is_on):
        thinking = without
    elif switches and prompts.Thinking.FORCED in modes:
        thinking = prompts.Thinking.FORCED
    elif switches:
        _refuse_switch(served, switches)
        thinking = without
    levels = [switch for switch in switches if switch.level and switch.is_on]
    _refuse_two_levels(levels)
    effort = levels[0].level if levels and served.family.efforts else None
    unused = [] if served.family.efforts else levels
    if prompts.Thinking.FORCED not in modes:
        unused = [switch for switch in switches if switch.is_hint and switch.is_on]
    ignored = tuple(IgnoredField(switch.field, _level_note(served)) for switch in unused)
    return ReasoningChoice(thinking, wish.budget, wish.budget_field, effort, ignored)


def _refuse_contradiction(switches: Sequence[ReasoningSwitch]) -> None:
    for switch in switches[1:]:
        if switch.is_on is not switches[0].is_on:
            raise _contradiction(switches[0], switch)


def _refuse_two_levels(levels: Sequence[ReasoningSwitch]) -> None:
    for switch in levels[1:]:
        if switch.level != levels[0].level:
            raise _contradiction(levels[0], switch)


def _contradiction(one: ReasoningSwitch, other: ReasoningSwitch) -> ApiError:
    return ApiError(
        400,
        f"{one.field} and {other.field} contradict each other: send one of them",
        param=other.field,
    )


def _refuse_switch(served: ServedModel, switches: Sequence[ReasoningSwitch]) -> None:
    """Refuse to enable reasoning that the family does not have; a hint is only noted."""
    for switch in switches:
        if not switch.is_hint:
            raise ApiError(
                400, f"{served.name} has no reasoning that could be enabled", param=switch.field
            )


def _level_note(served: ServedModel) -> str:
    if prompts.Thinking.FORCED not in served.family.thinking_modes:
        return f"{served.name} has no reasoning"
    return f"{served.name} can only turn reasoning on or off; it has no levels"
