"""Proves that a stop text ends an answer before itself, however tokens cut it, and that no part of
it is ever passed on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from dslocal.chat import Session
from dslocal.engine import FinishReason, LlamaContext
from dslocal.output import Reasoning, Reclassified, Text, ToolCallStarted
from dslocal.output.reasoning import AnswerEvent
from dslocal.output.stop_texts import StopTexts
from dslocal.prompts.families.r1 import R1

# stop texts, the answer as it would be, and as it is
ENDS: dict[str, tuple[list[str], str, str]] = {
    "within a word": (["is"], "This or that", "Th"),
    "not there": (["xyz"], "This or that", "This or that"),
    "at the beginning": (["Th"], "This", ""),
    "at the end": (["at"], "This or that", "This or th"),
    "only its beginning": (["at all"], "This or that", "This or that"),
    "its beginning twice": (["aab"], "caaabc", "ca"),
    "the one complete first, though it begins later": (["abcde", "cd"], "xabcdef", "xab"),
    "the longest that is complete there": (["b c", "c", "ab c"], "xab cd", "x"),
    "white space before it": (["STOP"], "one \n two \n\nSTOP three", "one \n two"),
    "white space alone": (["\n\n"], "one\ntwo \n\nthree", "one\ntwo"),
    "with white space in it": (["\nUser:"], "one\nUser\nUser: two", "one\nUser"),
    "characters of several bytes": (["。"], "利马是首都。对", "利马是首都"),
}


def cuts(text: str) -> Iterator[list[str]]:
    """``text`` in pieces: one, each character, every two pieces, three characters each."""
    yield [text]
    yield list(text)
    yield from ([text[:at], text[at:]] for at in range(1, len(text)))
    yield [text[at : at + 3] for at in range(0, len(text), 3)]


def as_the_parser_has_it(pieces: Sequence[str]) -> Iterator[tuple[list[AnswerEvent], str]]:
    """Parts for each piece, and white space that waits for what follows."""
    held = ""
    for piece in pieces:
        text = held + piece
        held = text[len(text.rstrip()) :]
        yield ([Text(text.rstrip())] if text.strip() else []), held


@pytest.mark.parametrize(("stops", "text", "expected"), ENDS.values(), ids=ENDS)
def test_an_answer_ends_before_it(stops: list[str], text: str, expected: str) -> None:
    for pieces in cuts(text):
        stop, shown = StopTexts(stops), ""
        for parts, waiting in as_the_parser_has_it(pieces):
            for part in stop.filter(parts):
                assert isinstance(part, Text)
                shown += part.text
                assert expected.startswith(shown), pieces
            if stop.ended_in(waiting):
                break
        shown += "".join(part.text for part in stop.finish() if isinstance(part, Text))
        assert shown == expected, pieces
        assert (stop.reached is not None) == (expected != text), pieces


@pytest.mark.parametrize(("text", "expected"), [("a \n\nb", "a "), (" x", " x"), ("a\n", "a\n")])
def test_text_that_goes_on_keeps_its_white_space(text: str, expected: str) -> None:
    for pieces in cuts(text):
        stop = StopTexts(["\n\n"], verbatim=True)
        passed = [part for piece in pieces for part in stop.filter([Text(piece)])]
        assert (
            "".join(part.text for part in (*passed, *stop.finish()) if isinstance(part, Text))
            == expected
        )


def test_thoughts_and_calls_are_not_searched() -> None:
    stop = StopTexts(["stop", "x"])
    parts: list[AnswerEvent] = [Reasoning("x stop x"), Text("an st"), ToolCallStarted(0, "stop")]
    assert list(stop.filter(parts)) == [
        Reasoning("x stop x"),
        Text("an"),
        Text(" st"),
        ToolCallStarted(0, "stop"),
    ]
    assert not stop.reached


def test_what_was_held_back_of_a_thought_is_part_of_it() -> None:
    stop = StopTexts(["stop"])
    parts = [*stop.filter([Text("thou st"), Reclassified(), Text("answer")]), *stop.finish()]
    assert parts == [Text("thou"), Text(" st"), Reclassified(), Text("answer")]


def test_without_stop_texts_parts_pass_as_they_come() -> None:
    stop = StopTexts([])
    parts: list[AnswerEvent] = [Text("a "), Reasoning("b"), Text("")]
    assert list(stop.filter(parts)) == parts
    assert not stop.ended_in("\n\n")


@pytest.mark.parametrize(
    ("stop", "answer", "finish"),
    [
        (["Lima"], "The capital of Peru is", FinishReason.STOP),
        (["pital of", "Lima"], "The ca", FinishReason.STOP),
        (["recall"], "The capital of Peru is Lima.", FinishReason.STOP),
    ],
    ids=str,
)
def test_a_real_answer(
    context: LlamaContext, stop: list[str], answer: str, finish: FinishReason
) -> None:
    """The reasoning has ``recall`` in it and is whole; the answer that was cut is what the next
    prompt has.
    """
    settings = R1.defaults.with_value("temperature", 0, "test").with_value("stop", stop, "test")
    session = Session(context, R1, settings)
    shown = "".join(
        part.text for part in session.stream("capital of peru", 1) if isinstance(part, Text)
    )
    turn = session.turn
    assert turn is not None
    assert (shown, turn.text, turn.finish_reason, session.history[-1].content) == (
        answer,
        answer,
        finish,
        answer,
    )
    assert turn.reasoning == "The user asks for the capital of Peru. I recall that it is Lima."
    assert turn.timings is not None
    assert turn.timings.decode > 0


def test_a_stop_text_of_white_space_does_not_wait_for_more(context: LlamaContext) -> None:
    """nano's answer has a blank line; generation ends at it and not with the word after it."""
    settings = R1.defaults.with_value("temperature", 0, "test").with_value("stop", "\n\n", "test")
    session = Session(context, R1, settings, top_logprobs=0)
    list(session.stream("What can you do?", 1))
    turn = session.turn
    assert turn is not None
    assert turn.text == "I can do a few things:"
    assert context.model.piece(turn.logprobs[-1].id).endswith(b"\n")
    assert len(turn.logprobs) == turn.completion_tokens
