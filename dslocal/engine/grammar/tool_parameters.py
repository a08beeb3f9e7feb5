"""Split the JSON Schema of a tool's arguments into parameters, each a text or JSON.

DSML writes a text as it is and everything else as JSON. So a parameter's schema is divided into a
terminal for the texts that it allows, in llguidance's notation, and a JSON Schema for the other
values. Expects a schema that the metaschema allows. Knows no tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dslocal.errors import UsageError

from .grammar import schema_to_grammar

NOT_TEXTS = ["null", "boolean", "number", "array", "object"]
ANY_TEXT = "/(?s:.*)/"
MAX_REFERENCES = 16  # from one to the next
MAX_TERMINAL = 100_000  # characters
# what llguidance holds a JSON string to, for texts that are written without quotes
FORMATS = {
    "date": r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
    "time": r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "ipv4": r"((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)",
    "email": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+",
}
FORMATS["date-time"] = f"{FORMATS['date']}T{FORMATS['time']}"
# keywords of the arguments' object that the order and the names of parameters already keep
OBJECT_KEYWORDS = {"type", "properties", "required", "additionalProperties"}
# keywords that say nothing about a value
ANNOTATIONS = {
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$comment",
    "$id",
    "$defs",
    "definitions",
    "contentEncoding",
    "contentMediaType",
    "x-guidance",
}
TEXT_KEYWORDS = {
    "type",
    "enum",
    "const",
    "pattern",
    "minLength",
    "maxLength",
    "format",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
}
# keywords that are about values which are not texts
OTHER_VALUES = {
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "contains",
    "minContains",
    "maxContains",
    "additionalItems",
}


@dataclass(frozen=True)
class Parameter:
    """One argument of a tool.

    Attributes:
        name: Its name.
        is_required: Whether every call has it.
        text: A terminal for the texts that it may be; None where it cannot be one.
        schema: A JSON Schema of what else it may be; None where it is always a text.
    """

    name: str
    is_required: bool
    text: str | None
    schema: dict[str, Any] | None


@dataclass
class ParameterReader:
    """Reads the arguments' schema of one tool.

    Attributes:
        root: The schema, into which references lead.
        unheld: What the schema asks for and the parameters do not show, filled in while reading.
    """

    root: Mapping[str, Any]
    unheld: list[str] = field(default_factory=list)

    def parameters(self) -> list[Parameter]:
        """Return the parameters in the schema's order; none where any name may be used.

        Raises:
            UsageError: If the schema is wrong, or no value satisfies a required parameter.
        """
        found: dict[str, Any] = {}
        required: list[str] = []
        for part in self._parts(self.root, 0):
            found |= part.get("properties", {})
            required += part.get("required", [])
            self._note(set(part) - OBJECT_KEYWORDS - ANNOTATIONS - {"$ref", "allOf"}, "arguments")
        found |= {name: self.free_value() for name in required if name not in found}
        parameters = [
            self._parameter(name, schema, is_required=name in required)
            for name, schema in found.items()
        ]
        return [each for each in parameters if each is not None]

    def allows_any_name(self) -> bool:
        """Return whether a call may have parameters that the schema does not name."""
        return all(
            part.get("additionalProperties") is not False for part in self._parts(self.root, 0)
        )

    def free_value(self) -> Any:
        """Return the schema of parameters that the schema does not name."""
        value = self.root.get("additionalProperties", True)
        return {} if value in (True, False) else value

    def free_parameter(self) -> Parameter | None:
        """Return what a parameter without a name of its own may be; None where nothing satisfies.

        Raises:
            UsageError: If the schema is wrong.
        """
        return self._parameter("", self.free_value(), is_required=False)

    def _parts(self, schema: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
        """Yield the objects whose keywords hold together: references and ``allOf`` resolved."""
        yield schema
        for part in self._referenced(schema, depth):
            if isinstance(part, Mapping):
                yield from self._parts(part, depth + 1)

    def _referenced(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        parts = list(schema.get("allOf", []))
        if "$ref" in schema:
            parts.append(self._resolve(schema["$ref"], depth))
        return parts

    def _resolve(self, reference: Any, depth: int) -> Any:
        """Return what a reference into the schema leads to.

        Raises:
            UsageError: If it leads nowhere, out of the schema, or in a circle.
        """
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UsageError(f"a reference leads out of the schema: {reference!r:.60}")
        if depth > MAX_REFERENCES:
            raise UsageError(f"more than {MAX_REFERENCES} references from one to the next")
        node: Any = self.root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, Mapping) or key not in node:
                raise UsageError(f"a reference leads nowhere: {reference:.60}")
            node = node[key]
        return node

    def _parameter(self, name: str, schema: Any, *, is_required: bool) -> Parameter | None:
        """Return a parameter; None for an optional one that no value satisfies."""
        if schema is True:
            schema = {}
        text = self._text(schema, 0)
        rest = self._rest(schema, has_text=text is not None)
        if text is None and rest is None:
            if is_required:
                raise UsageError(f"no value satisfies the schema of {name!r:.60}")
            return None
        return Parameter(name, is_required, text, rest)

    def _rest(self, schema: Any, *, has_text: bool) -> dict[str, Any] | None:
        """Return the schema of the values that are not texts; None where there are none."""
        if schema is False or (has_text and _is_text_alone(schema)):
            return None
        rest = _without_texts(schema) if has_text else dict(schema)
        if "$ref" in json.dumps(schema):
            rest = _with_references(rest)
            rest["$defs"] = {"root": _with_references(dict(self.root))}
        try:
            self.unheld += schema_to_grammar(rest, compact=True)[1]
        except UsageError:
            if not has_text:
                raise
            schema_to_grammar({**schema, **_definitions(self.root)})  # a wrong schema is an error
            return None
        return rest

    def _text(self, schema: Any, depth: int) -> str | None:
        """Return a terminal for the texts that satisfy ``schema``; None where there are none.

        Raises:
            UsageError: If the schema is wrong or too large.
        """
        if schema is True:
            return ANY_TEXT
        if not isinstance(schema, Mapping) or not _allows_texts(schema):
            return None
        self._note(set(schema) - TEXT_KEYWORDS - OTHER_VALUES - ANNOTATIONS, "a text")
        terms = list(self._conditions(schema))
        parts = [self._text(part, depth + 1) for part in self._referenced(schema, depth)]
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                branches = [self._text(part, depth + 1) for part in schema[keyword]]
                kept = [branch for branch in branches if branch is not None]
                parts.append(" | ".join(kept) if kept else None)
        if None in parts:
            return None
        terms += [part for part in parts if part]
        terminal = " & ".join(f"({term})" for term in terms if term != ANY_TEXT) or ANY_TEXT
        if len(terminal) > MAX_TERMINAL:
            raise UsageError("the texts of one parameter are too many")
        return terminal

    def _conditions(self, schema: Mapping[str, Any]) -> Iterator[str]:
        """Yield a terminal for each keyword that restricts texts."""
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            yield " | ".join(_literal(value) for value in values if isinstance(value, str))
        if "pattern" in schema:
            yield from self._pattern(schema["pattern"])
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if least or most is not None:
            yield f"/(?s:.{{{int(least)},{'' if most is None else int(most)}}})/"
        name = schema.get("format")
        if name in FORMATS:
            yield _regex(FORMATS[name])
        elif name is not None:
            self._note({f"format {name}"}, "a text")

    def _pattern(self, pattern: str) -> Iterator[str]:
        """Yield a terminal for texts in which ``pattern`` is found."""
        starts, ends = pattern.startswith("^"), bool(re.search(r"(?<!\\)(\\\\)*\$\Z", pattern))
        inside = pattern[starts : len(pattern) - ends]
        if (starts or ends) and "|" in inside:  # an anchor may belong to one of the branches
            self._note({f"pattern {pattern}"}, "a text")
            return
        before, after = "" if starts else "(?s:.*)", "" if ends else "(?s:.*)"
        yield _regex(f"{before}({inside}){after}")

    def _note(self, keywords: set[str], what: str) -> None:
        """Note keywords that are not enforced."""
        self.unheld += [
            f"{keyword!r:.60} is not enforced for {what}" for keyword in sorted(keywords)
        ]


def _allows_texts(schema: Mapping[str, Any]) -> bool:
    if "string" not in _kinds(schema):
        return False
    if "const" in schema:
        return isinstance(schema["const"], str)
    return "enum" not in schema or any(isinstance(value, str) for value in schema["enum"])


def _is_text_alone(schema: Mapping[str, Any]) -> bool:
    """Return whether it is plain that every value of ``schema`` is a text."""
    if schema.get("type") in ("string", ["string"]) or "const" in schema:
        return True
    return "enum" in schema and all(isinstance(value, str) for value in schema["enum"])


def _without_texts(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``schema`` for values that are not texts."""
    return {**schema, "type": [kind for kind in _kinds(schema) if kind != "string"]}


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that ``schema`` allows."""
    kinds = schema.get("type", ["string", *NOT_TEXTS])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _with_references(node: Any) -> Any:
    """Return ``node`` with references that lead into the whole schema at ``#/$defs/root``."""
    if isinstance(node, list):
        return [_with_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    moved = {key: _with_references(value) for key, value in node.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = f"#/$defs/root{reference.removeprefix('#')}"
    return moved


def _definitions(root: Mapping[str, Any]) -> dict[str, Any]:
    return {key: root[key] for key in ("$defs", "definitions") if key in root}


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _regex(pattern: str) -> str:
    """Return a terminal for a regular expression as JSON Schema has it, where ``\\d`` is ASCII."""
    from llguidance import regex_to_lark

    return f"/{regex_to_lark(pattern, 'dw')}/"
