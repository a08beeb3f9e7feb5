"""Find the tools that a request offers, and the one that has to be called."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from dslocal import output, prompts
from dslocal.prompts.families.dsml_tools import DsmlToolFormat
from dslocal.prompts.families.marked import Marked
from dslocal.prompts.families.tools import CALL_END, ToolFormat
from dslocal.server.exchange.tasks import ChatTask
from dslocal.server.wire.errors import ApiError

from .output_constraints import unheld_fields
from .prepared_request import PreparedRequest
from .requests import ServedModel

if TYPE_CHECKING:
    from dslocal.engine.grammar.calls import CallNumber


def offered_tools(task: ChatTask) -> list[prompts.Tool]:
    """Return the tools that the model may call.

    Raises:
        ApiError: 400 where the choice names a tool that is not offered.
    """
    choice = task.tool_choice
    if choice.mode == "none":
        return []
    tools = [offered.tool for offered in task.tools]
    if choice.allowed is None:
        return tools
    _require_known(choice.allowed, tools)
    return [tool for tool in tools if tool.name in choice.allowed]


def forced_tools(task: ChatTask, tools: Sequence[prompts.Tool]) -> list[prompts.Tool]:
    """Return the tools of which one has to be called; none where the model decides.

    Raises:
        ApiError: 400 where no tool could be meant.
    """
    choice = task.tool_choice
    if choice.mode != "required":
        return []
    if choice.named:
        _require_known({choice.named}, tools)
        return [tool for tool in tools if tool.name == choice.named]
    if not tools:
        raise ApiError(400, "tool_choice: the request has no tools", param="tool_choice")
    return list(tools)


def with_forced_call(
    served: ServedModel,
    prepared: PreparedRequest,
    tools: Sequence[prompts.Tool],
    task: ChatTask,
) -> PreparedRequest:
    """Return ``prepared`` with an answer that calls some of ``tools``, after any reasoning.

    Raises:
        UsageError: The parameters of a tool are not a schema, or beyond the limits.
        ApiError: 400 for a strict tool whose schema cannot be enforced completely.
    """
    form = prepared.family.format.tools
    model = served.context.model
    if isinstance(form, DsmlToolFormat):
        constraint = output.constraint_of_forced_calls(tools, form, model, _call_number(task))
        return _with_constraint(prepared, constraint, task)
    if not isinstance(form, ToolFormat):
        return prepared
    if len(tools) == 1:
        begin = form.begin(tools[0].name)
        schema = dict(tools[0].parameters) or output.ANY_OBJECT
        constraint = output.constraint_from_schema(schema, f"the parameters of {tools[0].name}")
    else:
        begin = form.begin()
        constraint = output.constraint_of_prefilled_call(tools, form, model)
    return _with_constraint(
        replace(prepared, prompt=[*prepared.prompt, *begin], prefilled=begin), constraint, task
    )


def with_strict_calls(
    served: ServedModel,
    prepared: PreparedRequest,
    tools: Sequence[prompts.Tool],
    task: ChatTask,
) -> PreparedRequest:
    """Return ``prepared`` with calls that follow the schemas of strict tools, if there are any.

    In DSML the same grammar also limits an answer to one call, if the request asks for that.

    Raises:
        UsageError: The parameters of a strict tool are not a schema, or beyond the limits.
        ApiError: 400 for a strict tool whose schema cannot be enforced completely.
    """
    form = prepared.family.format.tools
    strict = _strict_names(task)
    calls = _call_number(task)
    is_one_of_dsml = calls == "one" and isinstance(form, DsmlToolFormat)
    if not isinstance(form, DsmlToolFormat | ToolFormat) or not tools:
        return prepared
    if not (strict or is_one_of_dsml):
        return prepared
    constraint = output.constraint_of_optional_calls(
        tools, strict, form, served.context.model, calls
    )
    return _with_constraint(prepared, constraint, task)


def forces_before_reasoning(family: prompts.Family) -> bool:
    """Return whether a forced call begins in the prompt, which leaves no room for reasoning."""
    return isinstance(family.format.tools, ToolFormat)


def _with_constraint(
    prepared: PreparedRequest, constraint: output.OutputConstraint, task: ChatTask
) -> PreparedRequest:
    """Return ``prepared`` with ``constraint``.

    What the constraint does not enforce is refused for strict tools, and else noted.
    """
    notes = unheld_fields(replace(constraint, source="tools[].function.parameters"))
    if notes and _strict_names(task):
        message = f"tools: a schema cannot be enforced completely: {notes[0].reason}"
        raise ApiError(400, message, param="tools")
    return replace(prepared, constraint=constraint, ignored=(*prepared.ignored, *notes))


def _call_number(task: ChatTask) -> CallNumber:
    """Return how many calls an answer may have."""
    return "one" if task.tool_choice.is_one_call else "several"


def _strict_names(task: ChatTask) -> set[str]:
    """Return the names of the tools whose arguments must be as their schemas say."""
    return {offered.tool.name for offered in task.tools if offered.is_strict}


def with_one_call(family: prompts.Family) -> prompts.Family:
    """Return ``family`` with answers that end after one tool call."""
    if not isinstance(family.format, Marked):
        return family
    return replace(family, format=replace(family.format, stop=(*family.format.stop, CALL_END)))


def _require_known(names: Set[str], tools: Sequence[prompts.Tool]) -> None:
    missing = sorted(names - {tool.name for tool in tools})
    if missing or not names:
        raise ApiError(400, "tool_choice names no tool of this request", param="tool_choice")
