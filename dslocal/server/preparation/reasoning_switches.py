"""Whether an answer begins with reasoning: the many fields that clients say it with, as one.

DeepSeek's ``thinking``, OpenAI's ``reasoning_effort`` and ``reasoning``, the ``enable_thinking`` of
vLLM, SGLang and Qwen, alone or in ``chat_template_kwargs``, and Ollama's ``think``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dslocal import prompts
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import ChatRequest

from .requests import ServedModel

WITHOUT = ("none", "off", "disabled")  # levels that mean no reasoning
LEVELS = ("minimal", "low", "medium", "high", "xhigh", "max")
TEMPLATE_SWITCHES = ("thinking", "enable_thinking")
TEMPLATE_LEVEL = "reasoning_effort"


@dataclass(frozen=True)
class Switch:
    """What one field says.

    Attributes:
        field: The field's name.
        is_on: Whether the answer begins with reasoning.
        level: How much, where it says that; only some of DeepSeek's models support it.
    """

    field: str
    is_on: bool
    level: str = ""


@dataclass(frozen=True)
class ReasoningChoice:
    """How an answer begins, its reasoning's budget, and what the client should know.

    Attributes:
        thinking: How the answer begins.
        budget: Tokens of reasoning at most; None for no limit.
        budget_field: The field that has the budget.
        is_hidden: Whether the reasoning is left out of the response.
        effort: How thoroughly the model reasons; None for the family's default.
        ignored: What was not obeyed.
    """

    thinking: prompts.Thinking
    budget: int | None
    budget_field: str
    is_hidden: bool
    effort: str | None = None
    ignored: tuple[IgnoredField, ...] = ()


def read_reasoning(
    served: ServedModel, request: ChatRequest, *, has_prefilled_call: bool
) -> ReasoningChoice:
    """Return what the request says about reasoning.

    Args:
        served: The model, which has its own default.
        request: The request.
        has_prefilled_call: Whether the prompt ends within a tool call, so that nothing comes first.

    Raises:
        ApiError: 400 where two fields contradict each other, where reasoning is to be enabled and
            the family has none, or where a switch of the chat template is not known.
    """
    switches = list(_switches(request))
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
    untold = [] if served.family.efforts else levels
    ignored = tuple(IgnoredField(switch.field, _level_note(served)) for switch in untold)
    field, budget = _budget(request)
    return ReasoningChoice(thinking, budget, field, _is_hidden(request), effort, ignored)


def _switches(request: ChatRequest) -> Iterator[Switch]:
    if request.thinking is not None:
        kind = request.thinking.type
        if kind in ("enabled", "disabled"):
            yield Switch("thinking.type", kind == "enabled")
        yield from _level("thinking.reasoning_effort", request.thinking.reasoning_effort)
    if request.enable_thinking is not None:
        yield Switch("enable_thinking", request.enable_thinking)
    if isinstance(request.think, bool):
        yield Switch("think", request.think)
    else:
        yield from _level("think", request.think)
    yield from _level("reasoning_effort", request.reasoning_effort)
    if request.reasoning is not None:
        if request.reasoning.enabled is not None:
            yield Switch("reasoning.enabled", request.reasoning.enabled)
        yield from _level("reasoning.effort", request.reasoning.effort)
    for name, value in (request.chat_template_kwargs or {}).items():
        yield from _template_switch(name, value)


def _template_switch(name: str, value: Any) -> Iterator[Switch]:
    field = f"chat_template_kwargs.{name}"
    if value is None:
        return
    if name in TEMPLATE_SWITCHES and isinstance(value, bool):
        yield Switch(field, value)
    elif name == TEMPLATE_LEVEL and isinstance(value, str):
        yield from _level(field, value)
    else:
        raise ApiError(
            400,
            f"chat_template_kwargs: {name[:40]!r} with {value!r:.40} cannot be used; what can: "
            f"{' and '.join(TEMPLATE_SWITCHES)} (true or false), {TEMPLATE_LEVEL} (text)",
            param="chat_template_kwargs",
        )


def _level(field: str, level: str | None) -> Iterator[Switch]:
    if level is None:
        return
    if level in WITHOUT:
        yield Switch(field, is_on=False)
    elif level in LEVELS:
        yield Switch(field, is_on=True, level=level)
    else:
        known = ", ".join((WITHOUT[0], *LEVELS))
        raise ApiError(422, f"{field}: {level[:40]!r} is not one of {known}", param=field)


def _refuse_contradiction(switches: list[Switch]) -> None:
    for switch in switches[1:]:
        if switch.is_on is not switches[0].is_on:
            raise ApiError(
                400,
                f"{switches[0].field} and {switch.field} contradict each other: send one of them",
                param=switch.field,
            )


def _refuse_two_levels(levels: list[Switch]) -> None:
    for switch in levels[1:]:
        if switch.level != levels[0].level:
            raise ApiError(
                400,
                f"{levels[0].field} and {switch.field} contradict each other: send one of them",
                param=switch.field,
            )


def _refuse_switch(served: ServedModel, switches: list[Switch]) -> None:
    """Refuse to enable reasoning that the family does not have; a level alone is only noted."""
    for switch in switches:
        if not switch.level:
            raise ApiError(
                400, f"{served.name} has no reasoning that could be enabled", param=switch.field
            )


def _level_note(served: ServedModel) -> str:
    if prompts.Thinking.FORCED not in served.family.thinking_modes:
        return f"{served.name} has no reasoning"
    return f"{served.name} reasons or does not; it has no levels between"


def _budget(request: ChatRequest) -> tuple[str, int | None]:
    """Return the field with a budget, and the budget.

    Raises:
        ApiError: 400 where two fields have different ones.
    """
    sent = {
        "thinking.budget_tokens": request.thinking.budget_tokens if request.thinking else None,
        "reasoning.max_tokens": request.reasoning.max_tokens if request.reasoning else None,
        "thinking_budget": request.thinking_budget,
    }
    found = [(field, budget) for field, budget in sent.items() if budget is not None]
    for field, budget in found[1:]:
        if budget != found[0][1]:
            raise ApiError(
                400,
                f"{found[0][0]} and {field} contradict each other: send one of them",
                param=field,
            )
    return found[0] if found else ("thinking.budget_tokens", None)


def _is_hidden(request: ChatRequest) -> bool:
    return request.include_reasoning is False or bool(
        request.reasoning is not None and request.reasoning.exclude
    )
