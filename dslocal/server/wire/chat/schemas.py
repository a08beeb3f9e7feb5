"""The schema of ``/v1/chat/completions``: OpenAI's and DeepSeek's fields, and what clients of other
servers send there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dslocal.server.wire.base_schemas import (
    MAX_MESSAGES,
    MAX_TOOLS,
    ArgumentsText,
    RequestSchema,
    SamplingFields,
    WholeNumber,
    none_if,
)
from dslocal.server.wire.logprobs import MAX_LOGPROBS


class ContentPart(RequestSchema):
    """A part of a message. Only text can be read; what else there is has other fields."""

    type: str
    text: str | None = None
    refusal: str | None = None


class FunctionCall(RequestSchema):
    """The function that a tool call calls."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: ArgumentsText = ""


class ToolCallParam(RequestSchema):
    """A tool call of an earlier answer."""

    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class Function(RequestSchema):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolParam(RequestSchema):
    """A tool that the model may call; only functions can be."""

    type: str
    function: Function | None = None


class ChatMessage(RequestSchema):
    """A message of the conversation.

    ``prefix`` on the last message, which must be the assistant's, has the model continue it, after
    the reasoning in ``reasoning_content`` (or ``reasoning``) if there is any. ``function_call`` and
    the role ``function`` are OpenAI's format of 2023. The role ``latest_reminder``, and ``tools``
    of a system's or developer's message, are those of DeepSeek's own encoders for V3.2 and V4.
    """

    role: Literal["system", "developer", "user", "latest_reminder", "assistant", "tool", "function"]
    content: str | list[ContentPart | str] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Annotated[list[ToolCallParam], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    tools: Annotated[list[ToolParam], Field(max_length=MAX_TOOLS)] | None = None
    prefix: bool | None = None


class NamedFunction(RequestSchema):
    """The name of a function."""

    name: str


class NamedTool(RequestSchema):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class AllowedToolNames(RequestSchema):
    """The tools of which the model may call one, or must."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(max_length=MAX_TOOLS)]


class AllowedTools(RequestSchema):
    """A choice of some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedToolNames


class JsonSchema(RequestSchema):
    """The schema of an answer."""

    name: str = "answer"
    content: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(RequestSchema):
    """What the answer must look like.

    The schema is in ``json_schema`` as OpenAI has it, in ``schema`` (llama-server, Together,
    Fireworks) or in ``value`` (TGI).
    """

    type: Literal["text", "json_object", "json_schema", "json", "grammar"]
    json_schema: JsonSchema | None = None
    plain_schema: dict[str, Any] | None = Field(alias="schema", default=None)
    value: dict[str, Any] | None = None
    grammar: str | None = None


class ThinkingParam(RequestSchema):
    """Whether the model reasons. ``budget_tokens`` ends the reasoning after so many tokens."""

    type: Literal["enabled", "disabled", "auto", "adaptive"]
    budget_tokens: Annotated[int | None, none_if(-1)] = None
    reasoning_effort: str | None = None


class ReasoningParam(RequestSchema):
    """Whether the model reasons, as OpenRouter has it."""

    effort: str | None = None
    enabled: bool | None = None
    max_tokens: int | None = None
    exclude: bool | None = None


class ChatRequest(SamplingFields):
    """A conversation to answer."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: WholeNumber | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    tools: Annotated[list[ToolParam], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required", "any"] | NamedTool | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[Function], Field(max_length=MAX_TOOLS)] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    response_format: ResponseFormat | None = None
    thinking: ThinkingParam | None = None
    reasoning_effort: str | None = None
    reasoning: ReasoningParam | None = None
    enable_thinking: bool | None = None
    think: bool | str | None = None
    thinking_budget: Annotated[int | None, none_if(-1)] = None
    include_reasoning: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
