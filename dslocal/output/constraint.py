"""Read what an answer must look like, a JSON Schema or a grammar, and validate the answer.

The grammar of a schema holds the answer to nearly all of it while it is generated; the finished
answer is validated against the whole schema all the same. A schema may be hostile: it is bounded in
size and depth, and its references lead into the schema itself and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dslocal.errors import SchemaError, UsageError
from dslocal.files import json_integer, parse_strict_json, refuse_json_constant
from dslocal.prompts.files import read_text

from .schema_keywords import unknown_keywords, unwrapped_schema

if TYPE_CHECKING:
    from dslocal.engine.interface import GrammarSource

MAX_BYTES = 1 << 20
MAX_DEPTH = 100  # levels of lists and objects within each other
MAX_NODES = 10_000  # values of a schema, at every level
MAX_PATTERN = 1 << 16  # characters of a regular expression or a grammar
MAX_DIGITS = 400  # digits of a number that are calculated with
ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True)
class OutputConstraint:
    """What an answer must look like.

    Attributes:
        source: Where it comes from, for messages.
        grammar: The text of a :class:`dslocal.engine.grammar.grammar.Grammar`.
        schema: What the finished answer is validated against; None where there is only a grammar.
        unheld: What the schema asks for and the grammar cannot express, so that only the finished
            answer shows whether it is kept.
        unknown: Keywords of the schema that no draft of JSON Schema has, so that they are ignored.
        made_from: What the grammar was made from, for engines that make their own; None for what
            they do not know, such as the tool calls of a family.
    """

    source: str
    grammar: str
    schema: Any = None
    unheld: tuple[str, ...] = field(default=())
    unknown: tuple[str, ...] = field(default=())
    made_from: GrammarSource | None = None

    def check(self, answer: str) -> Any:
        """Return the value that ``answer`` spells; None without a schema.

        Raises:
            SchemaError: If it is not JSON, or not as the schema says.
        """
        if self.schema is None:
            return None
        try:
            value = json.loads(answer, parse_int=json_integer, parse_constant=refuse_json_constant)
            _validate(self.schema, json.loads(answer, parse_float=Decimal), held=not self.unheld)
        except ValueError as e:
            message = f"the answer is not JSON: {e}" if answer else "the answer is empty"
            raise SchemaError(message) from None
        except RecursionError:
            raise SchemaError("the answer is nested too deeply to be validated") from None
        return value


def constraint_from_schema(schema: Any, source: str) -> OutputConstraint:
    """Return the constraint of a JSON Schema.

    Args:
        schema: The schema as :func:`json.loads` returns it, or OpenAI's envelope around one.
        source: Where it comes from, for messages.

    Raises:
        UsageError: If it is not a schema, or beyond the limits.
    """
    from dslocal.engine.grammar import grammar

    schema = unwrapped_schema(schema)
    schema = checked_schema({} if schema is True else schema, source)
    try:
        text, unheld = grammar.schema_to_grammar(schema)
        if unheld:
            check_schema(schema)
    except UsageError as e:
        raise UsageError(
            f"{source}: {e}", hint=e.hint or "use a JSON Schema whose references stay inside it"
        ) from None
    return OutputConstraint(
        source,
        text,
        json.loads(json.dumps(schema), parse_float=Decimal),
        tuple(unheld),
        unknown_keywords(schema),
        _made_from("json_schema", schema),
    )


def constraint_from_regex(pattern: str, source: str) -> OutputConstraint:
    """Return the constraint of a regular expression that the whole answer matches.

    Raises:
        UsageError: If it is not one, or beyond the limits.
    """
    from dslocal.engine.grammar import grammar

    _refuse_large(pattern, source)
    try:
        return OutputConstraint(
            source, grammar.regex_to_grammar(pattern), made_from=_made_from("regex", pattern)
        )
    except UsageError as e:
        raise UsageError(
            f"{source}: {e}",
            hint="use a regular expression without look-around and back references",
        ) from None


def constraint_from_choices(choices: Sequence[str], source: str) -> OutputConstraint:
    """Return the constraint of an answer that is one of ``choices``.

    Raises:
        UsageError: If ``choices`` has no text, or too many.
    """
    from dslocal.engine.grammar import grammar

    if not any(choices):
        raise UsageError(f"{source}: give at least one text to choose from")
    _refuse_large("".join(choices), source)
    return OutputConstraint(
        source,
        grammar.choices_to_grammar(choices),
        made_from=_made_from("choices", list(choices)),
    )


def constraint_from_gbnf(text: str, source: str) -> OutputConstraint:
    """Return the constraint of a GBNF grammar.

    Raises:
        UsageError: If it is not a grammar, or beyond the limits.
    """
    from dslocal.engine.grammar import grammar

    _refuse_large(text, source)
    try:
        return OutputConstraint(
            source, grammar.gbnf_to_grammar(text), made_from=_made_from("gbnf", text)
        )
    except UsageError as e:
        raise UsageError(f"{source}: {e}", hint=e.hint) from None


def read_schema(path: Path) -> OutputConstraint:
    """Return the constraint of the JSON Schema at ``path``.

    Raises:
        NotFoundError: If the file does not exist.
        UsageError: If it is not a schema, or beyond the limits.
    """
    try:
        schema = parse_strict_json(_read(path))
    except ValueError as e:
        raise UsageError(f"{path}: not JSON: {e}") from None
    except RecursionError:
        raise UsageError(f"{path}: more than {MAX_DEPTH} levels within each other") from None
    return constraint_from_schema(schema, str(path))


def read_grammar(path: Path) -> OutputConstraint:
    """Return the constraint of the GBNF grammar at ``path``.

    Raises:
        NotFoundError: If the file does not exist.
        UsageError: If it is not a grammar, or beyond the limits.
    """
    from dslocal.engine.grammar import grammar

    text = _read(path)
    try:
        return OutputConstraint(
            str(path), grammar.gbnf_to_grammar(text), made_from=_made_from("gbnf", text)
        )
    except UsageError as e:
        raise UsageError(f"{path}: {e}", hint=e.hint) from None


def _made_from(
    kind: Literal["json_schema", "gbnf", "regex", "choices"], value: Any
) -> GrammarSource:
    from dslocal.engine.interface import GrammarSource

    return GrammarSource(kind, value)


def _read(path: Path) -> str:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise UsageError(f"{path}: more than {MAX_BYTES:,} bytes")
    return read_text(path)


def _refuse_large(text: str, source: str) -> None:
    if len(text) > MAX_PATTERN:
        raise UsageError(f"{source}: more than {MAX_PATTERN:,} characters")


def checked_schema(schema: Any, source: str) -> dict[str, Any]:
    """Return a schema that is within the limits, without what is not the user's to set.

    Raises:
        UsageError: If it is not an object, too deep or too large.
    """
    if not isinstance(schema, dict):
        raise UsageError(f"{source}: a JSON Schema is an object, not {json.dumps(schema)[:40]}")
    nodes = depth = 0
    level = _children(schema)
    while level:
        depth += 1
        nodes += len(level)
        if depth > MAX_DEPTH:
            raise UsageError(f"{source}: more than {MAX_DEPTH} levels within each other")
        if nodes > MAX_NODES:
            raise UsageError(f"{source}: more than {MAX_NODES:,} values")
        level = [child for item in level for child in _children(item)]
    # llguidance's own options
    return {key: value for key, value in schema.items() if key != "x-guidance"}


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def check_schema(schema: dict[str, Any]) -> None:
    """Check that answers can be validated against ``schema``.

    Raises:
        UsageError: If they cannot.
    """
    import re

    from jsonschema.exceptions import SchemaError as InvalidSchema
    from jsonschema.validators import validator_for

    try:
        validator_for(schema, default=_draft()).check_schema(schema)
        for pattern in _patterns(schema):
            re.compile(pattern)
    except InvalidSchema as e:
        raise UsageError(e.message[:300]) from None
    except (re.error, RecursionError, OverflowError) as e:
        raise UsageError(str(e)[:300]) from None


def _patterns(schema: Any) -> list[str]:
    """Return the regular expressions of all keywords ``pattern``, without recursion."""
    found = []
    level = [schema]
    while level:
        for node in level:
            pattern = node.get("pattern") if isinstance(node, dict) else None
            if isinstance(pattern, str):
                found.append(pattern)
        level = [child for node in level for child in _children(node)]
    return found


def _validate(schema: Any, value: Any, *, held: bool) -> None:
    """Validate ``value``, whose numbers are exact: Decimal in both.

    Args:
        schema: The JSON Schema.
        value: The answer's value.
        held: Whether the grammar's automaton holds the answer to the schema's regular expressions,
            so that they are not matched once more.

    Raises:
        SchemaError: If the value is not as the schema says.
    """
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = _validator(schema, held=held)
    try:
        error = best_match(validator(schema, registry=Registry()).iter_errors(value))
    except (Unresolvable, ArithmeticError, TypeError) as e:
        raise SchemaError(f"the answer could not be validated: {str(e)[:200]}") from None
    if error:
        message = " ".join(error.message.split())[:200]
        raise SchemaError(f"the answer does not satisfy the schema at {error.json_path}: {message}")


def _validator(schema: Any, *, held: bool) -> Any:
    """Return jsonschema's validator class for ``schema``, with exact numbers."""
    from jsonschema.validators import extend, validator_for

    usual = validator_for(schema, default=_draft())
    numbers = usual.TYPE_CHECKER.redefine("integer", _is_integer)
    validator = extend(usual, {"multipleOf": _multiple_of}, type_checker=numbers)
    if held:
        checks = dict(validator.VALIDATORS)
        for keyword in ("pattern", "patternProperties"):
            checks.pop(keyword, None)
        validator.VALIDATORS = checks
    return validator


def _draft() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def _is_integer(_: Any, value: Any) -> bool:
    """Return whether ``value`` is an integer; 1.0 is one."""
    if isinstance(value, Decimal):
        return value.is_finite() and (
            value.adjusted() > MAX_DIGITS or value == value.to_integral_value()
        )
    return isinstance(value, int) and not isinstance(value, bool)


def _multiple_of(_: Any, of: Any, value: Any, __: Any) -> Any:
    """Yield an error unless ``value`` is a multiple of ``of``, exactly."""
    from jsonschema.exceptions import ValidationError

    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not of:
        return
    if isinstance(value, Decimal) and abs(value.adjusted()) > MAX_DIGITS:
        yield ValidationError(f"{value} has too many digits")
    elif Fraction(value) % Fraction(of):
        yield ValidationError(f"{value} is not a multiple of {of}")
