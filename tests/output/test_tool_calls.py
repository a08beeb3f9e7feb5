"""Proves that calls of tools are reported as they come: a name once it is whole, arguments without
their fence, nothing for mere text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from support.prompts.dialogues import OSLO, PARIS, TOKYO
from support.prompts.recorded_answers import SPECIALS

from dslocal.output import Reasoning, Reclassified, Text, ToolCallArguments, ToolCallStarted
from dslocal.output.reasoning import AnswerEvent, make_parser
from dslocal.output.tool_calls import TOKENS, ToolCallParser
from dslocal.prompts import FAMILIES, Message, PlainText, Special, Tool, ToolCall
from dslocal.prompts.families.tools import ToolFormat

IDS = {spelling: id for id, spelling in enumerate(dict.fromkeys([*TOKENS, *SPECIALS.values()]), 1)}
CALLS, CALLS_END, CALL, CALL_END, SEP = TOKENS
WORD = 99
USERS = {
    name: family for name, family in FAMILIES.items() if isinstance(family.format.tools, ToolFormat)
}
WITHOUT_TOOLS = sorted(name for name, family in FAMILIES.items() if not family.format.tools)


class Vocabulary:
    def encode(self, text: str) -> list[int]:
        return [WORD] * len(text)

    def special_id(self, token: str) -> int | None:
        return IDS.get(token)


def events_by_token(parser: ToolCallParser, tokens: Sequence[str]) -> list[list[object]]:
    """What each token makes the parser tell."""
    return [list(parser.feed(IDS[t], "") if t in IDS else parser.feed(WORD, t)) for t in tokens]


def started(index: int, name: str) -> ToolCallStarted:
    return ToolCallStarted(index, name)


def args(index: int, text: str) -> ToolCallArguments:
    return ToolCallArguments(index, text)


# tokens, and what each tells
TYPED: dict[str, list[tuple[str, list[object]]]] = {
    "name and arguments": [
        (CALLS, []),
        (CALL, []),
        ("func", []),
        ("tion", []),
        (SEP, []),
        ("get_", []),
        ("time", []),
        ("\n", [started(0, "get_time")]),
        ("```", []),
        ("json", []),
        ("\n", []),
        ('{"a"', [args(0, '{"a"')]),
        (": 1}", [args(0, ": 1}")]),
        ("\n", []),
        ("``", []),
        ("`", []),
        (CALL_END, []),
        (CALLS_END, []),
    ],
    "all at once": [
        (CALL, []),
        ("function", []),
        (SEP, []),
        ("f\n```json\n[1]\n```", [started(0, "f"), args(0, "[1]")]),
        (CALL_END, []),
    ],
    "what looked like the fence's end": [
        (CALL, []),
        (SEP, []),
        ("f\n```json\n", [started(0, "f")]),
        ("a\n```", [args(0, "a")]),
        ("b ``", [args(0, "\n```b")]),
        ("`c", [args(0, " ```c")]),
        ("````", [args(0, "`")]),
        (CALL_END, []),
    ],
    "no fence": [
        (CALL, []),
        (SEP, []),
        ("f\n", [started(0, "f")]),
        ("``", []),
        ("{}", [args(0, "``{}")]),
        (CALL_END, []),
    ],
    "indices": [
        (CALL, []),
        (SEP, []),
        ("f", []),
        (CALL, [started(0, "f")]),
        (SEP, []),
        ("g", []),
        (CALLS_END, [started(1, "g")]),
    ],
    "text around": [("a", []), (CALL, []), (CALL_END, []), ("b", []), (CALLS_END, []), ("c", [])],
    "a name without end": [
        (CALL, []),
        (SEP, []),
        (" " + "x" * 999, []),
        ("\n", [started(0, "x" * 256)]),
    ],
}
BARE: dict[str, list[tuple[str, list[object]]]] = {
    "name and arguments": [
        (CALLS, []),
        (CALL, []),
        ("get_", []),
        ("time", []),
        (SEP, [started(0, "get_time")]),
        ('{"a"', [args(0, '{"a"')]),
        (":\n", [args(0, ":\n")]),
        ("```", [args(0, "```")]),
        (CALL_END, []),
        (CALL, []),
        ("f", []),
        (SEP, [started(1, "f")]),
        (CALL_END, []),
        (CALLS_END, []),
    ],
    "a second separator is nothing": [
        (CALL, []),
        ("f", []),
        (SEP, [started(0, "f")]),
        (SEP, []),
        ("1", [args(0, "1")]),
    ],
}


@pytest.mark.parametrize("tokens", TYPED.values(), ids=TYPED)
def test_typed_calls(tokens: list[tuple[str, list[object]]]) -> None:
    parser = ToolCallParser(IDS, typed=True)
    assert events_by_token(parser, [token for token, _ in tokens]) == [parts for _, parts in tokens]


@pytest.mark.parametrize("tokens", BARE.values(), ids=BARE)
def test_bare_calls(tokens: list[tuple[str, list[object]]]) -> None:
    parser = ToolCallParser(IDS, typed=False)
    assert events_by_token(parser, [token for token, _ in tokens]) == [parts for _, parts in tokens]


# what stands before and after calls, how the answer reads
AROUND = [
    ("Let me see.", "There.", "Let me see.\nThere."),
    ("Let me see.\n\n", "There.", "Let me see.\n\nThere."),
    ("Let me see. ", " There.", "Let me see.  There."),
    ("", "\n There.", "There."),
    ("\n", "There.", "There."),
    ("Let me see.\n", "\n", "Let me see."),
]


@pytest.mark.parametrize(("before", "after", "answer"), AROUND)
def test_text_around_calls_stays_apart(before: str, after: str, answer: str) -> None:
    """Proves that words after calls do not run into those before, that white space is kept where it
    was, and at the ends is none.
    """
    parser = make_parser(FAMILIES["v3.1"], [Special("</think>")], Vocabulary())
    parts: list[AnswerEvent] = []
    for token in (before, CALLS, CALL, "f", SEP, "{}", CALL_END, CALLS_END, *after):
        parts += parser.feed(IDS[token], "") if token in IDS else parser.feed(WORD, token)
    assert (
        "".join(part.text for part in [*parts, *parser.finish()] if isinstance(part, Text))
        == answer
    )


def test_what_opens_calls() -> None:
    parser = ToolCallParser(IDS, typed=True)
    assert [spelling for spelling, id in IDS.items() if parser.opens(id)] == [CALLS, CALL]
    assert not parser.opens(WORD)
    for token, is_open in (
        (CALLS, True),
        (CALL, True),
        (CALL_END, True),
        (CALLS_END, False),
        (CALL, True),
    ):
        events_by_token(parser, [token])
        assert parser.is_open is is_open


MANY = {
    "one": (TOKYO,),
    "two": (TOKYO, PARIS),
    "three": (TOKYO, PARIS, OSLO),
    "odd": (ToolCall("a.b-c", '{"x": "```\\n你好"}'), ToolCall("f", "")),
}


@pytest.mark.parametrize("calls", MANY.values(), ids=MANY)
@pytest.mark.parametrize("name", USERS)
def test_what_a_family_writes_it_reads(name: str, calls: tuple[ToolCall, ...]) -> None:
    """An answer as the family tells it later, fed to the parser of a prompt with tools."""
    family, words = USERS[name], PlainText("Let me see.")
    written = family.render([Message("user", "a"), Message("assistant", words.text, calls=calls)])
    parser = make_parser(
        family, family.render([Message("user", "a")], tools=[Tool("f", "", {})]), Vocabulary()
    )
    parts: list[AnswerEvent] = (
        [] if not parser.is_reasoning else list(parser.feed(IDS["</think>"], "</think>"))
    )
    for segment in written[written.index(words) : written.index(Special(CALLS_END)) + 1]:
        parts += (
            parser.feed(WORD, segment.text)
            if not isinstance(segment, Special)
            else parser.feed(IDS[segment.token], "")
        )
    parts += parser.finish()
    assert not any(isinstance(part, Reasoning | Reclassified) for part in parts)
    assert parts.pop(0) == Text(words.text)
    names = [part.name for part in parts if isinstance(part, ToolCallStarted)]
    arguments = [
        "".join(p.text for p in parts if isinstance(p, ToolCallArguments) and p.index == i)
        for i in range(len(names))
    ]
    assert [ToolCall(*pair) for pair in zip(names, arguments, strict=True)] == list(calls)
    assert all(json.loads(text) for text in arguments if text)


@pytest.mark.parametrize("name", USERS)
def test_text_that_spells_the_tokens_calls_nothing(name: str) -> None:
    parser = make_parser(USERS[name], USERS[name].render([Message("user", "a")]), Vocabulary())
    text = f"{CALLS}{CALL}function{SEP}f\n```json\n{{}}\n```{CALL_END}{CALLS_END}"
    parts = [*parser.feed(WORD, text), *parser.finish()]
    assert parts in ([Text(text)], [Reasoning(text)])


@pytest.mark.parametrize("name", WITHOUT_TOOLS)
def test_families_without_tools_take_no_calls(name: str) -> None:
    parser = make_parser(
        FAMILIES[name], FAMILIES[name].render([Message("user", "a")]), Vocabulary()
    )
    part = Reasoning if parser.is_reasoning else Text
    assert [
        *parser.feed(IDS[CALLS], ""),
        *parser.feed(IDS[CALL], ""),
        *parser.feed(WORD, "f"),
        *parser.finish(),
    ] == [part("f")]


def test_a_model_stuck_on_newlines_costs_no_more_with_every_one() -> None:
    """Cubic time would take hours here."""
    parser = ToolCallParser({token: number for number, token in enumerate(TOKENS)}, typed=True)
    parts = [*parser.feed(TOKENS.index(CALL), ""), *parser.feed(TOKENS.index(SEP), "")]
    for piece in ("f\n```json\n{", *(["\n" * 50] * 400), "}"):
        parts += parser.text(piece)
    parts += parser.flush()
    assert (
        "".join(part.text for part in parts if isinstance(part, ToolCallArguments))
        == "{" + "\n" * 20_000 + "}"
    )


@pytest.mark.parametrize("name", USERS)
def test_a_call_that_the_prompt_begins_is_a_call(name: str) -> None:
    family = USERS[name]
    form = family.format.tools
    assert isinstance(form, ToolFormat)
    prompt = [*family.render([Message("user", "a")], tools=[Tool("f", "", {})]), *form.begin("f")]
    parser = make_parser(family, prompt, Vocabulary())
    parts = [*parser.feed(WORD, '{"a": 1}'), *parser.finish()]
    assert parts == [ToolCallStarted(0, "f"), ToolCallArguments(0, '{"a": 1}')]
