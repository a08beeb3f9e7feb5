"""Proves that an answer held to tool calls is calls that their tools' schemas allow: whatever the
model draws, our own parser reads it back, and an independent validator finds nothing wrong.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
from support.engine.byte_vocabulary import ByteVocabulary
from support.engine.random_answers import random_answer
from support.prompts.tool_schemas import tool_of

from dslocal import output
from dslocal.engine.grammar.grammar import Grammar
from dslocal.engine.utf8 import Utf8Stream
from dslocal.errors import UsageError
from dslocal.output import Turn
from dslocal.output.reasoning import make_parser
from dslocal.prompts import FAMILIES, Message, PlainText, Thinking, Tool, ToolCall
from dslocal.prompts.families.dsml_tools import DSML
from dslocal.prompts.messages import encode

ANY = {"type": "object"}
VOCABULARIES = {has_dsml: ByteVocabulary(has_dsml=has_dsml) for has_dsml in (True, False)}
CASES = [("v4", True), ("v4", False), ("v3.2", False), ("v4.1", True)]
IDS = [f"{family} {'a token' if has else 'spelled'}" for family, has in CASES]


def form_of(family: str) -> Any:
    return FAMILIES[family].format.tools


def forced(
    family: str, tools: Sequence[Tool], vocabulary: Any, calls: Any = "several"
) -> output.OutputConstraint:
    return output.constraint_of_forced_calls(tools, form_of(family), vocabulary, calls)


def read(family: str, ids: Sequence[int], vocabulary: Any, thinking: Thinking) -> Turn:
    chosen = FAMILIES[family]
    parser = make_parser(chosen, chosen.render([Message("user", "a")], thinking), vocabulary)
    characters = Utf8Stream()
    turn = Turn(0)
    for token in ids:
        for event in parser.feed(token, characters.feed(vocabulary.piece(token))):
            turn.add(event)
    for event in parser.finish(characters.flush()):
        turn.add(event)
    return turn


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def check_round_trip(family: str, seed: int, *, has_dsml: bool) -> int:
    """Draw an answer of forced calls, read it back and validate it; return the calls' number."""
    dice = random.Random(seed)
    vocabulary: Any = VOCABULARIES[has_dsml]
    tools = [tool_of(seed, number) for number in range(1 + seed % 3)]
    constraint = forced(family, tools, vocabulary)
    assert constraint.unheld == ()
    ids = random_answer(vocabulary, constraint.grammar, dice)
    turn = read(family, ids, vocabulary, Thinking.BYPASSED)
    assert (turn.text, turn.reasoning) == ("", "")
    assert turn.calls
    schemas = {tool.name: tool.parameters for tool in tools}
    for call in turn.calls:
        arguments = json.loads(call.arguments, object_pairs_hook=no_duplicates)
        jsonschema.validate(arguments, schemas[call.name])
    if all(is_spelled_one_way(call.arguments) for call in turn.calls):
        again = form_of(family).calls(turn.calls)
        assert encode(again, vocabulary) == encode_bytes(ids, vocabulary)
    return len(turn.calls)


def is_spelled_one_way(arguments: str) -> bool:
    """Return whether JSON has no other spelling of these values: no fractions, nothing nested."""
    values = json.loads(arguments).values()
    is_plain = all(value is None or isinstance(value, str | int) for value in values)
    return is_plain and "-0" not in arguments


def encode_bytes(ids: Sequence[int], vocabulary: Any) -> list[int]:
    """Return ``ids`` with words as the bytes that they are."""
    mark = vocabulary.special_id("｜DSML｜")
    return [
        each
        for token in ids
        for each in ([token] if token == mark else list(vocabulary.piece(token)))
    ]


@pytest.mark.parametrize(("family", "has_dsml"), CASES, ids=IDS)
def test_whatever_is_drawn_is_a_call_that_the_schema_allows(family: str, *, has_dsml: bool) -> None:
    assert sum(check_round_trip(family, seed, has_dsml=has_dsml) for seed in range(12)) > 12


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("family", "has_dsml"), CASES, ids=IDS)
def test_a_thousand_generated_schemas_round_trip(family: str, *, has_dsml: bool) -> None:
    for seed in range(1000):
        check_round_trip(family, seed, has_dsml=has_dsml)


WEATHER = Tool(
    "get_weather",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1},
            "days": {"type": "integer"},
            "unit": {"enum": ["C", "F"]},
        },
        "required": ["city", "unit"],
    },
)
NOW = Tool("now", "", {})
CITY = '<｜DSML｜parameter name="city" string="true">{}</｜DSML｜parameter>\n'
DAYS = '<｜DSML｜parameter name="days" string="false">{}</｜DSML｜parameter>\n'
UNIT = '<｜DSML｜parameter name="unit" string="true">{}</｜DSML｜parameter>\n'


def call_of(name: str, body: str) -> str:
    return f'<｜DSML｜invoke name="{name}">\n{body}</｜DSML｜invoke>'


def block_of(*calls: str) -> str:
    inside = "\n".join(calls)
    return f"<｜DSML｜tool_calls>\n{inside}\n</｜DSML｜tool_calls>"


def allows(grammar: str, text: str, vocabulary: Any) -> bool:
    """Return whether ``grammar`` allows ``text`` as a whole answer, byte by byte."""
    parts = [PlainText(part) for part in text.split("｜DSML｜")]
    segments = [each for part in parts for each in (DSML, part)][1:]
    state = Grammar(vocabulary, grammar)
    everything = np.arange(vocabulary.n_vocab)
    for token in encode(segments, vocabulary):
        if not state.allowed(everything)[token]:
            return False
        state.accept(token)
    return state.is_complete


ROME = CITY.format("Rome </b>") + UNIT.format("C")
FORCED = {
    "one call": (block_of(call_of("get_weather", ROME)), True),
    "all parameters in order": (
        block_of(call_of("get_weather", CITY.format("é") + DAYS.format("-2") + UNIT.format("F"))),
        True,
    ),
    "several calls": (block_of(call_of("get_weather", ROME), call_of("now", "\n")), True),
    "a required one is missing": (block_of(call_of("get_weather", CITY.format("Rome"))), False),
    "an unknown one": (block_of(call_of("get_weather", ROME + DAYS.format("1"))), False),
    "a text that is not in the enum": (
        block_of(call_of("get_weather", CITY.format("Rome") + UNIT.format("K"))),
        False,
    ),
    "an empty text": (block_of(call_of("get_weather", CITY.format("") + UNIT.format("C"))), False),
    "a number that is not one": (
        block_of(call_of("get_weather", CITY.format("a") + DAYS.format("1.5") + UNIT.format("C"))),
        False,
    ),
    "an unknown tool": (block_of(call_of("get_time", ROME)), False),
    "no call": ("<｜DSML｜tool_calls>\n\n</｜DSML｜tool_calls>", False),
    "text": ("Rome is sunny.", False),
}


@pytest.mark.parametrize("has_dsml", [True, False], ids=["a token", "spelled"])
@pytest.mark.parametrize("case", FORCED)
def test_a_forced_answer_is_calls_alone(case: str, *, has_dsml: bool) -> None:
    text, is_allowed = FORCED[case]
    vocabulary = VOCABULARIES[has_dsml]
    grammar = forced("v4", [WEATHER, NOW], vocabulary).grammar
    assert allows(grammar, f"\n\n{text}", vocabulary) is is_allowed


@pytest.mark.parametrize("has_dsml", [True, False], ids=["a token", "spelled"])
def test_only_one_call_may_come_where_one_was_asked_for(*, has_dsml: bool) -> None:
    vocabulary = VOCABULARIES[has_dsml]
    grammar = forced("v4", [WEATHER, NOW], vocabulary, "one").grammar
    one, other = call_of("get_weather", ROME), call_of("now", "\n")
    assert allows(grammar, f"\n\n{block_of(one)}", vocabulary)
    assert not allows(grammar, f"\n\n{block_of(one, other)}", vocabulary)


@pytest.mark.parametrize("has_dsml", [True, False], ids=["a token", "spelled"])
@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ("It is sunny. 1 < 2 </b>", True),
        ("", True),
        (f"Let me see.\n\n{block_of(call_of('get_weather', ROME))}", True),
        (f"\n\n{block_of(call_of('get_weather', CITY.format('a')))}", False),
        (f"\n\n{block_of(call_of('now', CITY.format('a')))}", True),
        (f"\n\n{block_of(call_of('now', '')) + 'more'}", False),
    ],
)
def test_calls_of_strict_tools_may_follow_free_text(
    text: str, *, is_allowed: bool, has_dsml: bool
) -> None:
    """Proves also that the arguments of another tool stay free."""
    vocabulary: Any = VOCABULARIES[has_dsml]
    constraint = output.constraint_of_optional_calls(
        [WEATHER, NOW], {"get_weather"}, form_of("v4"), vocabulary, "several"
    )
    assert allows(constraint.grammar, text, vocabulary) is is_allowed


@pytest.mark.parametrize("family", ["r1", "v3", "v3.1", "nano"])
def test_calls_of_strict_tools_are_held_in_json_too(family: str) -> None:
    vocabulary: Any = VOCABULARIES[False]
    tools = [tool_of(seed) for seed in range(3)]
    tools = [replace(tool, name=f"t{number}") for number, tool in enumerate(tools)]
    names = {tool.name for tool in tools}
    constraint = output.constraint_of_optional_calls(
        tools, names, form_of(family), vocabulary, "several"
    )
    modes = FAMILIES[family].thinking_modes
    thinking = Thinking.BYPASSED if Thinking.BYPASSED in modes else Thinking.NONE
    calls: list[ToolCall] = []
    for seed in range(60):
        ids = random_answer(vocabulary, constraint.grammar, random.Random(seed))
        calls += read(family, ids, vocabulary, thinking).calls
    for call in calls:
        jsonschema.validate(json.loads(call.arguments), dict(tools[int(call.name[1:])].parameters))
    assert len(calls) > 4


@pytest.mark.parametrize("mark", [True, False], ids=["a token", "spelled"])
def test_no_text_holds_the_tag_that_ends_it(*, mark: bool) -> None:
    """Proves that it holds within JSON, and in the names of properties, as it does in a text."""
    vocabulary = VOCABULARIES[mark]
    end = "</｜DSML｜parameter>"
    value: dict[str, Any] = {"properties": {"v": {}, "o": ANY}, "type": "object"}
    grammar = forced("v4", [Tool("f", "", value)], vocabulary).grammar
    head = '<｜DSML｜parameter name="{}" string="{}">{}</｜DSML｜parameter>\n'
    for text, is_allowed in [
        (head.format("v", "true", "a </b> ｜"), True),
        (head.format("v", "true", f"a {end} b"), False),
        (head.format("v", "false", '["a", {"b": "｜ c"}]'), True),
        (head.format("v", "false", f'["a {end}"]'), False),
        (head.format("o", "false", '{"a": "｜"}'), True),
        (head.format("o", "false", f'{{"{end}": 1}}'), False),
    ]:
        answer = f"\n\n{block_of(call_of('f', text))}"
        assert allows(grammar, answer, vocabulary) is is_allowed, text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "object", "properties": {"a": {"type": "text"}}}, "text"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "no value satisfies"),
    ({"properties": {"a": {"allOf": [{"type": "string"}, {"type": "integer"}]}}}, "nsatisfiable"),
    ({"properties": {"a": {"$ref": "#/$defs/no"}}}, "leads nowhere"),
    ({"properties": {"a": {"$ref": "https://example.com/a"}}}, "leads out of"),
    ({"properties": {"a": {"$ref": "#/properties/a"}}}, "references"),
    ({"properties": {"a": {"type": "string", "pattern": "("}}}, "regex"),
    ({"properties": {'a" string="true">': {}}}, "cannot be written"),
    ({"properties": {"a" * 2000: {}}}, "cannot be written"),
]


@pytest.mark.parametrize(("schema", "why"), WRONG, ids=lambda value: str(value)[:40])
def test_a_tool_that_cannot_be_called_is_one_line(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        forced("v4", [NOW, Tool("broken", "", schema)], VOCABULARIES[True])
    assert "broken" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_enforced_is_said() -> None:
    schema = {
        "properties": {"a": {"type": "string", "format": "hostname", "not": {"const": "x"}}},
        "minProperties": 1,
    }
    unheld = forced("v4", [Tool("f", "", schema)], VOCABULARIES[True]).unheld
    assert [line.split(" is not")[0] for line in unheld] == [
        "f: 'minProperties'",
        "f: 'not'",
        "f: 'format hostname'",
    ]


def test_hundreds_of_optional_parameters_are_not_too_many() -> None:
    properties = {f"p{number}": {"type": "string"} for number in range(300)}
    tools = [Tool(f"t{number}", "", {"properties": properties}) for number in range(3)]
    vocabulary = VOCABULARIES[True]
    grammar = forced("v4", tools, vocabulary).grammar
    last = '<｜DSML｜parameter name="p299" string="true">x</｜DSML｜parameter>\n'
    assert allows(grammar, f"\n\n{block_of(call_of('t2', last))}", vocabulary)
