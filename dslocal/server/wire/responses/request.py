"""A Responses request as a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dslocal import output, prompts
from dslocal.server.exchange.tasks import (
    ChatTask,
    OfferedTool,
    ReasoningWish,
    SentConstraint,
    SentMessage,
    SentSetting,
    ToolChoice,
)
from dslocal.server.wire.client_fields import NO_SEARCH, IgnoredField
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.reasoning_level import reasoning_level
from dslocal.server.wire.sampling_settings import token_limit

from .items import CUSTOM_INPUT, ToolName, prompt_name, sent_messages
from .schemas import InputItem, NamedResponsesTool, ResponsesRequest, ResponsesTool

LOGPROBS = "message.output_text.logprobs"
SEALED_REASONING = "reasoning.encrypted_content"
NOT_HERE = ("web_search", "web_search_preview")  # what they are for, the answer does without
FUNCTION = "function"
CUSTOM = "custom"
CUSTOM_PARAMETERS = {
    "type": "object",
    "properties": {CUSTOM_INPUT: {"type": "string"}},
    "required": [CUSTOM_INPUT],
    "additionalProperties": False,
}


def input_items(request: ResponsesRequest) -> list[InputItem]:
    """Return the items of a request; a text is what the user says."""
    if request.input is None:
        return []
    if isinstance(request.input, str):
        return [InputItem(type="message", role="user", content=request.input)]
    return request.input


def read_responses(request: ResponsesRequest, history: Sequence[InputItem]) -> ChatTask:
    """Return what a request asks for.

    Args:
        request: The request.
        history: The items of earlier responses and of what they answer.

    Raises:
        ApiError: Fields that cannot be combined, or that no model here supports.
    """
    items = [*history, *input_items(request)]
    if not items:
        raise ApiError(422, "input: at least one item is needed", param="input")
    messages = list(sent_messages(items))
    if request.instructions:
        messages.insert(0, SentMessage("system", request.instructions))
    return ChatTask(
        model=request.model,
        settings=tuple(_settings(request)),
        seed=request.seed,
        top_logprobs=_top_logprobs(request),
        constraint=_constraint(request),
        ignored=tuple(_ignored(request)),
        messages=messages,
        tools=tuple(_tools(request.tools or [])),
        tool_choice=_tool_choice(request),
        reasoning=_reasoning(request),
    )


def _ignored(request: ResponsesRequest) -> Iterator[IgnoredField]:
    if any(tool.type in NOT_HERE for tool in request.tools or []):
        yield IgnoredField("tools[].type", NO_SEARCH)
    if request.truncation == "auto":
        yield IgnoredField("truncation", "a prompt that is too long is refused and not shortened")


def tool_names(request: ResponsesRequest) -> dict[str, ToolName]:
    """Return how the client names each tool, by the name in the prompt."""
    return {
        prompt_name(namespace, tool.name): ToolName(tool.name, namespace, tool.type == CUSTOM)
        for tool, namespace in _flat(request.tools or [])
        if tool.name
    }


def seals_reasoning(request: ResponsesRequest) -> bool:
    """Return whether the client wants reasoning in a form that it only sends back."""
    return SEALED_REASONING in (request.include or [])


def _settings(request: ResponsesRequest) -> Iterator[SentSetting]:
    if request.max_output_tokens is not None:
        limit = token_limit(request.max_output_tokens)
        yield SentSetting("max_tokens", limit, "max_output_tokens")
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None:
            yield SentSetting(name, value, name)


def _top_logprobs(request: ResponsesRequest) -> int | None:
    if request.top_logprobs or LOGPROBS in (request.include or []):
        return request.top_logprobs or 0
    return None


def _constraint(request: ResponsesRequest) -> SentConstraint | None:
    form = request.text.format if request.text else None
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return SentConstraint("text.format", "schema", output.ANY_OBJECT)
    if form.content is None:
        raise ApiError(
            422, "text.format.schema: is needed with this type", param="text.format.schema"
        )
    return SentConstraint("text.format.schema", "schema", form.content, bool(form.strict))


def _tools(sent: Sequence[ResponsesTool]) -> Iterator[OfferedTool]:
    for place, (tool, namespace) in enumerate(_flat(sent)):
        if tool.type not in (FUNCTION, CUSTOM) or not tool.name:
            raise ApiError(
                400,
                f"tools.{place}: a tool of type {tool.type[:40]!r} cannot be used here; functions "
                "and custom tools can",
                param=f"tools.{place}.type",
            )
        parameters = CUSTOM_PARAMETERS if tool.type == CUSTOM else tool.parameters or {}
        name = prompt_name(namespace, tool.name)
        known = prompts.Tool(name, tool.description or "", parameters)
        yield OfferedTool(known, bool(tool.strict))


def _flat(sent: Sequence[ResponsesTool]) -> Iterator[tuple[ResponsesTool, str]]:
    """Yield the tools that can be called, each with its namespace, which may be empty."""
    for tool in sent:
        if tool.type == "namespace" and tool.tools is not None:
            for inner in tool.tools:
                yield inner, tool.name or ""
        elif tool.type not in NOT_HERE:
            yield tool, ""


def _tool_choice(request: ResponsesRequest) -> ToolChoice:
    choice = request.tool_choice
    is_one_call = request.parallel_tool_calls is False
    if choice is None or isinstance(choice, str):
        return ToolChoice(choice or "auto", is_one_call=is_one_call)
    if choice.type == "allowed_tools":
        return ToolChoice(
            choice.mode or "auto", allowed=frozenset(_names(choice)), is_one_call=is_one_call
        )
    if choice.type in (FUNCTION, CUSTOM) and choice.name:
        return ToolChoice("required", named=choice.name, is_one_call=True)
    raise ApiError(
        400,
        f"tool_choice: a tool of type {choice.type[:40]!r} cannot be chosen here",
        param="tool_choice",
    )


def _names(choice: NamedResponsesTool) -> Iterator[str]:
    for tool in choice.tools or []:
        if tool.name:
            yield tool.name


def _reasoning(request: ResponsesRequest) -> ReasoningWish:
    effort = request.reasoning.effort if request.reasoning else None
    return ReasoningWish(tuple(reasoning_level("reasoning.effort", effort)))
