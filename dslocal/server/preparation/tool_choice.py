"""Which tools a request offers, and which of them has to be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dslocal import output, prompts
from dslocal.prompts.families.dsml import DsmlToolFormat
from dslocal.prompts.families.marked import Marked
from dslocal.prompts.families.tools import CALL_END, ToolFormat
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import AllowedTools, ChatRequest, NamedTool, ToolParam

from .output_constraints import unheld_fields
from .requests import PreparedRequest, ServedModel

if TYPE_CHECKING:
    from dslocal.engine.grammar.calls import CallNumber

MUST_CALL = ("required", "any")  # OpenAI's value and Mistral's


def offered_tools(request: ChatRequest) -> list[prompts.Tool]:
    """Return the tools that the model may call.

    Raises:
        ApiError: 400 for tools that only a vendor's own servers have.
    """
    choice = request.tool_choice
    if choice == "none" or request.function_call == "none":
        return []
    tools = [_tool(place, tool) for place, tool in enumerate(request.tools or [])]
    tools += [
        prompts.Tool(each.name, each.description or "", each.parameters or {})
        for each in request.functions or []
    ]
    if isinstance(choice, AllowedTools):
        allowed = {each.function.name for each in choice.allowed_tools.tools}
        _require_known(allowed, tools)
        return [tool for tool in tools if tool.name in allowed]
    return tools


def forced_tools(request: ChatRequest, tools: Sequence[prompts.Tool]) -> list[prompts.Tool]:
    """Return the tools of which one has to be called; none where the model decides.

    Raises:
        ApiError: 400 where no tool could be meant.
    """
    choice = request.tool_choice
    named = None
    if isinstance(choice, NamedTool):
        named = choice.function.name
    elif request.function_call is not None and not isinstance(request.function_call, str):
        named = request.function_call.name
    if named is not None:
        _require_known({named}, tools)
        return [tool for tool in tools if tool.name == named]
    is_forced = choice in MUST_CALL or (
        isinstance(choice, AllowedTools) and choice.allowed_tools.mode in MUST_CALL
    )
    if is_forced and not tools:
        raise ApiError(400, "tool_choice: no tool is offered to call", param="tool_choice")
    return list(tools) if is_forced else []


def with_forced_call(
    served: ServedModel,
    prepared: PreparedRequest,
    tools: Sequence[prompts.Tool],
    request: ChatRequest,
) -> PreparedRequest:
    """Return ``prepared`` with an answer that calls some of ``tools``, after any reasoning.

    Raises:
        UsageError: The parameters of a tool are not a schema, or beyond the limits.
        ApiError: 400 for a strict tool whose schema cannot be enforced completely.
    """
    form = prepared.family.format.tools
    model = served.context.model
    if isinstance(form, DsmlToolFormat):
        constraint = output.constraint_of_forced_calls(tools, form, model, _call_number(request))
        return _with_constraint(prepared, constraint, request)
    if not isinstance(form, ToolFormat):
        return prepared
    prompt = list(prepared.prompt)
    if len(tools) == 1:
        prompt += form.begin(tools[0].name)
        schema = dict(tools[0].parameters) or output.ANY_OBJECT
        constraint = output.constraint_from_schema(schema, f"the parameters of {tools[0].name}")
    else:
        prompt += form.begin()
        constraint = output.constraint_of_prefilled_call(tools, form, model)
    return _with_constraint(replace(prepared, prompt=prompt), constraint, request)


def with_strict_calls(
    served: ServedModel,
    prepared: PreparedRequest,
    tools: Sequence[prompts.Tool],
    request: ChatRequest,
) -> PreparedRequest:
    """Return ``prepared`` with calls that follow the schemas of strict tools, if there are any.

    In DSML the same grammar also limits an answer to one call, if the request asks for that.

    Raises:
        UsageError: The parameters of a strict tool are not a schema, or beyond the limits.
        ApiError: 400 for a strict tool whose schema cannot be enforced completely.
    """
    form = prepared.family.format.tools
    strict = _strict_names(request)
    calls = _call_number(request)
    is_one_of_dsml = calls == "one" and isinstance(form, DsmlToolFormat)
    if not isinstance(form, DsmlToolFormat | ToolFormat) or not tools:
        return prepared
    if not (strict or is_one_of_dsml):
        return prepared
    constraint = output.constraint_of_optional_calls(
        tools, strict, form, served.context.model, calls
    )
    return _with_constraint(prepared, constraint, request)


def forces_before_reasoning(family: prompts.Family) -> bool:
    """Return whether a forced call begins in the prompt, which leaves no room for reasoning."""
    return isinstance(family.format.tools, ToolFormat)


def _with_constraint(
    prepared: PreparedRequest, constraint: output.OutputConstraint, request: ChatRequest
) -> PreparedRequest:
    """Return ``prepared`` with ``constraint``.

    What the constraint does not enforce is refused for strict tools, and else noted.
    """
    notes = unheld_fields(replace(constraint, source="tools[].function.parameters"))
    if notes and _strict_names(request):
        message = f"tools: a schema cannot be enforced completely: {notes[0].reason}"
        raise ApiError(400, message, param="tools")
    return replace(prepared, constraint=constraint, ignored=(*prepared.ignored, *notes))


def _call_number(request: ChatRequest) -> CallNumber:
    """Return how many calls an answer may have: one if the request names a tool."""
    is_named = isinstance(request.tool_choice, NamedTool) or request.functions is not None
    return "one" if is_named or request.parallel_tool_calls is False else "several"


def _strict_names(request: ChatRequest) -> set[str]:
    """Return the names of the tools whose arguments must be as their schemas say."""
    functions = [tool.function for tool in request.tools or [] if tool.function is not None]
    return {each.name for each in [*functions, *(request.functions or [])] if each.strict}


def with_one_call(family: prompts.Family) -> prompts.Family:
    """Return ``family`` with answers that end after one tool call."""
    if not isinstance(family.format, Marked):
        return family
    return replace(family, format=replace(family.format, stop=(*family.format.stop, CALL_END)))


def _tool(place: int, sent: ToolParam) -> prompts.Tool:
    function = sent.function
    if sent.type != "function" or function is None:
        raise ApiError(
            400,
            f"tools.{place}: a tool of type {sent.type[:40]!r} cannot be used here; functions can",
            param=f"tools.{place}.type",
        )
    return prompts.Tool(function.name, function.description or "", function.parameters or {})


def _require_known(names: set[str], tools: Sequence[prompts.Tool]) -> None:
    missing = sorted(names - {tool.name for tool in tools})
    if missing or not names:
        raise ApiError(400, "tool_choice names no tool of this request", param="tool_choice")
