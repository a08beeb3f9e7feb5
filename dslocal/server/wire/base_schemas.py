"""What request schemas of all formats are made of: strict types, and the fields that OpenAI's
routes share.

Unknown fields are kept as extra ones: :mod:`.request_parsing` refuses or names them. Does not know
the ranges of sampling settings: :mod:`dslocal.prompts.settings` checks them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .client_fields import OPENAI_FIELDS, FieldTable

MAX_CHOICES = 16
MAX_MESSAGES = 4096
MAX_TOOLS = 128  # as DeepSeek has it
MIN_SEED = -(1 << 63)
MAX_SEED = (1 << 63) - 1

Number = Annotated[float, Field(allow_inf_nan=False)]


def none_if(*values: int) -> BeforeValidator:
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
ArgumentsText = Annotated[str, BeforeValidator(_as_json_text)]
RequestSeed = Annotated[
    int | None, Field(ge=MIN_SEED, le=MAX_SEED), none_if(-1), BeforeValidator(_whole_number)
]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
TopK = Annotated[int | None, none_if(-1), BeforeValidator(_whole_number)]
RepeatPenalty = Annotated[Number | None, none_if(-1)]
Biases = Annotated[dict[str, Number] | None, BeforeValidator(_as_biases)]


class RequestSchema(BaseModel):
    """The base of all schemas: strict types. Fields that are not known are kept, to be named.

    Attributes:
        field_table: What is done about the fields of a request that its schema does not have.
    """

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())
    field_table: ClassVar[FieldTable] = OPENAI_FIELDS


class StructuredOutputs(RequestSchema):
    """What the answer must look like, as vLLM has it: one of these."""

    json_value: dict[str, Any] | str | None = Field(alias="json", default=None)
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


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
