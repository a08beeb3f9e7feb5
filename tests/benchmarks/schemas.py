"""One hundred generated JSON Schemas, each answered by nano: how many answers validate, and whether
the reasoning stayed free text.

``python tests/benchmarks/schemas.py [COUNT]``; the default tests take the first few.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from typing import Any

WORDS = (
    "red",
    "green",
    "blue",
    "a b",
    'say "hi"',
    "back\\slash",
    "é",
    "数",
    "line\nbreak",
    "<｜end▁of▁sentence｜>",
    "</think>",
    "",
)
QUESTIONS = (
    "What is 47 × 86?",
    "What is 12 * (3 + 4)?",
    "hello",
    "What is the capital of Peru?",
    "What is 125 - 37?",
    "Who are you?",
)
Schema = dict[str, Any]


def schema_of(seed: int) -> Schema:
    """A schema that is an object of everything: nested objects, enums, arrays, numbers with bounds,
    unions. The same seed, the same one.
    """
    dice = random.Random(seed)
    return _object(dice, 3)


def _object(dice: random.Random, depth: int) -> Schema:
    names = dice.sample(
        ["id", "name", "kind", "tags", "size", "first name", "größe", "x-1"], dice.randint(2, 4)
    )
    required = names if dice.random() < 0.5 else dice.sample(names, dice.randint(1, len(names)))
    properties = {name: _any(dice, depth - 1) for name in names}
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _any(dice: random.Random, depth: int) -> Schema:
    leaves = [_enum, _integer, _number, _string, _const, _boolean]
    kinds = [*leaves, _object, _array, _array, _union, _types] if depth > 0 else leaves
    return dice.choice(kinds)(dice, depth)


def _enum(dice: random.Random, _: int) -> Schema:
    return {"enum": dice.sample([*WORDS, 1, 2.5, None, True], dice.randint(1, 6))}


def _const(dice: random.Random, _: int) -> Schema:
    return {"const": dice.choice([*WORDS, -7, {"a": [1, "b"]}])}


def _boolean(_: random.Random, __: int) -> Schema:
    return {"type": "boolean"}


def _integer(dice: random.Random, _: int) -> Schema:
    low = dice.randint(-1000, 1000)
    bounds = dice.choice([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")])
    return {"type": "integer", bounds[0]: low, bounds[1]: low + dice.choice((2, 9, 90, 5000))}


def _number(dice: random.Random, _: int) -> Schema:
    if dice.random() < 0.3:
        return {
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "multipleOf": dice.choice([0.5, 0.01, 5]),
        }
    low = round(dice.uniform(-10, 10), 2)
    return {
        "type": "number",
        "minimum": low,
        "maximum": round(low + dice.choice((0.5, 3, 1000)), 2),
    }


def _string(dice: random.Random, _: int) -> Schema:
    shape: Schema = dice.choice(
        [
            {"maxLength": 12},
            {"minLength": 3, "maxLength": 9},
            {"pattern": "^[A-Z]{2}-[0-9]{3}$"},
            {"format": "date"},
        ]
    )
    return {"type": "string", **shape}


def _array(dice: random.Random, depth: int) -> Schema:
    least = dice.randint(0, 2)
    return {
        "type": "array",
        "items": _any(dice, depth - 1),
        "minItems": least,
        "maxItems": least + dice.randint(1, 3),
    }


def _union(dice: random.Random, depth: int) -> Schema:
    return {
        dice.choice(["anyOf", "anyOf", "oneOf"]): [
            {"type": "null"},
            _object(dice, depth - 1),
            _integer(dice, 0),
        ]
    }


def _types(_: random.Random, __: int) -> Schema:
    return {"type": ["boolean", "null"]}


def answers(count: int) -> Iterator[tuple[int, Any, float]]:
    """Seed, turn and seconds of every answer of nano to the first ``count`` schemas."""
    from dslocal import chat, output, prompts
    from dslocal.catalog import conversion_cache
    from dslocal.engine import LlamaContext, LlamaModel

    settings = prompts.FAMILIES["nano"].defaults
    with (
        LlamaModel(conversion_cache.ensure_gguf("nano")) as model,
        LlamaContext(model, model.n_ctx_train) as context,
    ):
        for seed in range(count):
            form = output.constraint_from_schema(schema_of(seed), f"schema {seed}")
            session = chat.Session(context, prompts.FAMILIES["nano"], settings, constraint=form)
            began = time.perf_counter()
            for _ in session.stream(QUESTIONS[seed % len(QUESTIONS)], seed):
                pass
            assert session.turn is not None
            yield seed, session.turn, time.perf_counter() - began


def main(count: int) -> None:
    from dslocal.errors import SchemaError

    valid = free = tokens = 0
    seconds = 0.0
    for seed, turn, taken in answers(count):
        tokens, seconds = tokens + turn.completion_tokens, seconds + taken
        free += bool(turn.reasoning) and not turn.reasoning.lstrip().startswith("{")
        try:
            turn.constraint.check(turn.text)
            valid += 1
        except SchemaError as e:
            print(f"schema {seed}: {turn.finish_reason}: {e}\n  {turn.text[:300]!r}")
    print(
        f"{valid} of {count} answers validate; {free} with reasoning in free text; {tokens:,}"
        f" tokens at {tokens / seconds:,.0f} a second"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
