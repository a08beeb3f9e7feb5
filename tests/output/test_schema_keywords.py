"""Proves that a typing error in a JSON Schema is found, and that nothing else is; and that a schema
is found in what OpenAI puts around one.
"""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import (
    Draft3Validator,
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
)

from dslocal.output.schema_keywords import KEYWORDS, unknown_keywords, unwrapped_schema

SCHEMA = {"type": "object", "properties": {"schema": {"type": "string"}}}
WRONG: list[tuple[Any, list[str]]] = [
    ({"requird": ["a"]}, ['unknown keyword "requird" (did you mean required?)']),
    ({"properties": {"a": {"minimun": 3}}}, ['unknown keyword "minimun" (did you mean minimum?)']),
    ({"anyOf": [{"zzz": 1}]}, ['unknown keyword "zzz"']),
    ({"items": {"nullable": True}}, ['unknown keyword "nullable": JSON Schema has "type": […, "n']),
    ({"$defs": {"a": {"patern": ""}}}, ['unknown keyword "patern" (did you mean pattern?)']),
    ({"not": {"if": {"thn": 1}}}, ['unknown keyword "thn"']),
]
RIGHT: list[Any] = [
    True,
    {},
    {"properties": {"requird": {"type": "string"}}},
    {"enum": [{"requird": 1}], "const": {"zzz": 1}, "default": {"zzz": 1}, "examples": [{"z": 1}]},
    {"x-order": 1, "example": 3, "nullable": False, "items": [{"type": "string"}]},
    {"dependentRequired": {"a": ["b"]}, "dependencies": {"a": ["b"]}},
]


@pytest.mark.parametrize(("schema", "lines"), WRONG)
def test_a_keyword_that_means_nothing_is_named(schema: Any, lines: list[str]) -> None:
    found = unknown_keywords(schema)
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True)), found


@pytest.mark.parametrize("schema", RIGHT, ids=str)
def test_what_is_not_a_keyword_is_left_alone(schema: Any) -> None:
    assert unknown_keywords(schema) == ()


def test_the_keywords_of_all_drafts_are_known() -> None:
    """Proves it against the metaschemas and the validators of jsonschema."""
    drafts = [Draft4Validator, Draft6Validator, Draft7Validator]
    for draft in (*drafts, Draft201909Validator, Draft202012Validator):
        assert set(draft.VALIDATORS) - set(Draft3Validator.VALIDATORS) <= KEYWORDS
        assert set(draft.META_SCHEMA.get("properties", {})) <= KEYWORDS


@pytest.mark.parametrize(
    "wrapped",
    [
        SCHEMA,
        {"schema": SCHEMA},
        {"name": "a", "schema": SCHEMA, "strict": True},
        {"name": "a", "description": "b", "schema": SCHEMA},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}},
    ],
)
def test_a_schema_is_found_in_its_envelope(wrapped: dict[str, Any]) -> None:
    assert unwrapped_schema(wrapped) == SCHEMA


@pytest.mark.parametrize(
    "schema",
    [True, {"schema": "a"}, {"name": "a", "schema": SCHEMA, "type": "object"}, {"json_schema": {}}],
)
def test_what_is_not_an_envelope_stays(schema: Any) -> None:
    assert unwrapped_schema(schema) == schema
