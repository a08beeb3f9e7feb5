"""What an answer must look like: the fields in which clients put schemas and grammars, as one.

OpenAI's and Fireworks's ``response_format``, llama-server's ``json_schema`` and ``grammar``, the
``guided_…`` fields and ``structured_outputs`` of vLLM, and SGLang's ``regex`` and ``ebnf``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dslocal import output
from dslocal.files import parse_strict_json
from dslocal.server.wire.client_fields import IgnoredField
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.schemas import ChatRequest, ResponseFormat, SamplingFields

MAX_SHOWN_REASON = 200
SCHEMA_FIELDS = ("json_schema", "guided_json")
REGEX_FIELDS = ("guided_regex", "regex")
GBNF_FIELDS = ("grammar", "guided_grammar", "ebnf")
CHOICE_FIELDS = ("guided_choice",)


@dataclass(frozen=True)
class SentConstraint:
    """What one field asks for: a JSON Schema, a regular expression, texts or a grammar.

    Attributes:
        field: The field's name.
        kind: ``schema``, ``regex``, ``choice`` or ``gbnf``.
        value: The schema, the expression, the texts or the grammar.
        is_strict: Whether a schema that cannot be enforced completely is refused.
    """

    field: str
    kind: str
    value: Any
    is_strict: bool = False


def read_constraint(request: SamplingFields) -> output.OutputConstraint | None:
    """Return what the request asks for; None where the answer is free.

    Raises:
        ApiError: 400 where two fields ask for something, 422 for a wrong type.
        UsageError: The schema, expression or grammar cannot be used.
    """
    found = list(_sent(request))
    if len(found) > 1:
        raise ApiError(
            400,
            f"{found[0].field} and {found[1].field} are two ways to shape an answer: send one",
            param=found[1].field,
        )
    return _constraint(found[0]) if found else None


def unheld_fields(constraint: output.OutputConstraint | None) -> tuple[IgnoredField, ...]:
    """Return what is to be said of a constraint that the answer is not completely held to."""
    if constraint is None or not (constraint.unheld or constraint.unknown):
        return ()
    reasons = "; ".join((*constraint.unheld, *constraint.unknown))[:MAX_SHOWN_REASON]
    return (IgnoredField(constraint.source, reasons),)


def _sent(request: SamplingFields) -> Iterator[SentConstraint]:
    if isinstance(request, ChatRequest) and request.response_format is not None:
        yield from _response_format(request.response_format)
    for kind, fields in (
        ("schema", SCHEMA_FIELDS),
        ("regex", REGEX_FIELDS),
        ("choice", CHOICE_FIELDS),
        ("gbnf", GBNF_FIELDS),
    ):
        for field in fields:
            value = getattr(request, field)
            if value not in (None, ""):
                yield SentConstraint(field, kind, value)
    structured = request.structured_outputs
    if structured is None:
        return
    for name, kind in (
        ("json_value", "schema"),
        ("regex", "regex"),
        ("choice", "choice"),
        ("grammar", "gbnf"),
    ):
        value = getattr(structured, name)
        if value is not None:
            shown = name.removesuffix("_value")
            yield SentConstraint(f"structured_outputs.{shown}", kind, value)
    if structured.json_object:
        yield SentConstraint("structured_outputs.json_object", "schema", output.ANY_OBJECT)


def _response_format(sent: ResponseFormat) -> Iterator[SentConstraint]:
    """Yield what ``response_format`` asks for, with the schema in any of its places."""
    if sent.type == "text":
        return
    if sent.type == "grammar":
        if not isinstance(sent.grammar, str):
            raise ApiError(
                422, "response_format.grammar: is needed with this type", param="response_format"
            )
        yield SentConstraint("response_format.grammar", "gbnf", sent.grammar)
        return
    places = {
        "response_format.json_schema": sent.json_schema.content if sent.json_schema else None,
        "response_format.schema": sent.plain_schema,
        "response_format.value": sent.value,
    }
    found = [(place, schema) for place, schema in places.items() if schema is not None]
    if len(found) > 1:
        raise ApiError(
            400, f"{found[0][0]} and {found[1][0]} are two schemas: send one", param=found[1][0]
        )
    if found:
        is_strict = bool(sent.json_schema and sent.json_schema.strict)
        yield SentConstraint(found[0][0], "schema", found[0][1], is_strict)
    elif sent.type == "json_object":
        yield SentConstraint("response_format", "schema", output.ANY_OBJECT)
    else:
        param = "response_format.json_schema"
        raise ApiError(422, f"{param}: is needed with this type", param=param)


def _constraint(sent: SentConstraint) -> output.OutputConstraint:
    if sent.kind == "regex":
        return output.constraint_from_regex(sent.value, sent.field)
    if sent.kind == "choice":
        return output.constraint_from_choices(sent.value, sent.field)
    if sent.kind == "gbnf":
        return output.constraint_from_gbnf(sent.value, sent.field)
    constraint = output.constraint_from_schema(_schema(sent), sent.field)
    unheld = (*constraint.unheld, *constraint.unknown)
    if sent.is_strict and unheld:
        reasons = "; ".join(unheld)[:MAX_SHOWN_REASON]
        raise ApiError(
            400,
            f"{sent.field}: an answer cannot be held to all of this schema: {reasons}",
            param=sent.field,
        )
    return constraint


def _schema(sent: SentConstraint) -> Any:
    """Return the schema, which SGLang's clients and some of vLLM's send as text."""
    if not isinstance(sent.value, str):
        return sent.value
    try:
        return parse_strict_json(sent.value)
    except (ValueError, RecursionError) as e:
        message = f"{sent.field}: is not a JSON Schema: {str(e)[:MAX_SHOWN_REASON]}"
        raise ApiError(422, message, param=sent.field) from None
