"""The schema of ``/v1/responses``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dslocal.server.wire.base_schemas import (
    MAX_MESSAGES,
    Number,
    RequestSchema,
    RequestSeed,
    WholeNumber,
)
from dslocal.server.wire.chat.schemas import ContentPart
from dslocal.server.wire.client_fields import FieldTable
from dslocal.server.wire.logprobs import MAX_LOGPROBS

from .response_fields import RESPONSES_FIELDS

MAX_TOOLS = 1024
MAX_METADATA = 16  # pairs, as OpenAI has it
RESPONSE_ID = r"^[A-Za-z0-9_-]{1,128}$"


class InputItem(RequestSchema):
    """An item of the conversation, of any type; which fields it must have depends on the type."""

    type: str | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[ContentPart] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[ContentPart] | None = None
    summary: list[ContentPart] | None = None
    encrypted_content: str | None = None


class ResponsesTool(RequestSchema):
    """A tool: ``function`` takes an object, ``custom`` any text, a ``namespace`` has several."""

    type: str
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")] | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None
    tools: Annotated[list[ResponsesTool], Field(max_length=MAX_TOOLS)] | None = None


class NamedResponsesTool(RequestSchema):
    """A tool that is named, or several of which some may be called."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: Annotated[list[NamedResponsesTool], Field(max_length=MAX_TOOLS)] | None = None


class TextFormat(RequestSchema):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    name: str = "answer"
    description: str | None = None
    content: dict[str, Any] | None = Field(alias="schema", default=None)
    strict: bool | None = None


class TextParam(RequestSchema):
    """How the text of the answer comes."""

    format: TextFormat | None = None


class EffortParam(RequestSchema):
    """How thoroughly the model reasons."""

    effort: str | None = None


class ResponsesStreamOptions(RequestSchema):
    """What a stream has besides: nothing that is obeyed."""


class ResponsesRequest(RequestSchema):
    """A conversation to answer, perhaps after an earlier response."""

    field_table: ClassVar[FieldTable] = RESPONSES_FIELDS

    model: str | None = None
    input: str | Annotated[list[InputItem], Field(max_length=MAX_MESSAGES)] | None = None
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(pattern=RESPONSE_ID)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: ResponsesStreamOptions | None = None
    include: list[str] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=MAX_METADATA)] | None = None
    max_output_tokens: WholeNumber | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    seed: RequestSeed = None
    tools: Annotated[list[ResponsesTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedResponsesTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning: EffortParam | None = None
    text: TextParam | None = None
    truncation: Literal["auto", "disabled"] | None = None
