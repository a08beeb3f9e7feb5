"""Proves on the real nano that a conversation holds together: follow-ups, what is remembered, what
is dropped, what can be replayed.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from dslocal.chat import Event, HistoryTrimmed, Session
from dslocal.engine import FinishReason, LlamaContext, LlamaModel
from dslocal.errors import ContextOverflowError, UsageError
from dslocal.output import Reasoning, Text
from dslocal.prompts import Message, Settings, Special, Thinking, render
from dslocal.prompts.families.r1 import R1

CALM = R1.defaults.with_value("temperature", 0, "test")


def session(context: LlamaContext, settings: Settings = CALM, **more: Any) -> Session:
    return Session(context, R1, settings, **more)


def ask(talk: Session, text: str, seed: int = 1) -> list[Event]:
    return list(talk.stream(text, seed))


def last(talk: Session) -> Message:
    return talk.history[-1]


def test_three_turns_with_follow_ups(context: LlamaContext) -> None:
    talk = session(context)
    for question, answer in [
        ("What is 47 × 86?", "4042"),
        ("Now add 5 to that.", "4047"),
        ("capital of peru", "Lima"),
    ]:
        events = ask(talk, question)
        turn = talk.turn
        assert turn is not None
        assert answer in turn.text
        assert turn.finish_reason is FinishReason.STOP
        assert (
            "".join(e.text for e in events if isinstance(e, Text))
            == turn.text
            == last(talk).content
        )
        assert (
            "".join(e.text for e in events if isinstance(e, Reasoning))
            == turn.reasoning
            == last(talk).reasoning
        )
        assert 0 < turn.reasoning_tokens < turn.completion_tokens
        assert turn.timings is not None
        assert 0 < turn.timings.prefill <= turn.timings.ttft
        assert turn.tokens_per_s > 0
    assert [m.role for m in talk.history] == ["user", "assistant"] * 3


def test_earlier_reasoning_is_not_sent_and_the_prefix_is_reused(context: LlamaContext) -> None:
    talk = session(context)
    ask(talk, "What is 47 × 86?")
    prompt = render(talk.prompt("Now add 5 to that."))
    assert talk.history[1].reasoning
    assert talk.history[1].reasoning[:20] not in prompt
    assert prompt.count("<think>") == 1
    ask(talk, "Now add 5 to that.")
    assert talk.turn is not None
    # both have the first prompt in common, without the tag that opens its reasoning
    assert talk.turn.cached_tokens == len(
        ["<bos>", "<user>", "what", "_is", "_", "4", "7", "_×", "_", "8", "6", "?", "<assistant>"]
    )
    assert talk.turn.prompt_tokens > talk.turn.cached_tokens


def test_instructions_go_before_the_first_question_of_all(context: LlamaContext) -> None:
    talk = session(
        context, system="Be brief.", history=[Message("user", "a"), Message("assistant", "b")]
    )
    assert render(talk.prompt("c")).split("<｜User｜>")[1:] == [
        "Be brief.\n\na<｜Assistant｜>b<｜end▁of▁sentence｜>",
        "c<｜Assistant｜><think>\n",
    ]
    assert Special("<think>") in talk.prompt("c")


@pytest.mark.parametrize("thinking", R1.thinking_modes)
def test_each_way_to_begin(context: LlamaContext, thinking: Thinking) -> None:
    talk = session(context, thinking=thinking)
    ask(talk, "capital of peru")
    assert talk.turn is not None
    assert talk.turn.text == "The capital of Peru is Lima."
    assert bool(talk.turn.reasoning) == (thinking is not Thinking.BYPASSED)


def test_the_oldest_turns_are_dropped_with_a_notice(model: LlamaModel) -> None:
    old = [
        Message(role, f"{role} {i} " + "word " * 40)
        for i in range(6)
        for role in ("user", "assistant")
    ]
    with LlamaContext(model, 768) as context:
        talk = session(context, history=list(old))
        events = ask(talk, "capital of peru")
        dropped = events[0]
        assert isinstance(dropped, HistoryTrimmed)
        assert 0 < dropped.turns < 6
        assert [e for e in events if isinstance(e, HistoryTrimmed)] == [dropped]
        assert talk.history[:-2] == old  # nothing is forgotten
        assert talk.first_kept == 2 * dropped.turns
        # no more than had to go: one turn more would not have fitted
        assert talk.turn is not None
        assert talk.turn.prompt_tokens + 256 <= 768 < talk.turn.prompt_tokens + 256 + 90


def test_a_prompt_that_cannot_fit_is_refused_with_the_numbers(model: LlamaModel) -> None:
    with LlamaContext(model, 512) as context:
        talk = session(context, history=[Message("user", "a"), Message("assistant", "b")])
        with pytest.raises(
            ContextOverflowError, match=r"is [34]\d\d tokens .* room for 256; the context holds 512"
        ) as caught:
            ask(talk, "47 " * 130)
        assert "up to 4,096" in caught.value.hint
        assert (context.ids, talk.turn, len(talk.history)) == ([], None, 2)


def test_a_small_max_tokens_needs_little_room(model: LlamaModel) -> None:
    with LlamaContext(model, 512) as context:
        talk = session(context, CALM.with_value("max_tokens", 4, "test"))
        ask(talk, "47 " * 150)
        assert talk.turn is not None
        assert (talk.turn.completion_tokens, talk.turn.finish_reason) == (4, FinishReason.LENGTH)


def test_an_answer_cut_short_is_rendered_again_and_reasoning_alone_is_not(
    context: LlamaContext,
) -> None:
    talk = session(context)
    with closing(talk.stream("What is 47 × 86?", 1)) as events:
        began = next(event for event in events if isinstance(event, Text))
    assert talk.turn is not None
    assert talk.turn.finish_reason is FinishReason.INTERRUPTED
    assert last(talk).content == began.text == talk.turn.text
    assert "I need to multiply 47 by 86" in last(talk).reasoning

    with closing(talk.stream("What is 48 × 86?", 1)) as events:
        next(event for event in events if isinstance(event, Reasoning))
    assert (len(talk.history), last(talk).content, last(talk).cut) == (4, "", "interrupted")
    assert "48" not in render(talk.prompt("capital of peru"))
    assert talk.turn.reasoning
    assert talk.turn.text == ""

    ask(talk, "capital of peru")
    assert last(talk).content == "The capital of Peru is Lima."


def test_the_seed_replays_an_answer(model: LlamaModel) -> None:
    wild = R1.defaults.with_value("temperature", 3, "test").with_value("max_tokens", 40, "test")

    def thought(seed: int) -> str:
        with LlamaContext(model, 512) as context:
            talk = session(context, wild)
            ask(talk, "hello", seed)
            assert talk.turn is not None
            assert talk.turn.seed == seed
            return talk.turn.reasoning

    assert thought(1) == thought(1)
    assert len({thought(seed) for seed in range(5)}) == 5


def test_progress_of_the_prompt_is_reported(context: LlamaContext) -> None:
    reports: list[tuple[int, int]] = []
    talk = session(context, CALM.with_value("max_tokens", 1, "test"))
    list(talk.stream("47 " * 400, 1, on_prefill=lambda done, total: reports.append((done, total))))
    assert talk.turn is not None
    total = talk.turn.prompt_tokens
    assert reports == [(done, total) for done in (*range(128, total, 128), total)]


KNOWN = (
    "known: frequency_penalty, logit_bias, max_tokens, min_p, presence_penalty, repeat_penalty,"
    " stop, temperature, think_budget, "
    "top_k, top_p"
)
SETTINGS = [
    ("temperature", "0.7", 0.7),
    ("temperature", 0, 0),
    ("temperature", 5, 5),
    ("temperature", -0.1, "temperature is 0 to 5"),
    ("temperature", 5.1, "temperature is 0 to 5"),
    ("temperature", "nan", "temperature is 0 to 5"),
    ("temperature", "hot", "temperature is 0 to 5"),
    ("temperature", "", "temperature is 0 to 5"),
    ("temperature", None, "temperature is 0 to 5"),
    ("temperature", True, "temperature is 0 to 5"),
    ("think_budget", 0, 0),
    ("think_budget", -1, "think_budget is 0 to 1048576"),
    ("top_p", 1, 1),
    ("top_p", 0.001, 0.001),
    ("top_p", 0, "top_p is above 0, at most 1"),
    ("top_p", 1.01, "top_p is above 0, at most 1"),
    ("top_p", "inf", "top_p is above 0, at most 1"),
    ("max_tokens", "1", 1),
    ("max_tokens", 1 << 20, 1 << 20),
    ("max_tokens", 0, "max_tokens is 1 to 1048576"),
    ("max_tokens", (1 << 20) + 1, "max_tokens is 1 to 1048576"),
    ("max_tokens", "1.5", "max_tokens is 1 to 1048576"),
    ("max_tokens", 1.5, "max_tokens is 1 to 1048576"),
    ("max_tokens", "9" * 4000, "max_tokens is 1 to 1048576"),
    ("max_tokens", "9" * 5000, "max_tokens is 1 to 1048576"),
    ("n_ctx", 1, KNOWN),
    ("__class__", 1, KNOWN),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"), SETTINGS, ids=lambda value: repr(value)[:20]
)
def test_settings(name: str, value: Any, expected: float | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match="/set: ") as caught:
            R1.defaults.with_value(name, value, "/set")
        assert caught.value.hint == expected
        assert len(str(caught.value)) < 100
    else:
        changed = R1.defaults.with_value(name, value, "/set")
        assert getattr(changed, name).value == expected
        assert getattr(changed, name).source == "/set"
        assert R1.defaults.temperature.value == 0.6
