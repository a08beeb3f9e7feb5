"""A Messages request as a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dslocal import prompts
from dslocal.server.exchange.tasks import (
    ChatTask,
    OfferedTool,
    ReasoningSwitch,
    ReasoningWish,
    SentConstraint,
    SentMessage,
    SentSetting,
    ToolChoice,
)
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.constraint_fields import only_constraint
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.reasoning_level import reasoning_level
from dslocal.server.wire.sampling_settings import stop_texts

from .messages import sent_messages, system_message
from .schemas import AnthropicTool, AnthropicToolChoice, CountTokensRequest, MessagesRequest

SETTINGS = ("max_tokens", "temperature", "top_p", "top_k")


def read_messages(request: CountTokensRequest) -> ChatTask:
    """Return what a Messages request asks for.

    Raises:
        ApiError: Fields that cannot be combined, or that no model here supports.
    """
    messages = (*system_message(request.system), *sent_messages(request.messages))
    return ChatTask(
        model=request.model,
        settings=tuple(_settings(request)),
        constraint=only_constraint(list(_constraints(request))),
        ignored=tuple(_ignored(request)),
        messages=messages,
        tools=tuple(_tools(request.tools or [])),
        tool_choice=_tool_choice(request.tool_choice),
        reasoning=_reasoning(request, messages[-1]),
    )


def _ignored(request: CountTokensRequest) -> Iterator[IgnoredField]:
    """Yield what says something only beside reasoning, which the request turns off."""
    has_effort = request.output_config is not None and request.output_config.effort is not None
    if has_effort and request.thinking is not None and request.thinking.type == "disabled":
        yield IgnoredField("output_config.effort", "thinking is disabled")


def hides_thinking(request: MessagesRequest) -> bool:
    """Return whether blocks of reasoning come without their text."""
    return request.thinking is not None and request.thinking.display == "omitted"


def _settings(request: CountTokensRequest) -> Iterator[SentSetting]:
    if not isinstance(request, MessagesRequest):
        return
    for name in SETTINGS:
        value = getattr(request, name)
        if value is not None:
            yield SentSetting(name, value, name)
    if request.stop_sequences is not None:
        yield SentSetting("stop", stop_texts(request.stop_sequences), "stop_sequences")


def _constraints(request: CountTokensRequest) -> Iterator[SentConstraint]:
    if request.output_format is not None:
        yield SentConstraint("output_format", "schema", request.output_format.content)
    if request.output_config is not None and request.output_config.format is not None:
        content = request.output_config.format.content
        yield SentConstraint("output_config.format", "schema", content)


def _tools(sent: Sequence[AnthropicTool]) -> Iterator[OfferedTool]:
    for place, tool in enumerate(sent):
        if tool.type not in (None, "custom"):
            raise ApiError(
                400,
                f"tools.{place}: a tool of type {tool.type[:40]!r} cannot be used here; tools with "
                "an input_schema can",
                param=f"tools.{place}.type",
            )
        known = prompts.Tool(tool.name, tool.description or "", tool.input_schema or {})
        yield OfferedTool(known, bool(tool.strict))


def _tool_choice(sent: AnthropicToolChoice | None) -> ToolChoice:
    if sent is None:
        return ToolChoice()
    is_one_call = bool(sent.disable_parallel_tool_use)
    if sent.type == "tool":
        if not sent.name:
            raise ApiError(
                422, "tool_choice.name: is needed with this type", param="tool_choice.name"
            )
        return ToolChoice("required", named=sent.name, is_one_call=True)
    if sent.type == "any":
        return ToolChoice("required", is_one_call=is_one_call)
    return ToolChoice(sent.type, is_one_call=is_one_call)


def _reasoning(request: CountTokensRequest, last: SentMessage) -> ReasoningWish:
    """Return the request's reasoning settings. A continued answer comes without reasoning."""
    thinking = request.thinking
    effort = request.output_config.effort if request.output_config else None
    levels = tuple(reasoning_level("output_config.effort", effort))
    if thinking is not None and thinking.type == "disabled":
        return ReasoningWish((ReasoningSwitch("thinking.type", is_on=False),))
    if thinking is not None and thinking.type == "enabled":
        switch = ReasoningSwitch("thinking.type", is_on=True, is_hint=True)
        return ReasoningWish((switch, *levels), thinking.budget_tokens, "thinking.budget_tokens")
    if last.prefix and not last.reasoning:
        return ReasoningWish((ReasoningSwitch("messages", is_on=False),))
    return ReasoningWish(levels)
