"""The tools of a chat request, and which of them has to be called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dslocal import prompts
from dslocal.server.exchange.tasks import OfferedTool, ToolChoice
from dslocal.server.wire.errors import ApiError

from .schemas import AllowedTools, ChatRequest, Function, NamedTool, ToolParam

MUST_CALL = ("required", "any")  # OpenAI's value and Mistral's


def offered_tools(request: ChatRequest) -> tuple[OfferedTool, ...]:
    """Return the tools, those that messages declare among them.

    Raises:
        ApiError: 400 for tools that only a vendor's own servers have.
    """
    tools = [*read_tools(request.tools or [], "tools"), *map(_offered, request.functions or [])]
    known = {offered.key for offered in tools}
    for place, message in enumerate(request.messages):
        declared = read_tools(message.tools or [], f"messages.{place}.tools")
        new = [offered for offered in declared if offered.key not in known]
        known.update(offered.key for offered in new)
        tools += new
    return tuple(tools)


def read_tools(sent: Sequence[ToolParam], where: str) -> Iterator[OfferedTool]:
    """Yield the tools of the field ``where``.

    Raises:
        ApiError: 400 for tools that only a vendor's own servers have.
    """
    for place, tool in enumerate(sent):
        if tool.type != "function" or tool.function is None:
            raise ApiError(
                400,
                f"{where}.{place}: a tool of type {tool.type[:40]!r} cannot be used here; "
                "functions can",
                param=f"{where}.{place}.type",
            )
        yield _offered(tool.function)


def tool_choice(request: ChatRequest) -> ToolChoice:
    """Return which tools may be called, and whether one has to be."""
    choice = request.tool_choice
    # functions is OpenAI's format of 2023, which has room for one call in an answer
    is_one_call = request.parallel_tool_calls is False or request.functions is not None
    if "none" in (choice, request.function_call):
        return ToolChoice("none")
    if isinstance(choice, NamedTool):
        return ToolChoice("required", named=choice.function.name, is_one_call=True)
    if request.function_call is not None and not isinstance(request.function_call, str):
        return ToolChoice("required", named=request.function_call.name, is_one_call=True)
    if isinstance(choice, AllowedTools):
        names = frozenset(each.function.name for each in choice.allowed_tools.tools)
        return ToolChoice(choice.allowed_tools.mode, allowed=names, is_one_call=is_one_call)
    return ToolChoice("required" if choice in MUST_CALL else "auto", is_one_call=is_one_call)


def _offered(function: Function) -> OfferedTool:
    tool = prompts.Tool(function.name, function.description or "", function.parameters or {})
    return OfferedTool(tool, bool(function.strict))
