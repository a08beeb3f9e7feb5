"""The schemas of ``/api/chat``, ``/api/generate`` and ``/api/show``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dslocal.server.wire.base_schemas import (
    MAX_MESSAGES,
    MAX_TOOLS,
    ArgumentsText,
    Number,
    RepeatPenalty,
    RequestSchema,
    RequestSeed,
    TopK,
    WholeNumber,
)
from dslocal.server.wire.client_fields import FieldTable
from dslocal.server.wire.logprobs import MAX_LOGPROBS

from .durations import KeepAlive
from .option_fields import OLLAMA_FIELDS


class OllamaOptions(RequestSchema):
    """How tokens are sampled, under Ollama's names."""

    num_ctx: WholeNumber | None = None
    num_predict: WholeNumber | None = None
    seed: RequestSeed = None
    stop: str | list[str] | None = None
    temperature: Number | None = None
    top_k: TopK = None
    top_p: Number | None = None
    min_p: Number | None = None
    repeat_penalty: RepeatPenalty = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None


class OllamaRequest(RequestSchema):
    """What both routes take. ``format`` is "json" or a JSON Schema."""

    field_table: ClassVar[FieldTable] = OLLAMA_FIELDS

    model: Annotated[str, Field(min_length=1)]
    stream: bool | None = None
    format: Literal["json", ""] | dict[str, Any] | None = None
    options: OllamaOptions | None = None
    keep_alive: KeepAlive | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None


class OllamaFunctionCall(RequestSchema):
    """The function that a tool call calls; its arguments are an object."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: ArgumentsText = "{}"
    index: int | None = None


class OllamaToolCall(RequestSchema):
    """A tool call of an earlier answer."""

    id: str = ""
    function: OllamaFunctionCall


class OllamaMessage(RequestSchema):
    """A message of the conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    thinking: str | None = None
    tool_calls: Annotated[list[OllamaToolCall], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None


class OllamaFunction(RequestSchema):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class OllamaTool(RequestSchema):
    """A tool that the model may call; only functions can be."""

    type: Literal["function"] = "function"
    function: OllamaFunction


class OllamaChatRequest(OllamaRequest):
    """A conversation to answer. One without messages has the model loaded."""

    messages: Annotated[list[OllamaMessage], Field(max_length=MAX_MESSAGES)] | None = None
    tools: Annotated[list[OllamaTool], Field(max_length=MAX_TOOLS)] | None = None


class OllamaGenerateRequest(OllamaRequest):
    """A question to answer, a gap to fill, or with ``raw`` a text to continue."""

    prompt: str = ""
    suffix: str | None = None
    system: str | None = None
    raw: bool | None = None


class OllamaShowRequest(RequestSchema):
    """The name of a model that is described."""

    field_table: ClassVar[FieldTable] = OLLAMA_FIELDS

    model: Annotated[str, Field(min_length=1)]
    verbose: bool | None = None
