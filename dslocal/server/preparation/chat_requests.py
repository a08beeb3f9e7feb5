"""Chat requests: messages, tools, reasoning and output constraints, as the family has them."""

from __future__ import annotations

from dataclasses import replace

from dslocal import prompts
from dslocal.server.exchange.tasks import ChatTask
from dslocal.server.wire.errors import ApiError

from .output_constraints import read_constraint, unheld_fields
from .prepared_request import PreparedRequest
from .reasoning_switches import ReasoningChoice, choose_reasoning
from .requests import ServedModel, seed_of, validated, with_sent_settings, with_setting
from .sent_messages import family_messages
from .tool_choice import (
    forced_tools,
    forces_before_reasoning,
    offered_tools,
    with_forced_call,
    with_one_call,
    with_strict_calls,
)


def prepare_chat(served: ServedModel, task: ChatTask) -> list[PreparedRequest]:
    """Return what is generated to answer a conversation: one request in a list.

    Raises:
        ApiError: Fields that cannot be combined, or that the model does not support.
        DslocalError: The prompt does not fit the context, or no text satisfies the schema.
    """
    return [validated(served, _draft(served, task))]


def count_chat(served: ServedModel, task: ChatTask) -> list[PreparedRequest]:
    """Return a request that has the prompt's ids, whether or not it fits the context.

    Raises:
        ApiError: Fields that cannot be combined, or that the model does not support.
    """
    draft = _draft(served, task)
    return [replace(draft, ids=prompts.encode(draft.prompt, served.context.model))]


def _draft(served: ServedModel, task: ChatTask) -> PreparedRequest:
    """Return what is generated, without the ids of its prompt."""
    tools = offered_tools(task)
    forced = forced_tools(task, tools)
    is_prefilled = bool(forced) and forces_before_reasoning(served.family)
    reasoning = choose_reasoning(served, task.reasoning, has_prefilled_call=is_prefilled)
    constraint = read_constraint(task.constraint)
    if constraint and forced:
        raise ApiError(
            400,
            f"{constraint.source} and a tool that has to be called cannot be combined",
            param="tool_choice",
        )
    math = False if constraint or tools else served.math
    messages = list(family_messages(served, task.messages, math))
    family = served.family
    if task.tool_choice.is_one_call:
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
        settings=_settings(served, task, reasoning),
        seed=seed_of(task),
        n=task.n,
        top_logprobs=task.top_logprobs,
        constraint=constraint,
        ignored=(*task.ignored, *reasoning.ignored, *unheld_fields(constraint)),
    )
    if forced:
        prepared = with_forced_call(served, prepared, forced, task)
    elif constraint is None:
        prepared = with_strict_calls(served, prepared, tools, task)
    return prepared


def _settings(served: ServedModel, task: ChatTask, reasoning: ReasoningChoice) -> prompts.Settings:
    settings = with_sent_settings(served, served.settings, task)
    if reasoning.budget is not None and reasoning.thinking is not prompts.Thinking.BYPASSED:
        settings = with_setting(settings, "think_budget", reasoning.budget, reasoning.budget_field)
    return settings
