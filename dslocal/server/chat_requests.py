"""Chat requests: messages, tools, reasoning and the response format, as the family has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dslocal import output, prompts

from .requests import (
    PreparedRequest,
    ServedModel,
    seed_of,
    validated,
    with_request_settings,
    with_setting,
)
from .wire.errors import ApiError
from .wire.schemas import ChatMessage, ChatRequest, NamedTool, ToolParam

MAX_SHOWN_REASON = 200


def prepare_chat(served: ServedModel, request: ChatRequest) -> PreparedRequest:
    """Return what is generated to answer a conversation.

    Raises:
        ApiError: Fields that exclude each other, or that the model does not support.
        DslocalError: The prompt does not fit the context, or no text satisfies the schema.
    """
    served.require_name(request.model)
    tools = _offered_tools(request)
    forced = _forced_tool(request, tools)
    thinking = _thinking(served, request, has_forced_tool=forced is not None)
    constraint = _constraint(request)
    math = False if constraint or tools else served.math
    messages = list(_messages(served.family, request.messages, math))
    prepared = PreparedRequest(
        family=served.family,
        prompt=served.family.render(messages, thinking, tools),
        settings=_settings(served.settings, request, thinking),
        seed=seed_of(request),
        n=request.n or 1,
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        constraint=constraint,
    )
    if forced is not None:
        prepared = _with_forced_tool(prepared, forced)
    return validated(served, prepared)


def _settings(
    settings: prompts.Settings, request: ChatRequest, thinking: prompts.Thinking
) -> prompts.Settings:
    settings = with_request_settings(settings, request)
    limit = request.max_completion_tokens
    if limit is not None:
        settings = with_setting(settings, "max_tokens", limit, "max_completion_tokens")
    budget = request.thinking.budget_tokens if request.thinking else None
    if budget is not None and thinking is not prompts.Thinking.BYPASSED:
        settings = with_setting(settings, "think_budget", budget, "thinking.budget_tokens")
    return settings


def _messages(
    family: prompts.Family, sent: Sequence[ChatMessage], math: bool | None
) -> Iterator[prompts.Message]:
    """Yield the messages as the family has them.

    The outputs of tools come in the order of the calls that they answer.
    """
    _check_prefixes(sent)
    call_order: dict[str, int] = {}
    outputs: list[ChatMessage] = []
    for message in sent:
        if message.role == "tool":
            outputs.append(message)
            continue
        yield from _tool_outputs(outputs, call_order)
        outputs = []
        if message.role == "user":
            text = prompts.compose_question(family, message.text, math=math).text
            yield prompts.Message("user", text)
        elif message.role == "assistant":
            calls = message.tool_calls or []
            call_order = {call.id: number for number, call in enumerate(calls)}
            yield _assistant_message(message)
        else:
            yield prompts.Message("system", message.text)
    yield from _tool_outputs(outputs, call_order)


def _check_prefixes(sent: Sequence[ChatMessage]) -> None:
    """Refuse ``prefix`` on any message but the last, which must be the assistant's."""
    last = len(sent) - 1
    for number, message in enumerate(sent):
        if message.prefix and (message.role != "assistant" or number < last):
            raise ApiError(
                400,
                "prefix is for the last message, an assistant's",
                param=f"messages.{number}.prefix",
            )


def _assistant_message(message: ChatMessage) -> prompts.Message:
    calls = tuple(
        prompts.ToolCall(call.function.name, call.function.arguments)
        for call in message.tool_calls or []
    )
    reasoning = message.reasoning_content or ""
    return prompts.Message("assistant", message.text, reasoning, calls, prefix=bool(message.prefix))


def _tool_outputs(
    messages: Sequence[ChatMessage], call_order: dict[str, int]
) -> Iterator[prompts.Message]:
    def position(message: ChatMessage) -> int:
        return call_order.get(message.tool_call_id or "", len(call_order))

    for message in sorted(messages, key=position):
        yield prompts.Message("tool", message.text)


def _offered_tools(request: ChatRequest) -> list[prompts.Tool]:
    if request.tool_choice == "none":
        return []
    return [_tool(tool) for tool in request.tools or []]


def _tool(sent: ToolParam) -> prompts.Tool:
    function = sent.function
    return prompts.Tool(function.name, function.description or "", function.parameters or {})


def _forced_tool(request: ChatRequest, tools: Sequence[prompts.Tool]) -> prompts.Tool | None:
    """Return the tool that has to be called, if there is one.

    Raises:
        ApiError: 400 where several tools could be meant, or none, or where the response format
            shapes the answer already.
    """
    choice = request.tool_choice
    if choice in (None, "none", "auto"):
        return None
    if request.response_format and request.response_format.type != "text":
        raise ApiError(
            400,
            "response_format and a tool that has to be called are two ways to shape an answer",
            param="tool_choice",
        )
    named = list(tools)
    if isinstance(choice, NamedTool):
        named = [tool for tool in tools if tool.name == choice.function.name]
    if len(named) != 1:
        what = "is for one tool; name it" if named else "names no tool of this request"
        raise ApiError(400, f"tool_choice {what}", param="tool_choice")
    return named[0]


def _with_forced_tool(prepared: PreparedRequest, tool: prompts.Tool) -> PreparedRequest:
    """Return ``prepared`` with an answer that is the arguments of a call to ``tool``."""
    schema = dict(tool.parameters) or output.ANY_OBJECT
    prompt = list(prepared.prompt)
    call_format = prepared.family.format.tools
    if call_format:
        prompt += call_format.begin(tool.name)
    return replace(
        prepared,
        prompt=prompt,
        constraint=output.constraint_from_schema(schema, f"the parameters of {tool.name}"),
        forced_tool=tool.name,
    )


def _thinking(
    served: ServedModel, request: ChatRequest, *, has_forced_tool: bool
) -> prompts.Thinking:
    """Return how the answer begins.

    Raises:
        ApiError: 400 where reasoning is to be enabled and the family has none.
    """
    ways = served.family.thinking_modes
    without = prompts.Thinking.BYPASSED if prompts.Thinking.BYPASSED in ways else ways[0]
    if has_forced_tool:
        return without
    if request.thinking is None:
        return served.thinking
    if request.thinking.type == "disabled":
        return without
    if prompts.Thinking.FORCED not in ways:
        raise ApiError(
            400, f"{served.name} has no reasoning that could be enabled", param="thinking.type"
        )
    return prompts.Thinking.FORCED


def _constraint(request: ChatRequest) -> output.OutputConstraint | None:
    """Return what the response format asks for.

    Raises:
        ApiError: 422 without a schema, 400 for a strict one that cannot be enforced.
    """
    sent = request.response_format
    if sent is None or sent.type == "text":
        return None
    if sent.type == "json_object":
        return output.constraint_from_schema(output.ANY_OBJECT, "response_format")
    param = "response_format.json_schema"
    if sent.json_schema is None:
        raise ApiError(422, f"{param}: is needed with this type", param=param)
    constraint = output.constraint_from_schema(sent.json_schema.content, "response_format")
    if sent.json_schema.strict and constraint.unheld:
        reasons = "; ".join(constraint.unheld)[:MAX_SHOWN_REASON]
        raise ApiError(
            400,
            f"response_format: an answer cannot be held to all of this schema: {reasons}",
            param=param,
        )
    return constraint
