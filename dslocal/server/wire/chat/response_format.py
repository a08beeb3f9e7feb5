"""``response_format``: a schema or grammar for the answer, as OpenAI, Fireworks and TGI write
it."""

from __future__ import annotations

from collections.abc import Iterator

from dslocal import output
from dslocal.server.exchange.tasks import SentConstraint
from dslocal.server.wire.errors import ApiError

from .schemas import ResponseFormat


def format_constraints(sent: ResponseFormat | None) -> Iterator[SentConstraint]:
    """Yield what ``response_format`` asks for, with the schema in any of its places."""
    if sent is None or sent.type == "text":
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
