"""Request schemas: the fields that are obeyed, typed strictly.

Fields that are not obeyed are kept as extra ones: :mod:`.request_parsing` refuses or names them.
Does not know the ranges of sampling settings: :mod:`dslocal.prompts.settings` checks them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .logprobs import MAX_LOGPROBS

MAX_CHOICES = 16
MAX_MESSAGES = 4096
MAX_TOOLS = 128  # as DeepSeek has it

Number = Annotated[float, Field(allow_inf_nan=False)]
MAX_PROMPTS = 128  # of one completion request
MAX_EXTRAS = 256  # pieces of other files around a gap
MIN_SEED = -(1 << 63)
MAX_SEED = (1 << 63) - 1


def _none_if(*values: int) -> BeforeValidator:
    """Return a validator that reads numbers that mean "none" as if the field were absent."""

    def validate(value: Any) -> Any:
        return None if type(value) is int and value in values else value

    return BeforeValidator(validate)


def _whole_number(value: Any) -> Any:
    """Read 4.0 as 4: JSON has one kind of number, and some languages write every one so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_json_text(value: Any) -> Any:
    """Read arguments that are an object, as Ollama's clients send them, as OpenAI's text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _as_biases(value: Any) -> Any:
    """Read llama-server's list of pairs, and its ``false``, as OpenAI's object."""
    if value is False or value == []:
        return None
    is_pairs = isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 for pair in value
    )
    if not is_pairs:
        return value
    return {str(token): -100 if bias is False else bias for token, bias in value}


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
RequestSeed = Annotated[
    int | None, Field(ge=MIN_SEED, le=MAX_SEED), _none_if(-1), BeforeValidator(_whole_number)
]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
TopK = Annotated[int | None, _none_if(-1), BeforeValidator(_whole_number)]
RepeatPenalty = Annotated[Number | None, _none_if(-1)]
Biases = Annotated[dict[str, Number] | None, BeforeValidator(_as_biases)]
TokenIds = Annotated[list[int], Field(min_length=1)]


class RequestSchema(BaseModel):
    """The base of all schemas: strict types. Fields that are not known are kept, to be named."""

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class ContentPart(RequestSchema):
    """A part of a message. Only text can be read; what else there is has other fields."""

    type: str
    text: str | None = None
    refusal: str | None = None


class FunctionCall(RequestSchema):
    """The function that a tool call calls."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: Annotated[str, BeforeValidator(_as_json_text)] = ""


class ToolCallParam(RequestSchema):
    """A tool call of an earlier answer."""

    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(RequestSchema):
    """A message of the conversation.

    ``prefix`` on the last message, which must be the assistant's, has the model continue it, after
    the reasoning in ``reasoning_content`` (or ``reasoning``) if there is any. ``function_call`` and
    the role ``function`` are OpenAI's format of 2023.
    """

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart | str] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Annotated[list[ToolCallParam], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    prefix: bool | None = None


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


class StructuredOutputs(RequestSchema):
    """What the answer must look like, as vLLM has it: one of these."""

    json_value: dict[str, Any] | str | None = Field(alias="json", default=None)
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


class ThinkingParam(RequestSchema):
    """Whether the model reasons. ``budget_tokens`` ends the reasoning after so many tokens."""

    type: Literal["enabled", "disabled", "auto", "adaptive"]
    budget_tokens: Annotated[int | None, _none_if(-1)] = None
    reasoning_effort: str | None = None


class ReasoningParam(RequestSchema):
    """Whether the model reasons, as OpenRouter has it."""

    effort: str | None = None
    enabled: bool | None = None
    max_tokens: int | None = None
    exclude: bool | None = None


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
    n: Annotated[WholeNumber, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: RequestSeed = None
    stop: str | list[str] | None = None
    max_tokens: WholeNumber | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    logit_bias: Biases = None
    top_k: TopK = None
    min_p: Number | None = None
    repeat_penalty: RepeatPenalty = None
    json_schema: dict[str, Any] | str | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    grammar: str | None = None
    regex: str | None = None
    ebnf: str | None = None
    structured_outputs: StructuredOutputs | None = None


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
    thinking_budget: Annotated[int | None, _none_if(-1)] = None
    include_reasoning: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class CompletionRequest(SamplingFields):
    """Texts to continue; with ``suffix``, even an empty one, a gap to fill."""

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS)]
    )
    suffix: str | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """Return the prompts, each a text or token ids."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)


class InfillExtra(RequestSchema):
    """A piece of another file."""

    text: str
    filename: str | None = None
    time: float | list[int] | None = None


class InfillRequest(SamplingFields):
    """A gap to fill, as llama.vim sends it. ``prompt`` is the beginning of what fills it.

    ``n_indent`` is the indentation of the line, which the prompt shows already.
    """

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: Annotated[list[InfillExtra], Field(max_length=MAX_EXTRAS)] = []
    prompt: str = ""
    n_indent: int | None = None
    response_fields: list[str] = []


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
    effort: str = ""
    settings: dict[str, Any]
    seed: Seed
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    form: AskConstraint | None = None
    fresh: bool = True
