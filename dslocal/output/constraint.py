"""What an answer must look like: a JSON Schema or a grammar, read from a file with every bound that
a hostile one needs.

The grammar of a schema holds the answer to nearly all of it while it is written; the finished
answer is validated against the whole schema all the same. Schemas are bounded in size and depth,
references lead into the schema itself and nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from dslocal.errors import SchemaError, UsageError
from dslocal.prompts.files import read_text

MAX_BYTES = 1 << 20
MAX_DEPTH = 100  # levels of lists and objects within each other
MAX_DIGITS = 400  # of a number, that are calculated with
ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True)
class OutputConstraint:
    """``grammar`` is for :class:`dslocal.engine.grammar.Grammar`; ``schema`` is what the answer is
    validated against, where there is one.

    ``unheld`` says what of the schema the grammar cannot express, so that only the finished answer
    shows it.
    """

    source: str
    grammar: str
    schema: Any = None
    unheld: tuple[str, ...] = field(default=())

    def check(self, answer: str) -> Any:
        """The value that ``answer`` spells, None without a schema. Raises SchemaError for what is
        not JSON or not as the schema says.
        """
        if self.schema is None:
            return None
        try:
            value = json.loads(answer, parse_constant=_no_constant)
            _validate(self.schema, json.loads(answer, parse_float=Decimal), held=not self.unheld)
        except ValueError as e:
            raise SchemaError(
                f"the answer is no JSON: {e}" if answer else "there is no answer"
            ) from None
        except RecursionError:
            raise SchemaError("the answer is nested too deeply to be validated") from None
        return value


def constraint_from_schema(schema: Any, source: str) -> OutputConstraint:
    """The form for a JSON Schema, as :func:`json.loads` reads one. Raises UsageError, naming
    ``source``.
    """
    from dslocal.engine.grammar import grammar

    schema = {} if schema is True else schema
    if not isinstance(schema, dict):
        raise UsageError(f"{source}: a JSON Schema is an object, not {json.dumps(schema)[:40]}")
    if _depth(schema) > MAX_DEPTH:
        raise UsageError(f"{source}: more than {MAX_DEPTH} levels within each other")
    schema = {
        key: value for key, value in schema.items() if key != "x-guidance"
    }  # llguidance's own options are not the user's
    try:
        text, unheld = grammar.of_schema(schema)
        if unheld:
            _check_schema(schema)
    except UsageError as e:
        raise UsageError(
            f"{source}: {e}", hint=e.hint or "a JSON Schema, with references into itself alone"
        ) from None
    return OutputConstraint(
        source, text, json.loads(json.dumps(schema), parse_float=Decimal), tuple(unheld)
    )


def read_schema(path: Path) -> OutputConstraint:
    """The form for the JSON Schema at ``path``. Raises NotFoundError, UsageError."""
    try:
        schema = json.loads(_read(path), parse_constant=_no_constant)
    except ValueError as e:
        raise UsageError(f"{path}: no JSON: {e}") from None
    except RecursionError:
        raise UsageError(f"{path}: more than {MAX_DEPTH} levels within each other") from None
    return constraint_from_schema(schema, str(path))


def read_grammar(path: Path) -> OutputConstraint:
    """The form for the GBNF grammar at ``path``. Raises NotFoundError, UsageError."""
    from dslocal.engine.grammar import grammar

    try:
        return OutputConstraint(str(path), grammar.of_gbnf(_read(path)))
    except UsageError as e:
        raise UsageError(f"{path}: {e}".removeprefix(f"{path}: {path}"), hint=e.hint) from None


def _read(path: Path) -> str:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise UsageError(f"{path}: more than {MAX_BYTES:,} bytes")
    return read_text(path)


def _depth(node: Any) -> int:
    """Levels of lists and objects, without recursion."""
    level, depth = [node], 0
    while level := [child for item in level for child in _children(item)]:
        depth += 1
    return depth


def _children(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check_schema(schema: dict[str, Any]) -> None:
    """Raises UsageError for a schema that could not be validated against."""
    import re

    from jsonschema.exceptions import SchemaError as Wrong
    from jsonschema.validators import validator_for

    try:
        validator_for(schema, default=_draft()).check_schema(schema)
        for pattern in _patterns(schema):
            re.compile(pattern)
    except Wrong as e:
        raise UsageError(e.message[:300]) from None
    except (re.error, RecursionError, OverflowError) as e:
        raise UsageError(str(e)[:300]) from None


def _patterns(schema: Any) -> list[str]:
    level, found = [schema], []
    while level:
        found += [
            str(node["pattern"])
            for node in level
            if isinstance(node, dict) and isinstance(node.get("pattern"), str)
        ]
        level = [child for node in level for child in _children(node)]
    return found


def _validate(schema: Any, value: Any, *, held: bool) -> None:
    """Raises SchemaError. Numbers are exact: Decimal in both. What the grammar ``held`` by an
    automaton is not matched once more.
    """
    from jsonschema.exceptions import ValidationError, best_match
    from jsonschema.validators import extend, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    usual = validator_for(schema, default=_draft())
    numbers = usual.TYPE_CHECKER.redefine("integer", _is_integer)
    rules = {
        "multipleOf": _multiple_of,
        **({"pattern": None, "patternProperties": None} if held else {}),
    }
    validator = extend(
        usual, {name: rule for name, rule in rules.items() if rule}, type_checker=numbers
    )
    for name in [name for name, rule in rules.items() if rule is None]:
        validator.VALIDATORS = {
            key: check for key, check in validator.VALIDATORS.items() if key != name
        }
    try:
        error: ValidationError | None = best_match(
            validator(schema, registry=Registry()).iter_errors(value)
        )
    except (Unresolvable, ArithmeticError, TypeError) as e:
        raise SchemaError(f"the answer could not be validated: {str(e)[:200]}") from None
    if error:
        raise SchemaError(
            f"the answer does not satisfy the schema at {error.json_path}: {' '.join(error.message.split())[:200]}"
        )


def _draft() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def _is_integer(_: Any, value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite() and (
            value.adjusted() > MAX_DIGITS or value == value.to_integral_value()
        )
    return isinstance(value, int) and not isinstance(value, bool)


def _multiple_of(_: Any, of: Any, value: Any, __: Any) -> Any:
    from jsonschema.exceptions import ValidationError

    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not of:
        return
    if isinstance(value, Decimal) and abs(value.adjusted()) > MAX_DIGITS:
        yield ValidationError(f"{value} has too many digits")
    elif Fraction(value) % Fraction(of):
        yield ValidationError(f"{value} is not a multiple of {of}")
