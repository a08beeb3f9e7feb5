"""The schemas of ``/v1/messages`` and ``/v1/messages/count_tokens``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dslocal.server.wire.base_schemas import MAX_MESSAGES, Number, RequestSchema, TopK, WholeNumber
from dslocal.server.wire.client_fields import FieldTable

from .message_fields import ANTHROPIC_FIELDS

MAX_TOOLS = 1024
MAX_STOP_SEQUENCES = 64


class ContentBlock(RequestSchema):
    """A block of a message, of any type; which fields it must have depends on the type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[ContentBlock] | None = None
    source: str | dict[str, Any] | None = None
    title: str | None = None


class AnthropicMessage(RequestSchema):
    """A message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[ContentBlock]


class AnthropicTool(RequestSchema):
    """A tool that the model may call. Only those that the client runs can be."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class AnthropicToolChoice(RequestSchema):
    """Which tools may be called, and whether one has to be."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class AnthropicThinking(RequestSchema):
    """Whether the model reasons. ``display`` leaves the text of the reasoning out."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: WholeNumber | None = None
    display: Literal["summarized", "omitted"] | None = None


class AnthropicFormat(RequestSchema):
    """The schema of an answer."""

    type: Literal["json_schema"]
    content: dict[str, Any] = Field(alias="schema")


class OutputConfig(RequestSchema):
    """How thoroughly the model reasons, and what the answer must look like."""

    effort: str | None = None
    format: AnthropicFormat | None = None


class CountTokensRequest(RequestSchema):
    """A conversation whose tokens are counted."""

    field_table: ClassVar[FieldTable] = ANTHROPIC_FIELDS

    model: str | None = None
    messages: Annotated[list[AnthropicMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[ContentBlock] | None = None
    tools: Annotated[list[AnthropicTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: AnthropicToolChoice | None = None
    thinking: AnthropicThinking | None = None
    output_config: OutputConfig | None = None
    output_format: AnthropicFormat | None = None


class MessagesRequest(CountTokensRequest):
    """A conversation to answer. Without ``max_tokens`` the server's limit holds."""

    max_tokens: Annotated[WholeNumber, Field(ge=1)] | None = None
    stop_sequences: Annotated[list[str], Field(max_length=MAX_STOP_SEQUENCES)] | None = None
    stream: bool | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: TopK = None
