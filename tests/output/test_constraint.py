"""Proves that the reasoning stays free and the answer follows its schema, that the reasoning can be
ended, and what a schema may be.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dslocal.chat import Session
from dslocal.engine import FinishReason, LlamaContext
from dslocal.errors import DslocalError, NotFoundError, SchemaError, UsageError
from dslocal.output import (
    ANY_OBJECT,
    OutputConstraint,
    Reasoning,
    Turn,
    constraint_from_schema,
    loops,
    read_grammar,
    read_schema,
    stream_answer,
)
from dslocal.output.constraint import MAX_BYTES
from dslocal.prompts import FAMILIES, PlainText, Special, Thinking

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from schemas import answers, schema_of

NANO = FAMILIES["nano"]
SETTINGS = NANO.defaults.with_value("max_tokens", 700, "test")
SUM: dict[str, Any] = {
    "type": "object",
    "properties": {"result": {"type": "integer"}},
    "required": ["result"],
    "additionalProperties": False,
}
QUESTION = "What is 47 × 86?"


def asked(
    context: LlamaContext,
    form: OutputConstraint | None = None,
    text: str = QUESTION,
    thinking: Thinking | None = None,
    **settings: Any,
) -> Turn:
    changed = SETTINGS
    for name, value in settings.items():
        changed = changed.with_value(name, value, "test")
    session = Session(context, NANO, changed, thinking=thinking, constraint=form)
    for _ in session.stream(text, 1):
        pass
    assert session.turn is not None
    return session.turn


@pytest.fixture(scope="module")
def answered(home: Path, nano: Path) -> list[tuple[int, Turn]]:
    return [(seed, turn) for seed, turn, _ in answers(12)]


def test_generated_schemas_are_kept_to(answered: list[tuple[int, Turn]]) -> None:
    """The reasoning is what it would be without a schema: text, and not of the schema."""
    assert len(answered) == 12
    for seed, turn in answered:
        assert turn.constraint
        assert turn.finish_reason is FinishReason.STOP
        assert turn.constraint.check(turn.text) == json.loads(turn.text)
        assert turn.reasoning[0].isalpha()
        assert list(json.loads(turn.text)) == [
            name for name in schema_of(seed)["properties"] if name in json.loads(turn.text)
        ]


def test_the_thought_is_the_same_with_and_without_a_schema(context: LlamaContext) -> None:
    """In one pass: the prompt is evaluated once, and the value is what the reasoning found."""
    free, bound = (
        asked(context, temperature=0),
        asked(context, constraint_from_schema(SUM, "test"), temperature=0),
    )
    assert bound.reasoning == free.reasoning
    assert bound.reasoning_tokens == free.reasoning_tokens > 100
    assert json.loads(bound.text) == {"result": 4042}
    assert bound.cached_tokens == bound.prompt_tokens - 1


@pytest.mark.parametrize("way", [Thinking.FORCED, Thinking.FREE, Thinking.BYPASSED])
def test_every_way_of_thinking_ends_in_the_schema(context: LlamaContext, way: Thinking) -> None:
    turn = asked(context, constraint_from_schema(SUM, "test"), thinking=way)
    assert isinstance(json.loads(turn.text)["result"], int)
    assert bool(turn.reasoning) == (way is Thinking.FORCED) or way is Thinking.FREE


def test_a_model_that_ends_in_its_thought_answers_all_the_same(context: LlamaContext) -> None:
    """Asked to say nothing but its end, it closes the reasoning instead; without a schema it ends
    there.
    """
    ends = ["<｜end▁of▁sentence｜>=100"]
    assert asked(context, logit_bias=ends).completion_tokens == 0
    turn = asked(context, constraint_from_schema(SUM, "test"), logit_bias=ends)
    assert isinstance(json.loads(turn.text)["result"], int)


def test_a_seed_replays_a_constrained_answer(context: LlamaContext) -> None:
    form = constraint_from_schema(schema_of(3), "test")
    first = asked(context, form, temperature=2)
    assert asked(context, form, temperature=2).text == first.text


@pytest.mark.parametrize("budget", [0, 1, 40])
@pytest.mark.parametrize(
    "form", [None, constraint_from_schema(SUM, "test")], ids=["free", "schema"]
)
def test_a_budget_closes_the_thought(
    context: LlamaContext, budget: int, form: OutputConstraint | None
) -> None:
    """After so many tokens of reasoning come a line's end and the closing tag, which are counted,
    and the answer in the same cache.
    """
    turn = asked(context, form, think_budget=budget)
    tokenized = context.model.encode(turn.reasoning)
    assert turn.reasoning_tokens == budget + 2
    assert abs(len(tokenized) - budget) <= 1
    assert turn.text
    assert turn.steering
    assert turn.steering.was_closed
    closed = [
        *context.model.encode("\n"),
        context.model.special_id("</think>"),
        *context.model.encode("\n\n"),
    ]
    at = turn.prompt_tokens + budget
    assert context.ids[at : at + len(closed)] == closed
    assert turn.completion_tokens >= budget + len(closed)


def test_a_budget_that_is_not_reached_changes_nothing(context: LlamaContext) -> None:
    usual, bounded = asked(context), asked(context, think_budget=5000)
    assert (bounded.reasoning, bounded.text) == (usual.reasoning, usual.text)


def test_answer_now(context: LlamaContext) -> None:
    session = Session(context, NANO, SETTINGS)
    session.end_reasoning()  # nothing is being answered
    with closing(session.stream(QUESTION, 1)) as events:
        thoughts = 0
        for event in events:
            thoughts += isinstance(event, Reasoning)
            if thoughts == 5:
                session.end_reasoning()
    assert session.turn
    assert session.turn.reasoning_tokens < 20
    assert session.turn.text
    assert session.turn.finish_reason is FinishReason.STOP


def test_a_loop_closes_the_thought_and_ends_an_answer(
    context: LlamaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop in the reasoning closes it, and an answer follows; one in the answer ends it, as a
    limit does."""
    monkeypatch.setattr(loops, "WORD_TOKENS", 140)
    looping: dict[str, Any] = {"logit_bias": [" the=100"], "max_tokens": 700}
    thought = asked(context, **looping)
    assert thought.loop
    assert thought.loop.text.strip() == "the"
    assert thought.steering
    assert thought.steering.was_closed
    assert thought.is_cut
    said = asked(context, thinking=Thinking.BYPASSED, **looping)
    assert said.loop
    assert said.finish_reason is FinishReason.LENGTH
    assert 140 < said.completion_tokens < 150
    monkeypatch.undo()
    short = asked(context, thinking=Thinking.BYPASSED, logit_bias=[" the=100"], max_tokens=200)
    assert short.loop
    assert short.completion_tokens == 200


def test_a_usual_answer_has_no_loop(context: LlamaContext) -> None:
    turn = asked(context)
    assert turn.loop is None
    assert turn.steering
    assert not turn.steering.was_closed


def test_a_family_without_thought_is_held_from_its_first_token(context: LlamaContext) -> None:
    turn = Turn(
        prompt_tokens=0, seed=1, constraint=constraint_from_schema({"enum": ["yes", "no"]}, "test")
    )
    prompt: list[Special | PlainText] = [
        Special("<｜User｜>"),
        PlainText("Is water wet?"),
        Special("<｜Assistant｜>"),
    ]
    for _ in stream_answer(turn, context, FAMILIES["v3"], SETTINGS, prompt):
        pass
    assert json.loads(turn.text) in ("yes", "no")
    assert turn.reasoning == ""


def test_a_grammar_instead_of_a_schema(context: LlamaContext, tmp_path: Path) -> None:
    file = tmp_path / "g.gbnf"
    file.write_text('root ::= "The answer is " [0-9]+ "."', encoding="utf-8")
    turn = asked(context, read_grammar(file), temperature=0)
    assert turn.text == "The answer is 4042."
    assert turn.constraint
    assert turn.constraint.check(turn.text) is None


VALUES: list[tuple[Any, str, Any]] = [
    (SUM, '{"result": 3}', {"result": 3}),
    (SUM, '{"result": 3', "not JSON"),
    (SUM, '{"result": ' + "9" * 5000 + "}", "not JSON: a number of 5,000 digits"),
    (SUM, "", "the answer is empty"),
    (SUM, '{"result": 3.5}', r"at \$\.result"),
    (SUM, "[]", r"at \$"),
    ({"type": "integer"}, "7.0", 7.0),
    ({"type": "integer"}, "1e400", None),
    ({"type": "number"}, "NaN", "NaN is not a number"),
    ({"type": "number", "multipleOf": 0.01}, "0.07", 0.07),
    ({"not": {}, "type": "number", "multipleOf": 0.01}, "0.075", "should not be valid"),
    ({"type": "number", "exclusiveMaximum": 1}, "0.99999999999999999999", 1.0),
    ({"type": "number", "minimum": 0.1}, "0.1", 0.1),
    ({"type": "array", "uniqueItems": True}, "[1, 1]", "non-unique"),
    ({"type": "array", "uniqueItems": True}, "[1, 2]", [1, 2]),
    ({"type": "array"}, "[" * 100_000 + "]" * 100_000, "nested too deeply|no JSON"),
    (True, '"anything"', "anything"),
    (ANY_OBJECT, '{"a": null}', {"a": None}),
]


@pytest.mark.parametrize(("schema", "text", "expected"), VALUES, ids=lambda value: str(value)[:30])
def test_an_answer_is_validated(schema: Any, text: str, expected: Any) -> None:
    """Numbers exactly as they are written, not as floats that come near."""
    form = constraint_from_schema(schema, "test")
    if isinstance(expected, str) and text != '"anything"':
        with pytest.raises(SchemaError, match=expected) as caught:
            form.check(text)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 7
    else:
        assert form.check(text) == expected or expected is None


FILES: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b'{"maxLength": ' + b"9" * 5000 + b"}", "not JSON: a number of 5,000 digits"),
    (b"[]", "a JSON Schema is an object"),
    (b"7", "a JSON Schema is an object"),
    (b"false", "a JSON Schema is an object"),
    (b'{"minimum": NaN}', "NaN is not a number"),
    (b"[" * 100_000, "levels within each other"),
    (b'{"items":' * 101 + b"{}" + b"}" * 101, "levels within each other"),
    (b" " * (MAX_BYTES + 1), "more than 1,048,576 bytes"),
    (b'{"enum": ["' + b"x" * 10_000_000 + b'"]}', "more than 1,048,576 bytes"),
    (b'{"$ref": "https://example.com/schema.json"}', "does not fetch"),
    (b'{"$ref": "file:///etc/passwd"}', "does not fetch"),
    (b'{"type": "integer", "minimum": 2, "maximum": 1}', "Unsatisfiable"),
    (b'{"not": {"type": "foo"}}', "foo"),
    (b'{"not": {"pattern": "(?P<"}}', "."),
    (b'{"const": "\\ud800"}', "half of a character"),
    (b"\x00\x01\x02", "."),
]


@pytest.mark.parametrize(("data", "why"), FILES, ids=lambda value: str(value[:40]))
def test_a_file_that_is_not_a_schema(tmp_path: Path, data: bytes, why: str) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=why) as caught:
        read_schema(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(file))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for read in (read_schema, read_grammar):
        with pytest.raises(NotFoundError):
            read(tmp_path / "none")
    (tmp_path / "wrong.gbnf").write_text("root ::= x", encoding="utf-8")
    with pytest.raises(UsageError, match=r"wrong\.gbnf: line 1: no rule 'x'"):
        read_grammar(tmp_path / "wrong.gbnf")


HOSTILE: dict[str, Any] = {
    "refers to itself": {"$ref": "#"},
    "never ends": {
        "$ref": "#/$defs/n",
        "$defs": {
            "n": {"type": "object", "properties": {"c": {"$ref": "#/$defs/n"}}, "required": ["c"]}
        },
    },
    "a tree": {
        "type": "object",
        "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}},
        "additionalProperties": False,
    },
    "doubles sixty times": {
        "$defs": {
            **{f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(60)},
            "a60": {"type": "null"},
        },
        "$ref": "#/$defs/a0",
    },
    "20,000 values": {"enum": [f"value {i}" for i in range(20_000)]},
    "a billion characters": {"type": "string", "minLength": 10**9},
    "10^18 items": {"type": "array", "items": {"const": 1}, "minItems": 10**18},
    "2,000 optional properties": {
        "type": "object",
        "properties": {f"p{i}": {"type": "string"} for i in range(2000)},
    },
    "a pattern that backtracks": {"type": "string", "pattern": "^(a+)+$"},
    "a pattern with many states": {"type": "string", "pattern": "^(.*a.{20})$"},
    "llguidance's own options": {
        "x-guidance": {"whitespace_pattern": ".*", "item_separator": "."},
        "type": "array",
        "items": {"const": 1},
    },
    "special tokens": {"enum": ["<｜end▁of▁sentence｜>", "</think>", "<｜User｜>"]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_answered_cut_or_refused(context: LlamaContext, name: str) -> None:
    """Nothing crashes or takes long; what comes to an end validates."""
    form = None
    turn = None
    refused = ""
    try:
        form = constraint_from_schema(HOSTILE[name], "test")
        turn = asked(context, form, thinking=Thinking.BYPASSED, max_tokens=60)
    except DslocalError as e:
        refused = str(e)
    assert "\n" not in refused
    assert refused or turn
    if form and turn and not turn.is_cut:
        form.check(turn.text)
