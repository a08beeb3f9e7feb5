"""Grammars for tool calls in DSML: known tools, their parameters by schema, and no others.

A call is ``<｜DSML｜invoke name="f">``, then parameters one a line, then its closing tag. A text
ends where its closing tag begins, which it cannot contain: where the vocabulary has ``｜DSML｜`` as
one token, no text becomes that token, and elsewhere texts are kept from spelling it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dslocal.errors import UsageError

from .calls import CallNumber
from .grammar import schema_to_grammar, validated
from .tool_parameters import ANY_TEXT, Parameter, ParameterReader

MARK = "\ufdd0"  # stands for ｜DSML｜ here: a code point that no text has
MAX_NAME = 256  # characters of a parameter's name
# Texts within JSON where ｜DSML｜ is spelled: a bar is not followed by a D.
MARKLESS = "^(?:[^｜]|｜+[^｜D])*｜*$"
FREE_NAME = r'/[^"<>\n｜]{1,64}/'
ANY_NAME = "any"
ANY_VALUE = f"#/$defs/{ANY_NAME}"
# keywords whose values are a schema, a list of schemas, or schemas by name
SCHEMA_KEYWORDS = {"items", "additionalProperties", "additionalItems", "if", "then", "else"}
LIST_KEYWORDS = {"allOf", "anyOf", "oneOf", "prefixItems"}
NAMED_KEYWORDS = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
COMBINED = {"allOf", "anyOf", "oneOf", "enum", "const", "if"}
NEXT_CALL = f"\n<{MARK}"  # up to the name of the tag


@dataclass(frozen=True)
class DsmlTags:
    """How the tags are written.

    Attributes:
        block: The name of the tag around all calls.
        invoke: The name of the tag around one call.
        parameter: The name of the tag around one argument.
        mark: The token before these names, as its id, or as text where it is not one token.
    """

    block: str
    invoke: str
    parameter: str
    mark: int | str


@dataclass(frozen=True)
class CallableTool:
    """A tool by its name, and the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


def dsml_calls_to_grammar(
    tools: Sequence[CallableTool],
    tags: DsmlTags,
    *,
    is_forced: bool,
    calls: CallNumber,
) -> tuple[str, list[str]]:
    """Return a grammar for an answer that calls some of ``tools``, for :class:`.Grammar`.

    Args:
        tools: The tools that may be called.
        tags: How the family writes tags.
        is_forced: Whether the answer is calls alone; otherwise it is text, and calls may follow.
        calls: How many calls an answer may have.

    Returns:
        The grammar, and a line for each part of a schema that it does not enforce.

    Raises:
        UsageError: If a schema is wrong, if nothing satisfies it, or if all are too large.
    """
    writer = _Writer(tags)
    for number, tool in enumerate(tools):
        writer.add_tool(number, tool)
    start = writer.forced_start() if is_forced else writer.free_start()
    more = f" ({writer.literal(NEXT_CALL)} call)*" if calls == "several" else ""
    end = writer.literal(f"\n</{MARK}{tags.block}>")
    lark = (
        f"start: {start} calls {end}\n"
        f"calls: call{more}\n"
        f"call: {' | '.join(f'call{number}' for number in range(len(tools)))}\n"
        f"FREE_NAME: {FREE_NAME}\n"
        f"{writer.rules}"
    )
    grammars = [{"name": "calls", "lark_grammar": lark}, *writer.values]
    return validated(json.dumps({"grammars": grammars})), writer.unheld


@dataclass
class _Writer:
    """Collects rules in llguidance's notation, and the grammars of values that are JSON."""

    tags: DsmlTags
    rules: str = ""
    values: list[dict[str, Any]] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)

    @property
    def is_spelled(self) -> bool:
        """Return whether ``｜DSML｜`` is text in this vocabulary."""
        return isinstance(self.tags.mark, str)

    def open_tag(self, text: str) -> str:
        """Return an opening tag, with the mark."""
        return f"<{MARK}{text}>"

    def close_tag(self, text: str) -> str:
        """Return a closing tag, with the mark."""
        return f"</{MARK}{text}>"

    def literal(self, text: str) -> str:
        """Return ``text``, with marks, in the notation of rules."""
        if isinstance(self.tags.mark, str):
            return json.dumps(text.replace(MARK, self.tags.mark), ensure_ascii=False)
        written = [
            json.dumps(part, ensure_ascii=False) if part else "" for part in text.split(MARK)
        ]
        return f" <[{self.tags.mark}]> ".join(written).strip()

    def forced_start(self) -> str:
        """Return what an answer begins with that is calls alone."""
        return self.literal("\n\n" + self.open_tag(self.tags.block) + NEXT_CALL)

    def free_start(self) -> str:
        """Return what an answer begins with that is text, or text up to calls."""
        tag = self.open_tag(self.tags.block) + NEXT_CALL
        if self.is_spelled:
            opening = f"({self._markless(ANY_TEXT)}) {self.literal(tag)}"
            self.rules += f"OPENING: {opening}\nTEXT: {self._markless(ANY_TEXT)}\n"
            return "TEXT | OPENING"
        before, after = tag.split(MARK, 1)
        self.rules += f"OPENING: {ANY_TEXT} {self.literal(before)}\nTEXT: {ANY_TEXT}\n"
        return f"TEXT | OPENING {self.literal(MARK + after)}"

    def add_tool(self, number: int, tool: CallableTool) -> None:
        """Add the rules for a call of ``tool``."""
        reader = ParameterReader(tool.schema)
        try:
            parameters = reader.parameters()
            is_free = not parameters and reader.allows_any_name()
            if is_free and (free := reader.free_parameter()):
                self._add_free_body(number, free)
            else:
                self._add_body(number, parameters)
        except UsageError as e:
            raise UsageError(f"the parameters of {tool.name}: {e}", hint=e.hint) from None
        self.unheld += [f"{tool.name}: {line}" for line in reader.unheld]
        head = self.literal(f'{self.tags.invoke} name="{tool.name}">\n')
        tail = self.literal(self.close_tag(self.tags.invoke))
        self.rules += f"call{number}: {head} body{number} {tail}\n"

    def _add_body(self, number: int, parameters: Sequence[Parameter]) -> None:
        """Add rules for parameters in order.

        ``e2`` is what follows where none of the first two was written, ``b2`` where one was.
        """
        prefix = f"c{number}"
        self.rules += f"body{number}: {prefix}e0\n"
        for at, parameter in enumerate(parameters):
            self._add_parameter(f"{prefix}p{at}", parameter)
            written = f"{prefix}p{at} {prefix}b{at + 1}"
            for state in "eb":
                skipped = "" if parameter.is_required else f" | {prefix}{state}{at + 1}"
                self.rules += f"{prefix}{state}{at}: {written}{skipped}\n"
        end = len(parameters)
        self.rules += f'{prefix}e{end}: "\\n"\n{prefix}b{end}: ""\n'

    def _add_free_body(self, number: int, parameter: Parameter) -> None:
        """Add rules for parameters of any name."""
        self._add_parameter(f"c{number}p", parameter)
        self.rules += f'body{number}: c{number}p+ | "\\n"\n'

    def _add_parameter(self, rule: str, parameter: Parameter) -> None:
        """Add the rules for one parameter with its line's end."""
        alternatives = []
        head, tail = self._closing()
        if parameter.text is not None:
            terminal = rule.upper()
            self.rules += f"{terminal}: ({self._markless(parameter.text)}) {head}\n"
            alternatives.append(f"{self._parameter_tag(parameter.name, 'true')} {terminal} {tail}")
        if parameter.schema is not None:
            self._add_value(rule, parameter.schema)
            opening = self._parameter_tag(parameter.name, "false")
            alternatives.append(f"{opening} @{rule}v {head} {tail}")
        self.rules += f"{rule}: {' | '.join(alternatives)}\n"

    def _closing(self) -> tuple[str, str]:
        """Return how a parameter ends: what belongs to a text's terminal, and what comes after."""
        tag = self.close_tag(self.tags.parameter)
        if self.is_spelled:
            return self.literal(tag), self.literal("\n")
        before, after = tag.split(MARK)
        return self.literal(before), self.literal(f"{MARK}{after}\n")

    def _parameter_tag(self, name: str, is_text: str) -> str:
        """Return the opening tag of a parameter in the notation of rules.

        Raises:
            UsageError: If the name cannot stand in a tag.
        """
        kind = f'" string="{is_text}">'
        if not name:
            begin = self.literal(f'<{MARK}{self.tags.parameter} name="')
            return f"{begin} FREE_NAME {self.literal(kind)}"
        is_unclear = any(text in name for text in ('" string="', '">', MARK))
        if len(name) > MAX_NAME or is_unclear or (self.is_spelled and "｜" in name):
            raise UsageError(f"the name {name!r:.60} cannot be written in a call")
        return self.literal(f'<{MARK}{self.tags.parameter} name="{name}{kind}')

    def _add_value(self, rule: str, schema: dict[str, Any]) -> None:
        (grammar,) = json.loads(self._value_grammar(schema))["grammars"]
        self.values.append({**grammar, "name": f"{rule}v"})

    def _markless(self, terminal: str) -> str:
        """Return ``terminal`` without texts that spell the mark, where that is text."""
        if not isinstance(self.tags.mark, str):
            return terminal
        return f"({terminal}) & ~/(?s:.*){self.tags.mark}(?s:.*)/"

    def _value_grammar(self, schema: dict[str, Any]) -> str:
        """Return the grammar of a value that is JSON, without texts that spell the mark."""
        if not self.is_spelled:
            return schema_to_grammar(schema, compact=True)[0]
        try:
            return schema_to_grammar(markless_schema(schema), compact=True)[0]
        except UsageError:  # what llguidance cannot combine with a pattern
            self.unheld.append(f"{self.tags.mark} is not kept out of texts within JSON")
            return schema_to_grammar(schema, compact=True)[0]


def markless_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with texts, and names of properties, that cannot spell the mark."""
    any_value: dict[str, Any] = {}
    _restrict(any_value, is_closed=True)
    found: dict[str, Any] = _markless(schema, is_closed=True)
    found["$defs"] = {**found.get("$defs", {}), ANY_NAME: any_value}
    return found


def _markless(schema: Any, *, is_closed: bool) -> Any:
    """Return ``schema``, or one within it, with a pattern for texts.

    Args:
        schema: The schema.
        is_closed: Whether what it leaves open is restricted too. In ``allOf`` it is not: there
            another branch may say more.
    """
    if schema is True or schema == {}:
        return {"$ref": ANY_VALUE}
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for keyword, value in schema.items():
        if keyword in SCHEMA_KEYWORDS:
            found[keyword] = _markless(value, is_closed=is_closed)
        elif keyword in LIST_KEYWORDS and isinstance(value, list):
            closes = is_closed and keyword != "allOf"
            found[keyword] = [_markless(each, is_closed=closes) for each in value]
        elif keyword in NAMED_KEYWORDS and isinstance(value, dict):
            found[keyword] = {name: _markless(each, is_closed=True) for name, each in value.items()}
    if "$ref" not in schema:
        _restrict(found, is_closed=is_closed and not COMBINED & schema.keys())
    return found


def _restrict(schema: dict[str, Any], *, is_closed: bool) -> None:
    """Add to ``schema``, in place, that its texts do not spell the mark.

    Args:
        schema: The schema, in which those within it are restricted already.
        is_closed: Whether what it leaves open is restricted too.
    """
    kinds = schema.get("type", ["string", "array", "object"])
    if "string" in kinds:
        if "pattern" in schema:
            schema["allOf"] = [*schema.get("allOf", []), {"pattern": MARKLESS}]
        else:
            schema["pattern"] = MARKLESS
    if is_closed and "array" in kinds:
        schema.setdefault("items", {"$ref": ANY_VALUE})
    if is_closed and "object" in kinds and schema.get("additionalProperties", True) is True:
        schema["additionalProperties"] = False
        if "properties" not in schema:
            named = schema.get("patternProperties", {})
            schema["patternProperties"] = {**named, MARKLESS: {"$ref": ANY_VALUE}}
