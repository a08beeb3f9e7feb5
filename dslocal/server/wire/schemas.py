"""Requests as they come over the wire: OpenAI's and DeepSeek's fields, typed strictly. What is not
known here is ignored.

Ranges of sampling settings are :mod:`dslocal.prompts.settings`' to check.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ApiError

MOST_CHOICES = 16
MOST_LOGPROBS = 20  # as OpenAI and DeepSeek have it
MOST_MESSAGES = 4096
MOST_TOOLS = 128  # as DeepSeek has it

Number = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


class Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class TextPart(Wire):
    type: Literal["text"]
    text: str


class FunctionCall(Wire):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: str = ""


class ToolCallParam(Wire):
    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Wire):
    """``prefix`` on the last message, an assistant's, has it gone on with, after the thought in
    ``reasoning_content`` if there is one.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[ToolCallParam], Field(max_length=MOST_TOOLS)] | None = None
    tool_call_id: str | None = None
    prefix: bool | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n\n".join(part.text for part in self.content)
        return self.content or ""


class Function(Wire):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolParam(Wire):
    type: Literal["function"]
    function: Function


class NamedFunction(Wire):
    name: str


class NamedTool(Wire):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Wire):
    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)
    name: str = "answer"
    content: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ThinkingParam(Wire):
    """``budget_tokens`` closes the thought after so many tokens."""

    type: Literal["enabled", "disabled"]
    budget_tokens: int | None = None


class StreamOptions(Wire):
    include_usage: bool | None = None


class Sampling(Wire):
    """What all routes take. An absent field is as the server was started, else as the model's
    makers say.
    """

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
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


class ChatRequest(Sampling):
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    tools: Annotated[list[ToolParam], Field(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    thinking: ThinkingParam | None = None


class CompletionRequest(Sampling):
    """With ``suffix``, even an empty one, the gap between it and ``prompt`` is filled; without,
    ``prompt`` is gone on with.
    """

    prompt: str
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None


class AskForm(Wire):
    """One of the two: a JSON Schema, or a grammar in GBNF."""

    source: str
    schema_text: str | None = None
    grammar_text: str | None = None


class AskRequest(Wire):
    """``dslocal ask``'s question, composed already: ``settings`` are values by name,
    ``fingerprint`` says for which file they are meant.

    With ``fresh`` nothing of the cache is used, so that the answer is what a process of its own
    would give.
    """

    fingerprint: str
    family: str
    text: str
    system: str = ""
    thinking: Literal["forced", "free", "bypassed", "none"]
    settings: dict[str, Any]
    seed: Seed
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    form: AskForm | None = None
    fresh: bool = True


W = TypeVar("W", bound=Wire)


def read(kind: type[W], body: bytes) -> W:
    """The request that ``body`` spells. Raises Fault: 400 for what is no JSON object, 422 for
    fields that cannot be meant.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except ValueError as e:
        raise ApiError(400, f"the body is no JSON: {str(e)[:200]}") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body must be a JSON object")
    try:
        return kind.model_validate(found)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        raise ApiError(422, f"{place}: {first['msg']}"[:300], param=place) from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
