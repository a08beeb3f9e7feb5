"""Chat requests: messages, tools, reasoning and output constraints, as the family has them."""

from __future__ import annotations

from dslocal import prompts
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import ChatRequest

from .output_constraints import read_constraint, unheld_fields
from .reasoning_switches import ReasoningChoice, read_reasoning
from .requests import (
    NO_LIMIT,
    PreparedRequest,
    ServedModel,
    seed_of,
    validated,
    with_request_settings,
    with_setting,
)
from .sent_messages import family_messages
from .tool_choice import (
    forced_tools,
    forces_before_reasoning,
    offered_tools,
    with_forced_call,
    with_one_call,
    with_strict_calls,
)


def prepare_chat(served: ServedModel, request: ChatRequest) -> list[PreparedRequest]:
    """Return what is generated to answer a conversation: one request in a list.

    Raises:
        ApiError: Fields that exclude each other, or that the model does not support.
        DslocalError: The prompt does not fit the context, or no text satisfies the schema.
    """
    served.require_name(request.model)
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs goes with logprobs: true", param="top_logprobs")
    tools = offered_tools(request)
    forced = forced_tools(request, tools)
    is_prefilled = bool(forced) and forces_before_reasoning(served.family)
    reasoning = read_reasoning(served, request, has_prefilled_call=is_prefilled)
    constraint = read_constraint(request)
    if constraint and forced:
        raise ApiError(
            400,
            f"{constraint.source} and a tool that has to be called are two ways to shape an answer",
            param="tool_choice",
        )
    math = False if constraint or tools else served.math
    messages = list(family_messages(served.family, request.messages, math))
    family = served.family
    if request.parallel_tool_calls is False:
        family = with_one_call(family)
    prepared = PreparedRequest(
        family=family,
        prompt=family.render(
            messages,
            reasoning.thinking,
            tools,
            effort=reasoning.effort,
            schema=constraint.schema if constraint else None,
        ),
        settings=_settings(served, request, reasoning),
        seed=seed_of(request),
        n=request.n or 1,
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        constraint=constraint,
        uses_functions=bool(request.functions),
        hides_reasoning=reasoning.is_hidden,
        ignored=(*reasoning.ignored, *unheld_fields(constraint)),
    )
    if forced:
        prepared = with_forced_call(served, prepared, forced, request)
    elif constraint is None:
        prepared = with_strict_calls(served, prepared, tools, request)
    return [validated(served, prepared)]


def _settings(
    served: ServedModel, request: ChatRequest, reasoning: ReasoningChoice
) -> prompts.Settings:
    if request.max_tokens == 0:
        raise ApiError(422, "max_tokens: 0 is out of range", param="max_tokens")
    settings = with_request_settings(served, served.settings, request)
    limit = request.max_completion_tokens
    if limit is not None:
        limit = served.context.n_ctx if limit in NO_LIMIT else limit
        settings = with_setting(settings, "max_tokens", limit, "max_completion_tokens")
    if reasoning.budget is not None and reasoning.thinking is not prompts.Thinking.BYPASSED:
        settings = with_setting(settings, "think_budget", reasoning.budget, reasoning.budget_field)
    return settings
