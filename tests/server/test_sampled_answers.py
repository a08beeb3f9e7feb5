"""Proves that tool calls that clients send back are replaced by the model's own tokens if they mean
the same, and only then.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dslocal import output, prompts
from dslocal.engine import LlamaModel
from dslocal.prompts.families.tools import (
    CALL_BEGIN,
    CALL_END,
    CALLS_BEGIN,
    CALLS_END,
    FENCE,
    FENCE_END,
    SEPARATOR,
)
from dslocal.server.exchange.events import call_key
from dslocal.server.exchange.tasks import SentCall, SentMessage
from dslocal.server.preparation.answer_log import AnswerLog
from dslocal.server.preparation.prepared_request import PreparedRequest
from dslocal.server.preparation.sampled_answers import (
    MAX_AGE_S,
    MAX_ANSWERS,
    MAX_TOKENS,
    SampledAnswers,
)
from dslocal.types import FinishReason

FAMILY = prompts.FAMILIES["nano"]
ARGUMENTS = '{"b":  1.0,\n "a": [1, "é"]}'
WRITTEN: list[prompts.Segment] = [
    CALLS_BEGIN,
    CALL_BEGIN,
    prompts.PlainText("function"),
    SEPARATOR,
    prompts.PlainText(f"f\n{FENCE}{ARGUMENTS}{FENCE_END}"),
    CALL_END,
    CALLS_END,
]


class Clock:
    """Says what time it is."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def request(prefilled: list[prompts.Segment] | None = None) -> PreparedRequest:
    prompt = FAMILY.render([prompts.Message("user", "x")])
    return PreparedRequest(FAMILY, prompt, FAMILY.defaults, seed=1, prefilled=prefilled or [])


def turn(model: LlamaModel, written: list[prompts.Segment] = WRITTEN) -> output.Turn:
    made = output.Turn(0, finish_reason=FinishReason.STOP)
    made.ids = prompts.encode(written, model)
    made.calls = [prompts.ToolCall("f", ARGUMENTS)]
    return made


def sent(arguments: str, id: str = "", name: str = "f", text: str = "") -> SentMessage:
    return SentMessage("assistant", text, calls=(SentCall(id, name, arguments),))


@pytest.mark.parametrize(
    ("arguments", "is_same"),
    [
        (ARGUMENTS, True),
        ('{"a":[1,"é"],"b":1}', True),
        ('{"a": [1, "\\u00e9"], "b": 1.0}', True),
        ('{"a": [1, "e"], "b": 1}', False),
        ('{"a": [1, "é"], "b": "1"}', False),
        ('{"a": [1, "é"], "b": true}', False),
        ('{"a": [1, "é"]}', False),
        ("{", False),
        ("[" * 100_000, False),
    ],
)
@pytest.mark.parametrize("has_id", [True, False])
def test_what_means_the_same_is_read_as_written(
    model: LlamaModel, arguments: str, is_same: bool, has_id: bool
) -> None:
    kept, asked = SampledAnswers(model), request()
    kept.keep(0, asked, turn(model))
    id = f"toolu_{call_key(asked.key, 0, 0)}" if has_id else ""
    found = kept.find(sent(arguments, id))
    assert (found is not None) == is_same
    if found is not None:
        assert list(found.answer.ids) == prompts.encode(WRITTEN, model)


@pytest.mark.parametrize("changes", [{"name": "g"}, {"text": "And more."}])
def test_another_name_or_text_is_another_answer(model: LlamaModel, changes: dict[str, str]) -> None:
    kept = SampledAnswers(model)
    kept.keep(0, request(), turn(model))
    assert kept.find(sent(ARGUMENTS, **changes)) is None


def test_a_prompt_has_the_ids_that_were_sampled(model: LlamaModel) -> None:
    """They need not be those that the text has: here each character is a token of its own."""
    kept = SampledAnswers(model)
    made = turn(model)
    split = [id for letter in ARGUMENTS for id in model.encode(letter)]
    head = prompts.encode(WRITTEN[:4], model) + model.encode(f"f\n{FENCE}")
    made.ids = [*head, *split, *model.encode(FENCE_END), *prompts.encode(WRITTEN[5:], model)]
    kept.keep(0, request(), made)
    sampled = kept.find(sent(ARGUMENTS))
    calls = (prompts.ToolCall("f", ARGUMENTS),)
    answer = prompts.Message("assistant", "", calls=calls, sampled=sampled)
    asked, result = prompts.Message("user", "x"), prompts.Message("tool", "5")
    ids = prompts.encode(FAMILY.render([asked, answer, result]), model)
    places = range(len(ids) - len(made.ids) + 1)
    assert any(ids[place : place + len(made.ids)] == made.ids for place in places)
    rewritten = prompts.encode(FAMILY.render([asked, replace(answer, sampled=None), result]), model)
    assert len(rewritten) < len(ids)


def test_what_the_prompt_began_and_a_stop_token_ended_is_whole(model: LlamaModel) -> None:
    kept = SampledAnswers(model)
    begin = FAMILY.format.tools.begin("f")  # type: ignore[union-attr]
    made = turn(model, [prompts.PlainText(f"{ARGUMENTS}{FENCE_END}")])
    kept.keep(0, request(begin), made)
    found = kept.find(sent(ARGUMENTS))
    assert found is not None
    end = prompts.encode([CALL_END, CALLS_END], model)
    assert list(found.answer.ids) == [*prompts.encode(begin, model), *made.ids, *end]


def test_an_answer_that_was_cut_is_not_kept(model: LlamaModel) -> None:
    kept, made = SampledAnswers(model), turn(model)
    made.finish_reason = FinishReason.LENGTH
    kept.keep(0, request(), made)
    assert kept.find(sent(ARGUMENTS)) is None


def test_they_outlive_the_server(model: LlamaModel, tmp_path: Path) -> None:
    clock, log = Clock(), AnswerLog(tmp_path / "answers.calls")
    SampledAnswers(model, clock, log).keep(0, request(), turn(model))
    found = SampledAnswers(model, clock, log).find(sent('{"a":[1,"é"],"b":1}'))
    assert found is not None
    assert list(found.answer.ids) == prompts.encode(WRITTEN, model)
    clock.now = MAX_AGE_S + 1
    assert SampledAnswers(model, clock, log).find(sent(ARGUMENTS)) is None


def test_they_are_forgotten(model: LlamaModel) -> None:
    clock = Clock()
    kept = SampledAnswers(model, clock)
    kept.keep(0, request(), turn(model))
    clock.now = MAX_AGE_S - 1
    assert kept.find(sent(ARGUMENTS)) is not None
    clock.now = MAX_AGE_S + 1
    assert kept.find(sent(ARGUMENTS)) is None
    first = request()
    kept.keep(0, first, turn(model))
    made = turn(model)
    made.calls = [prompts.ToolCall("g", "{}")]
    for _ in range(MAX_ANSWERS):
        kept.keep(0, request(), made)
    assert kept.find(sent(ARGUMENTS, call_key(first.key, 0, 0))) is None


def test_reasoning_counts_among_the_tokens_that_are_kept(model: LlamaModel) -> None:
    kept, made = SampledAnswers(model), turn(model)
    oldest = request()
    kept.keep(0, oldest, made)
    id = call_key(oldest.key, 0, 0)
    end_of_reasoning = model.special_id("</think>")
    assert end_of_reasoning is not None
    made.ids = [0] * (MAX_TOKENS // 3) + [end_of_reasoning, *made.ids]
    made.calls = [prompts.ToolCall("g", "{}")]
    opened = replace(request(), prompt=[prompts.Special("<think>")])
    found = []
    for number in range(3):
        kept.keep(number, opened, made)
        found.append(kept.find(sent(ARGUMENTS, id)) is not None)
    assert found == [True, True, False]
