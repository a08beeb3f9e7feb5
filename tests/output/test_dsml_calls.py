"""Proves that tool calls in DSML are read as they come, wherever the tokens are cut."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslocal.output import Reasoning, Text, Turn
from dslocal.output.reasoning import AnswerEvent, make_parser
from dslocal.output.tool_calls.dsml_calls import MARK, MAX_TAG
from dslocal.prompts import FAMILIES, Message, PlainText, Special, Thinking, ToolCall
from dslocal.prompts.families.dsml_tools import DSML, DsmlToolFormat
from dslocal.prompts.messages import Segment

WORD = 99
IDS = {"<think>": 1, "</think>": 2, DSML.token: 3}
CALLS = (
    ToolCall("get_weather", '{"city": "Rome", "days": 2, "units": {"t": "C"}}'),
    ToolCall("now", "{}"),
    ToolCall("say", '{"text": "a \\"b\\" < c </x> ｜DSML｜ \\\\ \\n"}'),
)


class Vocabulary:
    """Knows the tags as tokens, and ``｜DSML｜`` on request."""

    def __init__(self, *, has_dsml: bool) -> None:
        self._has_dsml = has_dsml

    def encode(self, text: str) -> list[int]:
        return [WORD] * len(text)

    def special_id(self, token: str) -> int | None:
        if token == DSML.token and not self._has_dsml:
            return None
        return IDS.get(token)


def pieces(
    segments: Sequence[Segment], cuts: random.Random | None, *, has_dsml: bool
) -> Iterator[tuple[int, str]]:
    """Tokens of an answer: special ones whole, text cut anywhere."""
    text = ""
    for segment in [*segments, None]:
        if isinstance(segment, PlainText) or (segment == DSML and not has_dsml):
            text += segment.text if isinstance(segment, PlainText) else DSML.token
            continue
        while text:
            length = cuts.randrange(1, 8) if cuts else len(text)
            yield WORD, text[:length]
            text = text[length:]
        if isinstance(segment, Special):
            yield IDS[segment.token], ""


def read(
    family: str, answer: Sequence[Segment], cuts: random.Random | None, *, has_dsml: bool = True
) -> Turn:
    """The answer as it is read after a prompt that opens the reasoning."""
    chosen = FAMILIES[family]
    prompt = chosen.render([Message("user", "a")], Thinking.FORCED)
    parser = make_parser(chosen, prompt, Vocabulary(has_dsml=has_dsml))
    turn = Turn(0)
    for token, text in pieces(answer, cuts, has_dsml=has_dsml):
        for event in parser.feed(token, text):
            turn.add(event)
    for event in parser.finish():
        turn.add(event)
    return turn


def answer_of(family: str, text: str, calls: Sequence[ToolCall]) -> list[Segment]:
    form = FAMILIES[family].format.tools
    assert form is not None
    return [PlainText("hm <b"), Special("</think>"), PlainText(text), *form.calls(calls)]


@pytest.mark.parametrize("has_dsml", [True, False], ids=["a token", "spelled"])
@pytest.mark.parametrize("family", ["v4", "v4-0731", "v3.2", "v4.1"])
def test_calls_are_read_wherever_the_text_is_cut(family: str, *, has_dsml: bool) -> None:
    calls = CALLS if has_dsml else CALLS[:2]  # a text that spells the mark is ambiguous there
    answer = answer_of(family, "Let me see: 1 < 2", calls)
    for seed in range(40):
        turn = read(family, answer, random.Random(seed) if seed else None, has_dsml=has_dsml)
        assert turn.reasoning == "hm <b"
        assert turn.text == "Let me see: 1 < 2"
        assert [call.name for call in turn.calls] == [call.name for call in calls]
        for found, sent in zip(turn.calls, calls, strict=True):
            assert json.loads(found.arguments) == json.loads(sent.arguments)


NAMES = st.text("abc_ >1é", min_size=1, max_size=6).filter(lambda name: name.strip() == name)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.hypothesis
@given(st.dictionaries(NAMES, VALUES, max_size=4), st.integers(0, 2**31))
def test_any_arguments_come_back(arguments: dict[str, Any], seed: int) -> None:
    call = ToolCall("f", json.dumps(arguments))
    turn = read("v4", answer_of("v4", "", [call]), random.Random(seed))
    assert [json.loads(found.arguments) for found in turn.calls] == [arguments]


def test_arguments_come_while_they_are_written() -> None:
    parser = make_parser(
        FAMILIES["v4"],
        FAMILIES["v4"].render([Message("user", "a")], Thinking.BYPASSED),
        Vocabulary(has_dsml=True),
    )
    seen: list[AnswerEvent] = []
    for token, text in [
        (WORD, "\n\n<"),
        (3, ""),
        (WORD, "tool_calls>\n<"),
        (3, ""),
        (WORD, 'invoke name="f">\n<'),
        (3, ""),
        (WORD, 'parameter name="k" string="true">one'),
        (WORD, " two"),
    ]:
        seen += parser.feed(token, text)
    arguments = "".join(getattr(event, "text", "") for event in seen)
    assert arguments == '{"k": "one two'


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("a <", "a <"),
        ("a </", "a </"),
        ("x < y </ z", "x < y </ z"),
        ("<｜DSML｜tool_calls>", "<｜DSML｜tool_calls>"),
        ("  <b>", "<b>"),
    ],
)
def test_mere_text_calls_nothing(said: str, text: str) -> None:
    """Proves it also for text that spells the mark in ordinary tokens."""
    for seed in range(10):
        turn = read(
            "v4", [PlainText("h"), Special("</think>"), PlainText(said)], random.Random(seed)
        )
        assert (turn.text, turn.calls) == (text, [])


def test_a_call_that_is_cut_off_is_reported_as_far_as_it_came() -> None:
    answer = answer_of("v4", "t", CALLS[:1])
    turn = read("v4", answer[: answer.index(PlainText("Rome")) + 1], None)
    assert turn.calls == [ToolCall("get_weather", '{"city": "Rome')]


def test_text_after_the_calls_is_text() -> None:
    answer = [*answer_of("v4", "t", CALLS[:1]), PlainText("\n\nDone.")]
    for seed in range(10):
        turn = read("v4", answer, random.Random(seed))
        assert turn.text == "t\n\nDone."
        assert len(turn.calls) == 1


def test_a_tag_in_the_reasoning_calls_nothing() -> None:
    form = FAMILIES["v4"].format.tools
    assert form is not None
    turn = read("v4", [*form.calls(CALLS[:1]), Special("</think>"), PlainText("b")], None)
    assert (turn.text, turn.calls) == ("b", [])
    assert "invoke" in turn.reasoning


def random_nonsense(family: str, seed: int) -> list[Segment]:
    """An answer of parts of calls in any order: nested, unfinished, repeated or misspelled."""
    form = FAMILIES[family].format.tools
    assert isinstance(form, DsmlToolFormat)
    tags = (
        f"{form.block}>",
        f"{form.invoke}>",
        f'{form.invoke} name="f">',
        f"{form.parameter}>",
        f'{form.parameter} name="k" string="true">',
        f'{form.parameter} name="k" string="false">',
    )
    texts = ('"', ">", "\n\n", "{}", "a\0b", MARK, "\u202eb", "\x1b]0;c\x07", "</think>", "<", "</")
    long_tag = f'{form.invoke} name="{"q" * (MAX_TAG + 80)}'
    choice = random.Random(seed)
    answer: list[Segment] = [PlainText("hm"), Special("</think>")] if seed % 3 else []
    for _ in range(choice.randrange(1, 22)):
        opening: list[Segment] = [
            PlainText(choice.choice(("<", "</"))),
            DSML,
            PlainText(choice.choice(tags)),
        ]
        other: tuple[list[Segment], ...] = (
            [Special(choice.choice(("<think>", "</think>"))), DSML],
            [PlainText(choice.choice(texts))],
            [PlainText("<"), DSML, PlainText(long_tag)],
        )
        answer += opening if choice.random() < 0.6 else choice.choice(other)
    return answer


@pytest.mark.parametrize("has_dsml", [True, False], ids=["a token", "spelled"])
@pytest.mark.parametrize("family", ["v4", "v3.2", "v4.1"])
def test_nonsense_is_read_alike_wherever_it_is_cut(family: str, *, has_dsml: bool) -> None:
    for seed in range(150):
        answer = random_nonsense(family, seed)
        whole = read(family, answer, None, has_dsml=has_dsml)
        read_text = (whole.reasoning, whole.text, *(call.arguments for call in whole.calls))
        assert not any(MARK in text for text in read_text), "what stands for the token is inside"
        for cut in range(3):
            turn = read(family, answer, random.Random(cut), has_dsml=has_dsml)
            assert (turn.reasoning, turn.text, turn.calls) == (
                whole.reasoning,
                whole.text,
                whole.calls,
            )


def test_long_answers_are_read_in_linear_time() -> None:
    """Counts characters that are held, not seconds."""
    parser = make_parser(
        FAMILIES["v4"],
        FAMILIES["v4"].render([Message("user", "a")], Thinking.BYPASSED),
        Vocabulary(has_dsml=True),
    )
    for _ in range(2000):
        events = list(parser.feed(WORD, "< </ "))
        assert all(isinstance(event, Text | Reasoning) for event in events)
        assert len(parser.held_space) <= 4
