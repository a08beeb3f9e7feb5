"""Proves that reasoning and answer are separated in every shape a model gives them, however the
text is cut into tokens.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from dslocal.output import Reasoning, Reclassified, Text
from dslocal.output.reasoning import AnswerEvent, ReasoningParser, Tag, make_parser
from dslocal.prompts import FAMILIES, Message, Segment, Thinking

OPEN, CLOSE = Tag(7, "<think>"), Tag(8, "</think>")
WORD = 9  # the id of any token that is not a tag
Token = str | Tag
FORCED = "forced"
FREE = "free"
BYPASSED = "bypassed"

# how the prompt begins the answer, what comes, the reasoning and the answer in it
CASES: dict[str, tuple[str, list[Token], str, str]] = {
    "forced": (FORCED, ["First", ", this.", CLOSE, "\n\n", "It is 4."], "First, this.", "It is 4."),
    "forced, unclosed": (FORCED, ["First", ", this."], "First, this.", ""),
    "forced, white space around": (FORCED, ["\n\n First \n", CLOSE, " \n\n 4. \n"], "First", "4."),
    "forced, white space inside": (
        FORCED,
        ["a\n", "\n", " b", CLOSE, "c\n\n\n", "  d"],
        "a\n\n b",
        "c\n\n\n  d",
    ),
    "forced, empty thought": (FORCED, [CLOSE, "It is 4."], "", "It is 4."),
    "forced, blank thought": (FORCED, ["\n", "\n", CLOSE, "\n\n", "It is 4."], "", "It is 4."),
    "forced, nothing at all": (FORCED, [], "", ""),
    "forced, thought and no answer": (FORCED, ["First", CLOSE], "First", ""),
    "forced, opened again": (FORCED, ["a ", OPEN, " b", CLOSE, "c"], "a <think> b", "c"),
    "forced, closed again": (FORCED, ["a", CLOSE, "b ", CLOSE, " c"], "a", "b </think> c"),
    "forced, tags in the answer's code": (
        FORCED,
        ["a", CLOSE, "`", OPEN, "x", CLOSE, "`"],
        "a",
        "`<think>x</think>`",
    ),
    "forced, text that spells the tag": (
        FORCED,
        ["a</think>b<think>", CLOSE, "c</think>d"],
        "a</think>b<think>",
        "c</think>d",
    ),
    "free, thinks": (
        FREE,
        [OPEN, "\n", "First", "\n", CLOSE, "\n\n", "It is 4."],
        "First",
        "It is 4.",
    ),
    "free, does not think": (FREE, ["It is", " 4."], "", "It is 4."),
    "free, white space, then thinks": (FREE, ["\n", " ", OPEN, "First", CLOSE, "4"], "First", "4"),
    "free, unclosed": (FREE, [OPEN, "First"], "First", ""),
    "free, empty thought": (FREE, [OPEN, "\n", CLOSE, "4"], "", "4"),
    "free, only white space": (FREE, ["\n", " "], "", ""),
    "free, the opening tag is missing": (
        FREE,
        ["First", ", this.", "\n", CLOSE, "\n\n4"],
        "First, this.",
        "4",
    ),
    "free, missing and nothing thought": (FREE, ["\n", CLOSE, "4"], "", "4"),
    "free, text before the tag": (FREE, ["Well. ", OPEN, "hm", CLOSE, "4"], "Well. <think>hm", "4"),
    "free, tag in the answer, unclosed": (
        FREE,
        ["Write ", OPEN, " first"],
        "",
        "Write <think> first",
    ),
    "free, a second thought is text": (
        FREE,
        [OPEN, "a", CLOSE, "b", OPEN, "c", CLOSE, "d"],
        "a",
        "b<think>c</think>d",
    ),
    "bypassed": (BYPASSED, ["\n\n", "It is 4."], "", "It is 4."),
    "bypassed, closed again": (BYPASSED, ["It is ", CLOSE, " 4."], "", "It is </think> 4."),
    "bypassed, opened again": (BYPASSED, [OPEN, "hm", CLOSE, "4"], "", "<think>hm</think>4"),
}


def parts_of(opening: str, tokens: Sequence[Token]) -> Iterator[AnswerEvent]:
    parser = ReasoningParser((OPEN, CLOSE), inside=opening == FORCED, bypassed=opening == BYPASSED)
    for token in tokens:
        yield from (
            parser.feed(WORD, token) if isinstance(token, str) else parser.feed(token.id, "")
        )
    yield from parser.text("")


def joined(parts: Iterator[AnswerEvent]) -> tuple[str, str]:
    reasoning = answer = ""
    for part in parts:
        match part:
            case Reasoning(text):
                assert not answer
                assert text
                reasoning += text
            case Text(text):
                assert text
                answer += text
            case Reclassified():
                assert not reasoning
                reasoning, answer = answer, ""
    return reasoning, answer


def cut(tokens: Sequence[Token], dice: random.Random | None) -> list[Token]:
    """``tokens`` with the text between tags cut at random, or into single characters."""
    result: list[Token] = []
    for is_text, run in itertools.groupby(tokens, lambda token: isinstance(token, str)):
        if not is_text:
            result += run
            continue
        text = "".join(token for token in run if isinstance(token, str))
        while text:
            n = dice.randint(1, len(text)) if dice else 1
            result.append(text[:n])
            text = text[n:]
    return result


@pytest.mark.parametrize(("opening", "tokens", "reasoning", "answer"), CASES.values(), ids=CASES)
def test_cases(opening: str, tokens: list[Token], reasoning: str, answer: str) -> None:
    assert joined(parts_of(opening, tokens)) == (reasoning, answer)


@pytest.mark.parametrize(("opening", "tokens", "reasoning", "answer"), CASES.values(), ids=CASES)
def test_any_cut_gives_the_same(
    opening: str, tokens: list[Token], reasoning: str, answer: str
) -> None:
    dice = random.Random(3)
    for again in [cut(tokens, None), *(cut(tokens, dice) for _ in range(30))]:
        assert joined(parts_of(opening, again)) == (reasoning, answer)


def test_random_streams_in_any_cut() -> None:
    dice = random.Random(4)
    pieces: list[Token] = [OPEN, CLOSE, " ", "\n", "a", "b c", "  d\n\n", "\n e", "好"]
    for opening in (FORCED, FREE, BYPASSED) * 100:
        tokens = dice.choices(pieces, k=dice.randint(0, 12))
        expected = joined(parts_of(opening, tokens))
        assert all(text == text.strip() for text in expected)
        assert (
            joined(parts_of(opening, cut(tokens, dice)))
            == expected
            == joined(parts_of(opening, cut(tokens, None)))
        )


def test_nothing_is_held_back_but_white_space() -> None:
    parser = ReasoningParser((OPEN, CLOSE), inside=True)
    assert list(parser.feed(WORD, "a ")) == [Reasoning("a")]
    assert list(parser.feed(WORD, "b")) == [Reasoning(" b")]
    assert parser.is_reasoning
    assert list(parser.feed(CLOSE.id, "")) == []
    assert not parser.is_reasoning
    assert list(parser.feed(WORD, "c")) == [Text("c")]


def test_a_missing_opening_tag_is_reported_once() -> None:
    parts = list(parts_of(FREE, ["a", CLOSE, "b", CLOSE, "c"]))
    assert [part for part in parts if isinstance(part, Reclassified)] == [Reclassified()]
    assert parts.index(Reclassified()) == 1


# what comes, and then: thinking, unsure
STATES: dict[str, tuple[str, list[Token], bool, bool]] = {
    "forced": (FORCED, [], True, False),
    "forced, thinks": (FORCED, ["a"], True, False),
    "forced, closed": (FORCED, ["a", CLOSE], False, False),
    "forced, answers": (FORCED, ["a", CLOSE, "b", OPEN], False, False),
    "free": (FREE, [], False, True),
    "free, white space": (FREE, ["\n"], False, True),
    "free, thinks": (FREE, [OPEN, "a"], True, False),
    "free, thought": (FREE, [OPEN, "a", CLOSE], False, False),
    "free, answers or thinks": (FREE, ["a"], False, True),
    "free, it was a thought": (FREE, ["a", CLOSE], False, False),
    "bypassed": (BYPASSED, [], False, False),
    "bypassed, opened": (BYPASSED, [OPEN, "a"], False, False),
}


@pytest.mark.parametrize(("opening", "tokens", "thinking", "unsure"), STATES.values(), ids=STATES)
def test_states(opening: str, tokens: list[Token], thinking: bool, unsure: bool) -> None:
    parser = ReasoningParser((OPEN, CLOSE), inside=opening == FORCED, bypassed=opening == BYPASSED)
    for token in tokens:
        list(parser.feed(WORD, token) if isinstance(token, str) else parser.feed(token.id, ""))
    assert (parser.is_reasoning, parser.is_uncertain) == (thinking, unsure)


def test_without_tags_nothing_is_thought_and_nothing_unsure() -> None:
    parser = ReasoningParser(None)
    assert not parser.is_uncertain
    assert [
        *parser.feed(OPEN.id, "<think>"),
        *parser.feed(WORD, " a "),
        *parser.finish("b\n"),
    ] == [
        Text("<think>"),
        Text(" a"),
        Text(" b"),
    ]
    assert not parser.is_reasoning


def test_verbatim_keeps_white_space() -> None:
    parser = ReasoningParser(None, verbatim=True)
    assert [
        *parser.feed(WORD, "\n  "),
        *parser.feed(WORD, ""),
        *parser.feed(WORD, "a\n"),
        *parser.finish(" "),
    ] == [
        Text("\n  "),
        Text("a\n"),
        Text(" "),
    ]


def test_the_end_tells_what_was_left() -> None:
    parser = ReasoningParser((OPEN, CLOSE), inside=True)
    list(parser.feed(WORD, "a \n"))
    assert list(parser.finish("\ufffd")) == [Reasoning(" \n\ufffd")]
    assert list(parser.finish(" ")) == []


class Tags:
    def encode(self, text: str) -> list[int]:
        return [WORD] * len(text)

    def special_id(self, token: str) -> int | None:
        return {tag.spelling: tag.id for tag in (OPEN, CLOSE)}.get(token)


def prompt(name: str, way: Thinking, *last: Message) -> list[Segment]:
    return FAMILIES[name].render(
        [Message("user", "<think>"), Message("assistant", "</think>"), Message("user", "a"), *last],
        way,
    )


def prefix(content: str, reasoning: str = "") -> Message:
    return Message("assistant", content, reasoning, prefix=True)


# a prompt, and what is then read of "b</think>c" with the tag a token
PROMPTS: dict[str, tuple[str, list[Segment], list[AnswerEvent]]] = {
    "R1": ("r1", prompt("r1", Thinking.FORCED), [Reasoning("b"), Text("c")]),
    "R1, free": ("r1", prompt("r1", Thinking.FREE), [Text("b"), Reclassified(), Text("c")]),
    "R1, bypassed": (
        "r1",
        prompt("r1", Thinking.BYPASSED),
        [Text("b"), Text("</think>"), Text("c")],
    ),
    "R1, in a thought": (
        "r1",
        prompt("r1", Thinking.FREE, prefix("", "x")),
        [Reasoning("b"), Text("c")],
    ),
    "R1, after a thought": (
        "r1",
        prompt("r1", Thinking.FREE, prefix("y", "x")),
        [Text("b"), Text("</think>"), Text("c")],
    ),
    "R1-0528": (
        "r1-0528",
        prompt("r1-0528", Thinking.FREE),
        [Text("b"), Reclassified(), Text("c")],
    ),
    "V3.1": (
        "v3.1",
        prompt("v3.1", Thinking.BYPASSED),
        [Text("b"), Text("</think>"), Text("c")],
    ),
    "V3.1, thinking": ("v3.1", prompt("v3.1", Thinking.FORCED), [Reasoning("b"), Text("c")]),
    "V3": ("v3", prompt("v3", Thinking.NONE), [Text("b"), Text("</think>"), Text("c")]),
    "nano, filling a gap": (
        "nano",
        FAMILIES["nano"].render_fim("x", "y"),
        [Text("b"), Text("</think>"), Text("c")],
    ),
    "a base model": (
        "base",
        FAMILIES["base"].render([Message("user", "a")]),
        [Text("b"), Text("</think>"), Text("c")],
    ),
}


@pytest.mark.parametrize(("name", "segments", "expected"), PROMPTS.values(), ids=PROMPTS)
def test_the_prompt_says_where_in_a_thought_it_ends(
    name: str, segments: list[Segment], expected: list[AnswerEvent]
) -> None:
    parser = make_parser(FAMILIES[name], segments, Tags())
    assert [
        *parser.feed(WORD, "b"),
        *parser.feed(CLOSE.id, "</think>"),
        *parser.feed(WORD, "c"),
        *parser.finish(),
    ] == expected
