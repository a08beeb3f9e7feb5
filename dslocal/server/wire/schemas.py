"""Request schemas: the fields of OpenAI and DeepSeek, typed strictly. Unknown fields are ignored.

Does not know the ranges of sampling settings: :mod:`dslocal.prompts.settings` checks them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dslocal.files import refuse_json_constant

from .errors import ApiError
from .logprobs import MAX_LOGPROBS

MAX_CHOICES = 16
MAX_MESSAGES = 4096
MAX_TOOLS = 128  # as DeepSeek has it

Number = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


class RequestSchema(BaseModel):
    """The base of all schemas: strict types, unknown fields ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


class TextPart(RequestSchema):
    """A part of a message."""

    type: Literal["text"]
    text: str


class FunctionCall(RequestSchema):
    """The function that a tool call calls."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: str = ""


class ToolCallParam(RequestSchema):
    """A tool call of an earlier answer."""

    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(RequestSchema):
    """A message of the conversation.

    ``prefix`` on the last message, which must be the assistant's, has the model continue it, after
    the reasoning in ``reasoning_content`` if there is any.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[ToolCallParam], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: str | None = None
    prefix: bool | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n\n".join(part.text for part in self.content)
        return self.content or ""


class Function(RequestSchema):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolParam(RequestSchema):
    """A tool that the model may call."""

    type: Literal["function"]
    function: Function


class NamedFunction(RequestSchema):
    """The name of a function."""

    name: str


class NamedTool(RequestSchema):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(RequestSchema):
    """The schema of an answer."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)
    name: str = "answer"
    content: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None


class ResponseFormat(RequestSchema):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ThinkingParam(RequestSchema):
    """Whether the model reasons. ``budget_tokens`` ends the reasoning after so many tokens."""

    type: Literal["enabled", "disabled"]
    budget_tokens: int | None = None


class StreamOptions(RequestSchema):
    """What a stream has besides the answer."""

    include_usage: bool | None = None


class SamplingFields(RequestSchema):
    """What all routes take. Where a field is absent, the server's options hold, and then the
    defaults of the model card.
    """

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    logit_bias: dict[str, Number] | None = None
    top_k: int | None = None
    min_p: Number | None = None
    repeat_penalty: Number | None = None


class ChatRequest(SamplingFields):
    """A conversation to answer."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    tools: Annotated[list[ToolParam], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    thinking: ThinkingParam | None = None


class CompletionRequest(SamplingFields):
    """A text to continue; with ``suffix``, even an empty one, a gap to fill."""

    prompt: str
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None


class AskConstraint(RequestSchema):
    """What the answer must look like: a JSON Schema or a GBNF grammar, one of the two."""

    source: str
    schema_text: str | None = None
    grammar_text: str | None = None


class AskRequest(RequestSchema):
    """A question of ``dslocal ask``, composed already.

    Attributes:
        fingerprint: The file that the settings are meant for.
        settings: Values by name.
        fresh: Whether nothing of the cache is used, so that the answer is what a process of its own
            would give.
    """

    fingerprint: str
    family: str
    text: str
    system: str = ""
    thinking: Literal["forced", "free", "bypassed", "none"]
    settings: dict[str, Any]
    seed: Seed
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    form: AskConstraint | None = None
    fresh: bool = True


S = TypeVar("S", bound=RequestSchema)


def parse_request(schema: type[S], body: bytes) -> S:
    """Parse the body of a request.

    Raises:
        ApiError: 400 for what is not a JSON object, 422 for fields that do not match ``schema``.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=refuse_json_constant)
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except ValueError as e:
        raise ApiError(400, f"the body is no JSON: {str(e)[:200]}") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body must be a JSON object")
    try:
        return schema.model_validate(found)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:200]
        raise ApiError(422, f"{field}: {first['msg']}"[:300], param=field) from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
