"""Proves that an answer is read the same however its text is cut into tokens: 50 recorded answers,
2,000 cuts, in the midst of characters too."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from support.prompts.recorded_answers import RECORDED, SPECIALS, Recorded

from dslocal.engine.utf8 import Utf8Stream
from dslocal.output import Reasoning, Reclassified, Text, ToolCallArguments, ToolCallStarted, Turn
from dslocal.output.reasoning import AnswerEvent, ReasoningParser, make_parser
from dslocal.prompts import FAMILIES, Message, Tool
from dslocal.types import FinishReason

CUTS = 40  # of each answer
IDS = {spelling: id for id, spelling in enumerate(SPECIALS.values(), 1)}
WORD = 99  # the id of any token that is not special
TOOL = Tool("f", "", {})
Token = tuple[int, bytes]


class Vocabulary:
    def encode(self, text: str) -> list[int]:
        return [WORD] * len(text)

    def special_id(self, token: str) -> int | None:
        return IDS.get(token)


def parser_of(recorded: Recorded) -> ReasoningParser:
    family = FAMILIES[recorded.family]
    prompt = family.render(
        [Message("user", "?")], recorded.way, [TOOL] if family.format.tools else ()
    )
    return make_parser(family, prompt, Vocabulary())


def tokens_of(recorded: Recorded, dice: random.Random | None) -> Iterator[Token]:
    """The answer as tokens; ``dice`` cut its text anywhere, or else there is one token between two
    special ones.
    """
    for text, special in recorded.pieces():
        data = text.encode()
        if special:  # <think> is a token with text, the others have none
            yield IDS[text], data if "think" in text else b""
            continue
        often = dice.choice([0.01, 0.1, 0.5]) if dice else 0
        places = [i for i in range(1, len(data)) if dice and dice.random() < often]
        yield from ((WORD, data[a:b]) for a, b in pairwise([0, *places, len(data)]))


def read(
    parser: ReasoningParser, tokens: Iterator[Token]
) -> tuple[list[AnswerEvent], list[tuple[bool, bool]]]:
    """The events, and at each special token whether the parser is thinking and whether it is
    unsure.
    """
    characters = Utf8Stream()
    parts = list[AnswerEvent]()
    states = list[tuple[bool, bool]]()
    for id, data in tokens:
        parts += parser.feed(id, characters.feed(data))
        if id != WORD:
            states.append((parser.is_reasoning, parser.is_uncertain))
    parts += parser.finish(characters.flush())
    return parts, [*states, (parser.is_reasoning, parser.is_uncertain)]


def joined(parts: Sequence[AnswerEvent]) -> list[AnswerEvent]:
    """The events with neighbours of a kind made one."""
    result: list[AnswerEvent] = []
    for part in parts:
        match part, result[-1] if result else None:
            case Reasoning(text), Reasoning(before):
                result[-1] = Reasoning(before + text)
            case Text(text), Text(before):
                result[-1] = Text(before + text)
            case ToolCallArguments(index, text), ToolCallArguments(same, before) if index == same:
                result[-1] = ToolCallArguments(index, before + text)
            case _:
                result.append(part)
    return result


def collected(parts: Sequence[AnswerEvent]) -> Turn:
    turn = Turn(prompt_tokens=0)
    for part in parts:
        turn.add(part)
    return turn


def test_there_are_enough() -> None:
    assert len(RECORDED) >= 50
    assert len(RECORDED) * CUTS >= 2000
    assert len({recorded.name for recorded in RECORDED}) == len(RECORDED)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_what_is_in_it(recorded: Recorded) -> None:
    parser = parser_of(recorded)
    parts, _ = read(parser, tokens_of(recorded, None))
    turn = collected(parts)
    assert (turn.reasoning, turn.text, tuple(turn.calls)) == (
        recorded.reasoning,
        recorded.answer,
        recorded.calls,
    )
    turn.finish_reason = FinishReason.STOP
    assert turn.message == Message("assistant", recorded.answer, recorded.reasoning, recorded.calls)
    assert parser.is_reasoning is recorded.open
    started = [part for part in parts if isinstance(part, ToolCallStarted)]
    assert started == [
        ToolCallStarted(index, call.name) for index, call in enumerate(recorded.calls)
    ]
    assert sum(isinstance(part, Reclassified) for part in parts) <= 1


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_any_cut_gives_the_same(recorded: Recorded) -> None:
    parts, states = read(parser_of(recorded), tokens_of(recorded, None))
    whole = joined(parts)
    dice = random.Random(recorded.name)
    for _ in range(CUTS):
        cut, then = read(parser_of(recorded), tokens_of(recorded, dice))
        assert joined(cut) == whole
        assert then == states
        assert collected(cut) == collected(parts)
        assert all(
            part.text for part in cut if isinstance(part, Reasoning | Text | ToolCallArguments)
        )


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_byte_by_byte(recorded: Recorded) -> None:
    single = (
        (id, data[i : i + 1]) if id == WORD else (id, data)
        for id, data in tokens_of(recorded, None)
        for i in (range(len(data)) if id == WORD else [0])
    )
    parts, states = read(parser_of(recorded), single)
    whole, then = read(parser_of(recorded), tokens_of(recorded, None))
    assert (joined(parts), states) == (joined(whole), then)
