"""The many fields with which clients say whether an answer begins with reasoning.

DeepSeek's ``thinking``, OpenAI's ``reasoning_effort`` and ``reasoning``, the ``enable_thinking`` of
vLLM, SGLang and Qwen, alone or in ``chat_template_kwargs``, and Ollama's ``think``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dslocal.server.exchange.tasks import ReasoningSwitch, ReasoningWish
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.reasoning_level import reasoning_level

from .schemas import ChatRequest

TEMPLATE_SWITCHES = ("thinking", "enable_thinking")
TEMPLATE_LEVEL = "reasoning_effort"


def reasoning_wish(request: ChatRequest) -> ReasoningWish:
    """Return what the request says about reasoning.

    Raises:
        ApiError: 400 where two fields have different budgets, or where a switch of the chat
            template is not known.
    """
    field, budget = _budget(request)
    return ReasoningWish(tuple(_switches(request)), budget, field)


def is_reasoning_hidden(request: ChatRequest) -> bool:
    """Return whether the reasoning is left out of the response."""
    return request.include_reasoning is False or bool(
        request.reasoning is not None and request.reasoning.exclude
    )


def _switches(request: ChatRequest) -> Iterator[ReasoningSwitch]:
    if request.thinking is not None:
        kind = request.thinking.type
        if kind in ("enabled", "disabled"):
            yield ReasoningSwitch("thinking.type", kind == "enabled")
        yield from reasoning_level("thinking.reasoning_effort", request.thinking.reasoning_effort)
    if request.enable_thinking is not None:
        yield ReasoningSwitch("enable_thinking", request.enable_thinking)
    if isinstance(request.think, bool):
        yield ReasoningSwitch("think", request.think)
    else:
        yield from reasoning_level("think", request.think)
    yield from reasoning_level("reasoning_effort", request.reasoning_effort)
    if request.reasoning is not None:
        if request.reasoning.enabled is not None:
            yield ReasoningSwitch("reasoning.enabled", request.reasoning.enabled)
        yield from reasoning_level("reasoning.effort", request.reasoning.effort)
    for name, value in (request.chat_template_kwargs or {}).items():
        yield from _template_switch(name, value)


def _template_switch(name: str, value: Any) -> Iterator[ReasoningSwitch]:
    field = f"chat_template_kwargs.{name}"
    if value is None:
        return
    if name in TEMPLATE_SWITCHES and isinstance(value, bool):
        yield ReasoningSwitch(field, value)
    elif name == TEMPLATE_LEVEL and isinstance(value, str):
        yield from reasoning_level(field, value)
    else:
        raise ApiError(
            400,
            f"chat_template_kwargs: {name[:40]!r} with {value!r:.40} cannot be used; what can: "
            f"{' and '.join(TEMPLATE_SWITCHES)} (true or false), {TEMPLATE_LEVEL} (text)",
            param="chat_template_kwargs",
        )


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
