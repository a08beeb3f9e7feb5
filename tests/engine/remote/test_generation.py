"""Answers of an engine: read as those of this machine, steered by further requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.engines.fake_engine import FakeEngine, Status, Tokens

from dslocal.chat.session import Session
from dslocal.engine import LlamaModel
from dslocal.engine.grammar.grammar import choices_to_grammar
from dslocal.errors import RemoteEngineError, SchemaError
from dslocal.output import (
    OutputConstraint,
    constraint_from_choices,
    constraint_from_gbnf,
    constraint_from_regex,
    constraint_from_schema,
)
from dslocal.prompts import FAMILIES, Settings
from dslocal.types import FinishReason

from .conftest import OpenContext

NANO = FAMILIES["nano"]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture
def think(model: LlamaModel) -> int:
    """The id of </think>."""
    found = model.special_id("</think>")
    assert found is not None
    return found


@pytest.fixture
def end(model: LlamaModel) -> int:
    """The id that ends an answer."""
    found = model.special_id("<｜end▁of▁sentence｜>")
    assert found is not None
    return found


def settings(**values: Any) -> Settings:
    chosen = NANO.defaults
    for name, value in values.items():
        chosen = chosen.with_value(name, value, "test")
    return chosen


def grammar_in(engine: FakeEngine, place: int) -> Any:
    """Return the constraint that a request sent to the engine."""
    body = engine.generated[place]
    if engine.kind == "vllm":
        return body.get("structured_outputs")
    if engine.kind == "sglang":
        names = ("json_schema", "regex", "ebnf")
        found = {name: body["sampling_params"].get(name) for name in names}
    else:
        found = {name: body.get(name) for name in ("json_schema", "grammar")}
    return {name: value for name, value in found.items() if value is not None} or None


def test_reasoning_and_text(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int, end: int
) -> None:
    ids = [*model.encode("I add."), think, *model.encode("It is 你好 🙂.")]
    engine.replies = [Tokens([*ids, end], cached=3)]
    session = Session(open_context(engine), NANO, settings())
    list(session.stream("1 + 1?", seed=5))
    turn = session.turn
    assert turn is not None
    assert (turn.reasoning, turn.text) == ("I add.", "It is 你好 🙂.")
    assert turn.finish_reason is FinishReason.STOP
    assert turn.ids == ids
    assert turn.cached_tokens == 3
    assert len(engine.generated) == 1


def test_the_vendors_sampling_is_spelled_out(engine: FakeEngine, open_context: OpenContext) -> None:
    engine.replies = [Tokens([5, 1])]
    chosen = settings(
        temperature=0.7, top_p=0.9, top_k=11, min_p=0.05, max_tokens=77, repeat_penalty=1.1,
        logit_bias=["5=-3"],
    )  # fmt: skip
    session = Session(open_context(engine), NANO, chosen)
    list(session.stream("1 + 1?", seed=5))
    body = engine.generated[0]
    said = body["sampling_params"] if engine.kind == "sglang" else body
    names = {
        "vllm": ("max_tokens", "repetition_penalty", "seed"),
        "sglang": ("max_new_tokens", "repetition_penalty", "sampling_seed"),
        "llamacpp": ("n_predict", "repeat_penalty", "seed"),
    }[engine.kind]
    assert [said[name] for name in names] == [77, 1.1, 5]
    assert [said[name] for name in ("temperature", "top_p", "top_k", "min_p")] == [
        0.7, 0.9, 11, 0.05,
    ]  # fmt: skip
    bias = [[5, -3.0]] if engine.kind == "llamacpp" else {"5": -3.0}
    assert said["logit_bias"] == bias


def test_what_is_off_changes_nothing(engine: FakeEngine, open_context: OpenContext) -> None:
    """Engines have defaults of their own, such as llama-server's top-k of 40."""
    engine.replies = [Tokens([5, 1])]
    list(Session(open_context(engine), NANO, settings()).stream("1 + 1?", seed=5))
    body = engine.generated[0]
    said = body["sampling_params"] if engine.kind == "sglang" else body
    assert said["top_k"] == (0 if engine.kind == "llamacpp" else -1)
    assert said["min_p"] == 0
    if engine.kind == "llamacpp":
        assert said["samplers"] == ["penalties", "temperature", "top_k", "top_p", "min_p"]


CONSTRAINTS: dict[str, tuple[OutputConstraint, str, dict[str, Any]]] = {
    "schema": (
        constraint_from_schema(SCHEMA, "test"),
        '{"a": 1}',
        {
            "vllm": {"json": SCHEMA},
            "sglang": {"json_schema": json.dumps(SCHEMA)},
            "llamacpp": {"json_schema": SCHEMA},
        },
    ),
    "gbnf": (
        constraint_from_gbnf('root ::= "Lima"', "test"),
        "Lima",
        {
            "vllm": {"grammar": 'root ::= "Lima"'},
            "sglang": {"ebnf": 'root ::= "Lima"'},
            "llamacpp": {"grammar": 'root ::= "Lima"'},
        },
    ),
    "choices": (
        constraint_from_choices(["Lima", "Oslo"], "test"),
        "Oslo",
        {
            "vllm": {"choice": ["Lima", "Oslo"]},
            "sglang": {"regex": "Lima|Oslo"},
            "llamacpp": {"grammar": 'root ::= "Lima" | "Oslo"'},
        },
    ),
    "choices with characters that GBNF escapes in its own way": (
        constraint_from_choices(['"\b\\', "🙂\u000b!"], "test"),
        "🙂\u000b!",
        {
            "vllm": {"choice": ['"\b\\', "🙂\u000b!"]},
            "sglang": {"regex": '"\b\\\\|🙂\\\u000b!'},
            "llamacpp": {
                "grammar": 'root ::= "\\U00000022\\U00000008\\U0000005C" | "🙂\\U0000000B!"'
            },
        },
    ),
    "regex": (
        constraint_from_regex("[a-z]+", "test"),
        "lima",
        {"vllm": {"regex": "[a-z]+"}, "sglang": {"regex": "[a-z]+"}},
    ),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_grammar_begins_after_the_reasoning(
    engine: FakeEngine,
    model: LlamaModel,
    open_context: OpenContext,
    think: int,
    end: int,
    name: str,
) -> None:
    """In a second request, whose prompt has the reasoning and its end."""
    constraint, text, spelled = CONSTRAINTS[name]
    session = Session(open_context(engine), NANO, settings(), constraint=constraint)
    first = [*model.encode("I add."), think]
    engine.replies = [
        Tokens([*first, *model.encode("never read")]),
        Tokens([*model.encode(text), end]),
    ]
    list(session.stream("1 + 1?", seed=5))
    turn = session.turn
    assert turn is not None
    assert (turn.reasoning, turn.text) == ("I add.", text)
    assert [grammar_in(engine, place) for place in (0, 1)] == [None, spelled.get(engine.kind)]
    before = len(engine.prompt(0)) + len(first)
    assert engine.prompt(1)[:before] == [*engine.prompt(0), *first]


def test_an_end_within_the_reasoning_ends_only_that(
    vllm: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int, end: int
) -> None:
    constraint = constraint_from_choices(["Lima"], "test")
    session = Session(open_context(vllm), NANO, settings(), constraint=constraint)
    vllm.replies = [
        Tokens([*model.encode("Hm."), end]),
        Tokens([*model.encode("Lima"), end]),
    ]
    list(session.stream("1 + 1?", seed=5))
    assert session.turn is not None
    assert (session.turn.reasoning, session.turn.text) == ("Hm.", "Lima")
    assert think in vllm.prompt(1)


def test_an_engine_that_ignores_the_grammar_is_caught(
    vllm: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int
) -> None:
    constraint = constraint_from_choices(["Lima"], "test")
    session = Session(open_context(vllm), NANO, settings(), constraint=constraint)
    vllm.replies = [Tokens([think]), Tokens([*model.encode("Whatever")])]
    with pytest.raises(RemoteEngineError, match="does not follow the grammar"):
        list(session.stream("1 + 1?", seed=5))


def test_a_grammar_that_the_engine_does_not_know_is_held_here(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int, end: int
) -> None:
    """A token that may not come is replaced by the likeliest that may."""
    constraint = OutputConstraint("test", choices_to_grammar(["Lima"]))
    lima, oslo = model.encode("Lima"), model.encode("Oslo")
    top = tuple((id, -1.0) for id in (oslo[0], *lima))
    session = Session(open_context(engine), NANO, settings(), constraint=constraint)
    engine.replies = [
        Tokens([think, 5]),
        Tokens([oslo[0], 5], top=top),
        Tokens([*lima[1:], end], top=top),
    ]
    list(session.stream("1 + 1?", seed=5))
    turn = session.turn
    assert turn is not None
    assert turn.text == "Lima"
    assert turn.finish_reason is FinishReason.STOP
    assert [grammar_in(engine, place) for place in range(3)] == [None] * 3
    assert turn.logprobs == []


def test_a_grammar_that_the_engine_refuses(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int
) -> None:
    """It is an error of the request, as one that is refused here is."""
    constraint = constraint_from_schema({"type": "object"}, "test")
    session = Session(open_context(engine), NANO, settings(), constraint=constraint)
    refusal = Status(400, b'{"error": {"message": "failed to parse grammar"}}')
    engine.replies = [Tokens([think, 5]), refusal]
    with pytest.raises(SchemaError, match="failed to parse grammar"):
        list(session.stream("1 + 1?", seed=5))


def test_a_grammar_that_nothing_likely_fits(
    vllm: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int
) -> None:
    constraint = OutputConstraint("test", choices_to_grammar(["Lima"]))
    session = Session(open_context(vllm), NANO, settings(), constraint=constraint)
    vllm.replies = [Tokens([think]), Tokens(model.encode("Oslo"), top=((5, -1.0),))]
    with pytest.raises(SchemaError, match="none of the 1 likeliest tokens fits"):
        list(session.stream("1 + 1?", seed=5))


@pytest.mark.parametrize("place", ["token", "likeliest"])
def test_a_grammar_meets_an_id_that_no_vocabulary_has(
    vllm: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int, place: str
) -> None:
    constraint = OutputConstraint("test", choices_to_grammar(["Lima"]))
    session = Session(open_context(vllm), NANO, settings(), constraint=constraint)
    ids = [1 << 20] if place == "token" else model.encode("Oslo")
    vllm.replies = [Tokens([think]), Tokens(ids, top=((1 << 20, -1.0),))]
    expected = "sends token 1048576" if place == "token" else "none of the 0 likeliest"
    with pytest.raises(RemoteEngineError, match=expected):
        list(session.stream("1 + 1?", seed=5))


def test_a_budget_closes_the_reasoning(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int, end: int
) -> None:
    words = model.encode("one two three four five six seven eight")
    engine.replies = [Tokens(words), Tokens([*model.encode("Done."), end])]
    session = Session(open_context(engine), NANO, settings(think_budget=3))
    list(session.stream("1 + 1?", seed=5))
    turn = session.turn
    assert turn is not None
    assert turn.ids[:3] == words[:3]
    assert think in turn.ids[3:6]
    assert turn.text == "Done."
    assert engine.prompt(1)[: len(engine.prompt(0)) + 3] == [*engine.prompt(0), *words[:3]]


def test_each_request_of_an_answer_has_a_seed_of_its_own(
    vllm: FakeEngine, model: LlamaModel, open_context: OpenContext, end: int
) -> None:
    vllm.replies = [Tokens(model.encode("one two three")), Tokens([5, end])]
    session = Session(open_context(vllm), NANO, settings(think_budget=2))
    list(session.stream("1 + 1?", seed=5))
    seeds = [body["seed"] for body in vllm.generated]
    assert seeds[0] == 5
    assert seeds[1] != 5


def test_stop_texts_end_it_here(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int
) -> None:
    ids = [think, *model.encode("alpha beta gamma delta")]
    engine.replies = [Tokens(ids, pause_s=0.01)]
    session = Session(open_context(engine), NANO, settings(stop=["gamma"]))
    list(session.stream("1 + 1?", seed=5))
    turn = session.turn
    assert turn is not None
    assert turn.text.strip() == "alpha beta"
    assert turn.finish_reason is FinishReason.STOP


def test_max_tokens(engine: FakeEngine, model: LlamaModel, open_context: OpenContext) -> None:
    engine.replies = [Tokens(model.encode("one two three four"), finish="length")]
    session = Session(open_context(engine), NANO, settings(max_tokens=3))
    list(session.stream("1 + 1?", seed=5))
    turn = session.turn
    assert turn is not None
    assert turn.is_cut
    assert turn.completion_tokens == 3


def test_logprobs(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext, end: int
) -> None:
    ids = model.encode("one two")
    top = ((7, -0.25), (9, -2.0))
    engine.replies = [Tokens([*ids, end], top=top)]
    session = Session(open_context(engine), NANO, settings(), top_logprobs=2)
    list(session.stream("1 + 1?", seed=5))
    assert session.turn is not None
    found = session.turn.logprobs
    assert [entry.id for entry in found] == ids
    assert {entry.logprob for entry in found} == {-0.5}
    assert {entry.top for entry in found} == {top}


def test_what_was_cut_is_continued_from_its_tokens(
    engine: FakeEngine, model: LlamaModel, open_context: OpenContext, think: int, end: int
) -> None:
    first = [think, *model.encode("one two")]
    engine.replies = [Tokens(first, finish="length")]
    session = Session(open_context(engine), NANO, settings(max_tokens=len(first)))
    list(session.stream("1 + 1?", seed=5))
    assert session.is_unfinished
    engine.replies = [Tokens([*model.encode(" three"), end])]
    list(session.continue_answer())
    assert session.history[-1].content == "one two three"
    assert engine.prompt(1) == [*engine.prompt(0), *first]


def test_tokens_of_one_character_are_found_again(
    model: LlamaModel, open_context: OpenContext, think: int
) -> None:
    """llama-server names the last token alone of those that make a character."""
    text = "a你🙂构"
    ids = model.encode(text)
    assert len(ids) > len(text)
    events = [{"content": "", "tokens": [think], "tokens_predicted": 1, "stop": False}]
    data = b""
    for place, id in enumerate(ids):
        data += model.piece(id)
        try:
            content = data.decode()
        except UnicodeDecodeError:
            continue
        event = {"content": content, "tokens": [id], "tokens_predicted": place + 2, "stop": False}
        events.append(event)
        data = b""
    events.append({"stop": True, "stop_type": "eos", "tokens": [], "tokens_predicted": len(ids)})
    from support.engines.fake_engine import Raw

    pieces = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    with FakeEngine(model, "llamacpp", replies=[Raw(pieces)]) as engine:
        session = Session(open_context(engine), NANO, settings())
        list(session.stream("1 + 1?", seed=5))
        assert session.turn is not None
        assert session.turn.text == text
        assert session.turn.ids == [think, *ids]
