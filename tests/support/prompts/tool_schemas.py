"""Generated tools: all that OpenAI's strict mode allows in a schema of arguments, and more."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from dslocal.prompts import Tool

Schema = dict[str, Any]
MakeSchema = Callable[[random.Random, int], Schema]
TEXTS = ("red", "a b", 'say "hi"', "back\\slash", "é", "数", "line\nbreak", "</b>", "</", "", "1")
NAMES = ("id", "name", "first name", "größe", "x-1", "a>b", 'q"', "list", "k" * 60)
SIGNATURE: Schema = {"type": "object", "additionalProperties": False}


def tool_of(seed: int, number: int = 0) -> Tool:
    """Return a tool with random parameters; the same seed, the same tool."""
    dice = random.Random(f"{seed}.{number}")
    names = dice.sample(NAMES, dice.randint(0, 5))
    required = dice.sample(names, dice.randint(0, len(names)))
    schema = {
        **SIGNATURE,
        "properties": {name: _any(dice, 2) for name in names},
        "required": required,
        "$defs": {"tree": _tree(), "colour": {"type": "string", "enum": ["red", "</x>", "blue"]}},
    }
    return Tool(f"tool_{number}", "", schema)


def _tree() -> Schema:
    kids = {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}
    properties = {"name": {"type": "string", "maxLength": 4}, "kids": kids}
    return {**SIGNATURE, "properties": properties, "required": ["name"]}


def _any(dice: random.Random, depth: int) -> Schema:
    leaves: list[MakeSchema] = [_text, _text, _enum, _const, _number, _boolean, _reference]
    nested: list[MakeSchema] = [_object, _array, _union, _types, _both]
    return dice.choice(leaves + nested if depth else leaves)(dice, depth)


def _text(dice: random.Random, _: int) -> Schema:
    shapes: list[Schema] = [
        {},
        {"maxLength": 6},
        {"minLength": 2, "maxLength": 5},
        {"pattern": "^[A-Z]{2}/[0-9]{3}$"},
        {"pattern": "</"},
        {"format": "date"},
        {"pattern": "^a", "maxLength": 4},
    ]
    return {"type": "string", "description": "a text", **dice.choice(shapes)}


def _enum(dice: random.Random, _: int) -> Schema:
    return {"enum": dice.sample([*TEXTS, 1, 2.5, None, True, {"a": "</b>"}], dice.randint(1, 6))}


def _const(dice: random.Random, _: int) -> Schema:
    return {"const": dice.choice([*TEXTS, -7, None])}


def _number(dice: random.Random, _: int) -> Schema:
    low = dice.randint(-100, 100)
    return {
        "type": dice.choice(["integer", "number"]),
        "minimum": low,
        "maximum": low + dice.choice((0, 9, 999)),
    }


def _boolean(_: random.Random, __: int) -> Schema:
    return {"type": "boolean"}


def _reference(dice: random.Random, _: int) -> Schema:
    return {"$ref": dice.choice(["#/$defs/tree", "#/$defs/colour"])}


def _object(dice: random.Random, depth: int) -> Schema:
    names = dice.sample(NAMES, dice.randint(1, 3))
    properties = {name: _any(dice, depth - 1) for name in names}
    return {**SIGNATURE, "properties": properties, "required": names[:1]}


def _array(dice: random.Random, depth: int) -> Schema:
    return {"type": "array", "items": _any(dice, depth - 1), "minItems": 1, "maxItems": 3}


def _union(dice: random.Random, depth: int) -> Schema:
    return {"anyOf": [{"type": "null"}, _text(dice, 0), _object(dice, depth - 1)]}


def _types(dice: random.Random, _: int) -> Schema:
    return {"type": dice.choice([["string", "null"], ["integer", "string"], ["boolean", "null"]])}


def _both(dice: random.Random, _: int) -> Schema:
    return {"allOf": [{"type": "string"}, {"minLength": 1}, _text(dice, 0)]}
