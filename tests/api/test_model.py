"""Prove what a loaded model answers, streams and refuses, on nano."""

from __future__ import annotations

import gc
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dslocal
from dslocal.gguf import header

SUM = "What is 47 × 86?"
SCHEMA = {
    "type": "object",
    "properties": {"result": {"type": "integer"}},
    "required": ["result"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def loaded(nano: Path) -> Iterator[dslocal.Model]:
    with dslocal.load(nano) as model:
        yield model


def test_a_name_means_what_it_means_on_the_command_line(nano: Path) -> None:
    with dslocal.load("nano", n_ctx=512) as model:
        assert (model.name, model.family, model.n_ctx) == ("nano", "nano", 512)
        assert model.path == nano
        assert repr(model) == "<dslocal.Model 'nano', 512 tokens of context>"


def test_an_answer(loaded: dslocal.Model) -> None:
    answer = loaded.ask(SUM, seed=1)
    assert "4042" in answer.text
    assert str(answer) == answer.text
    assert answer.final == "4042"
    assert answer.reasoning
    assert answer.finish_reason == "stop"
    assert (answer.seed, answer.tool_calls, answer.parsed) == (1, (), None)
    usage = answer.usage
    assert 0 < usage.reasoning_tokens < usage.completion_tokens
    assert 0 <= usage.cached_tokens < usage.prompt_tokens
    assert answer.timings.decode > 0


def test_a_header_is_parsed_once(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []

    def parse_and_note(*args: Any, **options: Any) -> header.GgufHeader:
        parsed.append(args)
        return parse(*args, **options)

    parse = header.parse_header
    monkeypatch.setattr(header, "parse_header", parse_and_note)
    with dslocal.load(nano, n_ctx=512) as model:
        assert model.ask(SUM, seed=1, max_tokens=1).text == ""
    assert len(parsed) == 1


def test_a_seed_replays(loaded: dslocal.Model) -> None:
    assert loaded.ask(SUM, seed=7).text == loaded.ask(SUM, seed=7).text
    assert loaded.ask(SUM).seed != loaded.ask(SUM).seed


def test_a_stream_is_the_answer_in_parts(loaded: dslocal.Model) -> None:
    stream = loaded.stream(SUM, seed=1)
    events = list(stream)
    last = events[-1]
    assert isinstance(last, dslocal.Done)
    assert last.answer is stream.answer
    reasoning = "".join(e.text for e in events if isinstance(e, dslocal.Reasoning))
    text = "".join(e.text for e in events if isinstance(e, dslocal.Text))
    assert (reasoning, text) == (last.answer.reasoning, last.answer.text)
    assert len(events) > 20
    assert list(stream) == []


def test_a_stream_is_generated_when_its_answer_is_asked_for(loaded: dslocal.Model) -> None:
    stream = loaded.stream(SUM, seed=1)
    next(stream)
    assert "4042" in stream.answer.text


def test_a_stream_that_is_closed_is_interrupted(loaded: dslocal.Model) -> None:
    with loaded.stream(SUM, seed=1) as stream:
        first = next(stream)
    assert stream.answer.finish_reason == "interrupted"
    assert isinstance(first, dslocal.Reasoning)
    assert stream.answer.reasoning.startswith(first.text)
    assert "4042" in loaded.ask(SUM, seed=1).text


def test_a_stream_closed_before_it_began_has_no_answer(loaded: dslocal.Model) -> None:
    stream = loaded.stream(SUM, seed=1)
    stream.close()
    with pytest.raises(dslocal.UsageError, match="closed before"):
        _ = stream.answer


def test_one_answer_at_a_time(loaded: dslocal.Model) -> None:
    with loaded.stream(SUM, seed=1) as stream:
        next(stream)
        with pytest.raises(dslocal.UsageError, match="generating another answer"):
            loaded.ask("What is 1 + 1?")
        failed: list[Exception] = []

        def other() -> None:
            try:
                loaded.ask("What is 1 + 1?")
            except dslocal.UsageError as e:
                failed.append(e)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(failed) == 1
    assert loaded.ask(SUM, seed=1).final == "4042"


def test_a_stream_that_is_dropped_frees_the_model(loaded: dslocal.Model) -> None:
    next(loaded.stream(SUM, seed=1))
    gc.collect()
    assert loaded.ask(SUM, seed=1).final == "4042"


def test_max_tokens_cut_an_answer(loaded: dslocal.Model) -> None:
    answer = loaded.ask(SUM, seed=1, max_tokens=5)
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 5)


def test_thinking_is_forced_or_left_out(loaded: dslocal.Model) -> None:
    assert loaded.ask(SUM, seed=1, thinking=True).reasoning
    assert loaded.ask(SUM, seed=1, thinking=False).reasoning == ""


def test_a_stop_text_ends_an_answer(loaded: dslocal.Model) -> None:
    answer = loaded.ask("What is the capital of Peru?", seed=1, stop="Lima")
    assert answer.text == "The capital of Peru is"
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("as_file", [False, True])
def test_a_schema(loaded: dslocal.Model, tmp_path: Path, as_file: bool) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    answer = loaded.ask(SUM, schema=file if as_file else SCHEMA, seed=1)
    assert answer.parsed == {"result": 4042}
    assert json.loads(answer.text) == answer.parsed


def test_an_answer_that_is_not_as_its_schema_says_is_an_error(loaded: dslocal.Model) -> None:
    never = {**SCHEMA, "not": {"required": ["result"]}}
    with pytest.raises(dslocal.SchemaError):
        loaded.ask(SUM, schema=never, seed=1)


def test_a_grammar(loaded: dslocal.Model, tmp_path: Path) -> None:
    file = tmp_path / "yes.gbnf"
    file.write_text('root ::= "yes" | "no"')
    assert loaded.ask("Is 7 prime?", grammar=file, seed=1).text in ("yes", "no")


def test_a_file(loaded: dslocal.Model, tmp_path: Path) -> None:
    file = tmp_path / "cache.ini"
    file.write_text("user = anna\nport = 8080\nmode = fast\n")
    answer = loaded.ask("What is the port?", files=[file], seed=1)
    assert answer.text == "In cache.ini, port is 8080."


def test_a_gap_is_filled(loaded: dslocal.Model) -> None:
    prefix = 'def area(width, height):\n    """Return the product of width and height."""\n'
    answer = loaded.fill(prefix, "\n    return result\n", seed=1)
    assert answer.text == "    result = width * height"


def test_the_prompt_can_be_seen(loaded: dslocal.Model) -> None:
    prompt = loaded.render([dslocal.Message("user", "hello")])
    assert prompt == "<｜begin▁of▁sentence｜><｜User｜>hello<｜Assistant｜><think>\n"


def test_text_never_becomes_a_special_token(loaded: dslocal.Model) -> None:
    assert len(loaded.tokenize("<｜User｜>")) > 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "temperature": ({"temperature": 9}, "temperature: 9 is out of range"),
    "a setting": ({"warmth": 1}, "warmth: unknown setting 'warmth'"),
    "seed": ({"seed": -1}, "seed: -1 is out of range"),
    "two constraints": ({"schema": SCHEMA, "grammar": "x"}, "cannot be combined"),
    "a schema": ({"schema": {"type": 1}}, "schema"),
    "a file": ({"files": ["/nowhere/x"]}, "/nowhere/x"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(loaded: dslocal.Model, name: str) -> None:
    options, message = WRONG[name]
    with pytest.raises(dslocal.DslocalError, match="(?s)" + message):
        loaded.ask(SUM, **options)
    assert loaded.ask(SUM, seed=1).final == "4042"


LOADING: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such model": ({"model": "no-such-model"}, dslocal.NotFoundError, "no-such-model"),
    "kv": ({"kv_type": "q1"}, dslocal.UsageError, "kv_type: 'q1' is not known"),
    "context": ({"n_ctx": 1}, dslocal.UsageError, "n_ctx: 1 is out of range"),
    "experts": ({"cpu_moe": "some"}, dslocal.UsageError, "cpu_moe: 'some'"),
    "mtp": ({"mtp": "maybe"}, dslocal.UsageError, "mtp: 'maybe' is not known"),
    "family": ({"family": "llama-9"}, dslocal.UsageError, "llama-9"),
}


@pytest.mark.parametrize(("options", "kind", "message"), LOADING.values(), ids=LOADING)
def test_what_cannot_be_loaded_is_named(
    nano: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        dslocal.load(**{"model": nano, **options})


def test_a_closed_model_says_so(nano: Path) -> None:
    model = dslocal.load(nano, n_ctx=512)
    model.close()
    model.close()
    for call in (model.ask, model.tokenize):
        with pytest.raises(dslocal.UsageError, match="the model is closed"):
            call("x")


def test_advice_is_logged_or_received(nano: Path, caplog: pytest.LogCaptureFixture) -> None:
    with dslocal.load(nano, n_ctx=1024) as model, caplog.at_level(logging.WARNING, "dslocal"):
        model.ask(SUM, temperature=2.0, seed=1, max_tokens=1)
    assert "temperature" in caplog.text
    received: list[str] = []
    with dslocal.load(nano, n_ctx=1024, on_notice=received.append) as model:
        model.ask(SUM, temperature=2.0, seed=1, max_tokens=1)
    assert len(received) == 1
