"""Which tools a request offers, and which of them has to be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dslocal import output, prompts
from dslocal.prompts.families.marked import Marked
from dslocal.prompts.families.tools import CALL_END, ToolFormat
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import AllowedTools, ChatRequest, NamedTool, ToolParam

from .requests import PreparedRequest, ServedModel

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
    served: ServedModel, prepared: PreparedRequest, tools: Sequence[prompts.Tool]
) -> PreparedRequest:
    """Return ``prepared`` with an answer that is a call to one of ``tools``.

    Raises:
        ApiError: 400 for families whose calls are not JSON, which no grammar holds yet.
    """
    call_format = prepared.family.format.tools
    if call_format is None:
        return prepared
    if not isinstance(call_format, ToolFormat):
        raise ApiError(
            400,
            f"tool_choice: a call of {served.name} cannot be forced; leave it to the model",
            param="tool_choice",
        )
    prompt = list(prepared.prompt)
    if len(tools) == 1:
        prompt += call_format.begin(tools[0].name)
        schema = dict(tools[0].parameters) or output.ANY_OBJECT
        constraint = output.constraint_from_schema(schema, f"the parameters of {tools[0].name}")
    else:
        prompt += call_format.begin()
        constraint = output.constraint_from_calls(tools, call_format, served.context.model)
    return replace(prepared, prompt=prompt, constraint=constraint)


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
