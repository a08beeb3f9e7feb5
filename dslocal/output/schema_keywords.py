"""Find keywords in a JSON Schema that no draft of JSON Schema has.

Validators ignore them, so that a typing error such as ``requird`` silently means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

MAX_NAMED = 8  # keywords in a message
# of drafts 4 to 2020-12, https://json-schema.org/specification
HOLDING_ONE = {
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
}
HOLDING_SEVERAL = {"allOf", "anyOf", "items", "oneOf", "prefixItems"}
HOLDING_BY_NAME = {
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
}
OTHERS = {
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
}
KEYWORDS = HOLDING_ONE | HOLDING_SEVERAL | HOLDING_BY_NAME | OTHERS
# what OpenAPI adds that says nothing about a value
OPENAPI_ANNOTATIONS = {"discriminator", "example", "externalDocs", "xml"}
EXTENSION = "x-"
NULLABLE = "nullable"


def unknown_keywords(schema: Any) -> tuple[str, ...]:
    """Return a line for each keyword of ``schema`` that means nothing, and what may be meant."""
    found: dict[str, str] = {}
    level = [schema]
    while level:
        found |= {key: _line(key) for node in level for key in _unknown(node)}
        level = [child for node in level for child in _subschemas(node)]
    return tuple(list(found.values())[:MAX_NAMED])


def unwrapped_schema(schema: Any) -> Any:
    """Return the schema within what OpenAI's ``response_format`` puts around one.

    That is ``{"name", "schema", "strict"}``, or ``{"type": "json_schema", "json_schema": {…}}``
    around it. Anything else is returned as it is.
    """
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "json_schema" and isinstance(schema.get("json_schema"), dict):
        return unwrapped_schema(schema["json_schema"])
    is_envelope = schema.keys() <= {"name", "schema", "strict", "description"}
    if is_envelope and isinstance(schema.get("schema"), dict):
        return schema["schema"]
    return schema


def _unknown(node: Any) -> Iterator[str]:
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        is_known = key in KEYWORDS or key in OPENAPI_ANNOTATIONS or key.startswith(EXTENSION)
        if not is_known and not (key == NULLABLE and value is False):
            yield key


def _line(key: str) -> str:
    shown = json.dumps(key, ensure_ascii=False)[:60]
    if key == NULLABLE:
        return f'unknown keyword {shown}: JSON Schema has "type": […, "null"]'
    near = get_close_matches(key, KEYWORDS, 1)
    return f"unknown keyword {shown}" + (f" (did you mean {near[0]}?)" if near else "")


def _subschemas(node: Any) -> Iterator[Any]:
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in HOLDING_SEVERAL and isinstance(value, list):
            yield from value
        elif key in HOLDING_BY_NAME and isinstance(value, dict):
            yield from value.values()
        elif key in HOLDING_ONE:
            yield value
