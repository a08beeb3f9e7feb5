"""Proves that every family prompts as the vendor's own chat template does, except for the
differences that are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from support.prompts.dialogues import (
    PREFIX,
    PREFIX_TOOLS,
    SYSTEM,
    TOOLS,
    TURNS,
    Dialogues,
    system,
)
from support.prompts.vendor_templates import rendered

from dslocal.prompts import FAMILIES, Message, Thinking, render
from dslocal.prompts.families.dsml import Dsml

ALL = TURNS | SYSTEM | TOOLS | PREFIX | PREFIX_TOOLS
B = "<｜begin▁of▁sentence｜>"
E = "<｜end▁of▁sentence｜>"
U = "<｜User｜>"
A = "<｜Assistant｜>"
CALLS, CALLS_END, CALL, CALL_END, SEP = (
    f"<｜tool▁{what}｜>" for what in ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep")
)
OUTS, OUTS_END, OUT, OUT_END = (
    f"<｜tool▁{what}｜>" for what in ("outputs▁begin", "outputs▁end", "output▁begin", "output▁end")
)
T, P, OSLO = (  # the calls of the dialogues
    f'{CALL}function{SEP}get_current_weather\n```json\n{{"location": "{city}"}}\n```{CALL_END}'
    for city in ("Tokyo", "Paris", "Oslo")
)
CT, CP = (
    f'{CALL}get_current_weather{SEP}{{"location": "{city}"}}{CALL_END}'
    for city in ("Tokyo", "Paris")
)  # as V3.1 writes them
O10, O20, O30 = (f"{OUT}{text}{OUT_END}" for text in ("10", "20", "30"))
BEGIN = "…"  # what an answer begins with: the pair's own


def folded(messages: list[Message]) -> list[Message]:
    """``messages`` with instructions in front of the first question, as R1's model card asks."""
    rules = "\n\n".join(m.content for m in messages if m.role == "system")
    turns = [m for m in messages if m.role != "system"]
    first = next((i for i, m in enumerate(turns) if m.role == "user"), None)
    if not rules or first is None:
        return messages
    return [
        *turns[:first],
        replace(turns[first], content=f"{rules}\n\n{turns[first].content}"),
        *turns[first + 1 :],
    ]


def joined(messages: list[Message]) -> list[Message]:
    """``messages`` with all instructions in one message."""
    rules = "\n\n".join(m.content for m in messages if m.role == "system")
    return [*([system(rules)] if rules else []), *(m for m in messages if m.role != "system")]


@dataclass(frozen=True)
class Pair:
    """A family in one way of thinking, and the template that shows how. ``begin`` is what an answer
    begins with. ``given`` makes of messages what the template is given, where it handles
    instructions otherwise, and ``noise`` is cut off what it prints."""

    family: str
    template: str
    way: Thinking = Thinking.NONE
    begin: str = ""
    variables: dict[str, bool] = field(default_factory=dict)
    given: Callable[[list[Message]], list[Message]] = list
    noise: str = ""
    tools: bool = True

    def ours(self, messages: Sequence[Message]) -> str:
        return render(FAMILIES[self.family].render(messages, self.way))

    def dialogues(self) -> Dialogues:
        return ALL if self.tools and FAMILIES[self.family].format.tools else TURNS | SYSTEM | PREFIX


THINK = "<think>\n"
PAIRS = {
    "r1": Pair("r1", "deepseek-r1-671b", Thinking.FORCED, THINK, given=folded),
    "r1 free": Pair("r1", "deepseek-r1-671b-jan2025", Thinking.FREE, given=folded),
    "distill": Pair("r1", "deepseek-r1-distill", Thinking.FORCED, THINK, given=folded, tools=False),
    "distill free": Pair(
        "r1", "deepseek-r1-distill-jan2025", Thinking.FREE, given=folded, tools=False
    ),
    "nano": Pair("nano", "deepseek-r1-671b", Thinking.FORCED, THINK, given=folded),
    "r1-0528": Pair("r1-0528", "deepseek-r1-0528", Thinking.FREE),
    "v3": Pair("v3", "deepseek-v3"),
    "v3-0324": Pair("v3-0324", "deepseek-v3-0324"),
    "prover": Pair("prover", "deepseek-v3-0324"),
    "v3.1": Pair("v3.1", "deepseek-v3.1", Thinking.BYPASSED, "</think>", {"thinking": False}),
    "v3.1 thinking": Pair("v3.1", "deepseek-v3.1", Thinking.FORCED, "<think>", {"thinking": True}),
    "v2.5": Pair("v2.5", "deepseek-v2.5", given=joined, noise=" " * 8),
    "v2-0628": Pair("v2-0628", "deepseek-v2-0628"),
    "coder": Pair("coder", "deepseek-coder"),
    **{name: Pair(name, "deepseek-llm") for name in ("v2", "coder-v2", "llm", "math", "moe")},
}
R1S = ("r1", "r1 free", "distill", "distill free", "nano")
OLD = ("v3", "v2.5")  # and the distills, but for what stands between outputs
SPRING = ("r1-0528", "v3-0324", "prover")
V3_1 = ("v3.1", "v3.1 thinking")


@dataclass(frozen=True)
class Difference:
    """What ``ours`` prints of a dialogue on purpose where the templates of ``pairs`` print
    ``theirs``.
    """

    reason: str
    pairs: Sequence[str]
    dialogue: str
    ours: str
    theirs: str


def rows(reason: str, *texts: tuple[Sequence[str], str, str, str]) -> list[Difference]:
    return [Difference(reason, *text) for text in texts]


DIFFERENCES = [
    *rows(
        (
            "R1's model card: no system prompt, all instructions within the user prompt. Its "
            "template has it before the first turn"
        ),
        (R1S, "instructions", f"{B}{U}Be brief.\n\na{A}{BEGIN}", f"{B}Be brief.{U}a{A}{BEGIN}"),
        (
            R1S,
            "instructions, three turns",
            f"{B}{U}x\n\na{A}b{E}{U}c{A}d{E}{U}e{A}{BEGIN}",
            f"{B}x{U}a{A}b{E}{U}c{A}d{E}{U}e{A}{BEGIN}",
        ),
        (
            ("r1", "r1 free", "nano"),
            "instructions twice",
            f"{B}{U}x\n\ny\n\na{A}{BEGIN}",
            f"{B}x\n\ny{U}a{A}{BEGIN}",
        ),
    ),
    *rows(
        (
            "the templates of V2.5 and of R1's distills forget all instructions but the last; "
            "V2.5's prints eight spaces for each"
        ),
        (
            ("distill", "distill free"),
            "instructions twice",
            f"{B}{U}x\n\ny\n\na{A}{BEGIN}",
            f"{B}y{U}a{A}{BEGIN}",
        ),
        (("v2.5",), "instructions twice", f"{B}x\n\ny{U}a{A}", f"{' ' * 16}{B}y{U}a{A}"),
        (("v2.5",), "instructions", f"{B}Be brief.{U}a{A}", f"{' ' * 8}{B}Be brief.{U}a{A}"),
        (("v2.5",), "empty instructions", f"{B}{U}a{A}", f"{' ' * 8}{B}{U}a{A}"),
    ),
    *rows(
        (
            "an answer is rendered whole, even where it spells the closing tag: its reasoning is "
            "not in its text but in Message.reasoning"
        ),
        (
            (*R1S, "r1-0528"),
            "a closing tag in an answer",
            f"{B}{U}a{A}Write </think> last.{E}{U}b{A}{BEGIN}",
            f"{B}{U}a{A} last.{E}{U}b{A}{BEGIN}",
        ),
        (
            V3_1,
            "a closing tag in an answer",
            f"{B}{U}a{A}</think>Write </think> last.{E}{U}b{A}{BEGIN}",
            f"{B}{U}a{A}</think> last.{E}{U}b{A}{BEGIN}",
        ),
    ),
    *rows(
        (
            "the reasoning of an answer that continues is part of it; the templates know only "
            "finished answers, and cut it off"
        ),
        (
            (*R1S, "r1-0528"),
            "goes on after a thought",
            f"{B}{U}a{A}<think>\nFirst, a.\n</think>\n\nb",
            f"{B}{U}a{A}b",
        ),
        (
            V3_1,
            "goes on after a thought",
            f"{B}{U}a{A}<think>First, a.</think>b",
            f"{B}{U}a{A}</think>b",
        ),
        (
            ("v3.1",),
            "goes on in a thought",
            f"{B}{U}a{A}<think>First,",
            f"{B}{U}a{A}</think>First,",
        ),
    ),
    *rows(
        "an answer that goes on from nothing begins as any answer does",
        (("r1", "distill", "nano"), "goes on from nothing", f"{B}{U}a{A}<think>\n", f"{B}{U}a{A}"),
        (("v3.1 thinking",), "goes on from nothing", f"{B}{U}a{A}<think>", f"{B}{U}a{A}</think>"),
    ),
    *rows(
        (
            "every answer begins with <｜Assistant｜>, and no question does; the templates tie "
            "that token to the question before it"
        ),
        (SPRING, "questions running", f"{B}{U}a{U}b{A}", f"{B}{U}a{A}{U}b{A}"),
        (SPRING, "answers running", f"{B}{U}a{A}b{E}{A}c{E}{U}d{A}", f"{B}{U}a{A}b{E}c{E}{U}d{A}"),
        (SPRING, "an answer first", f"{B}{A}a{E}{U}b{A}", f"{B}a{E}{U}b{A}"),
        (
            V3_1,
            "answers running",
            f"{B}{U}a{A}</think>b{E}{A}</think>c{E}{U}d{A}{BEGIN}",
            f"{B}{U}a{A}</think>b{E}c{E}{U}d{A}{BEGIN}",
        ),
        (V3_1, "an answer first", f"{B}{A}</think>a{E}{U}b{A}{BEGIN}", f"{B}a{E}{U}b{A}{BEGIN}"),
        (V3_1, "an answer last", f"{B}{U}a{A}</think>b{E}{A}{BEGIN}", f"{B}{U}a{A}</think>b{E}"),
        (V3_1, "instructions alone", f"{B}x{A}{BEGIN}", f"{B}x"),
    ),
    *rows(
        (
            "calls always end; these templates end them only after a second call, and again "
            "after every further one"
        ),
        (
            OLD,
            "one call",
            f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}",
            f"{B}{U}a{A}{CALLS}{T}{OUTS}{O10}{OUTS_END}",
        ),
        (
            (*OLD, "distill", "distill free"),
            "one call, answered",
            f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}b{E}{U}c{A}{BEGIN}",
            f"{B}{U}a{A}{CALLS}{T}{OUTS}{O10}{OUTS_END}b{E}{U}c{A}{BEGIN}",
        ),
        (
            OLD,
            "three calls",
            f"{B}{U}a{A}{CALLS}{T}\n{P}\n{OSLO}{CALLS_END}{E}{OUTS}{O10}\n{O20}\n{O30}{OUTS_END}",
            (
                f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}\n{OSLO}{CALLS_END}{E}{OUTS}{O10}\n"
                f"{O20}\n{O30}{OUTS_END}"
            ),
        ),
    ),
    *rows(
        (
            "outputs stand side by side after R1's calls, as its own template has them; its "
            "distills' template parts them by a line"
        ),
        (
            ("distill", "distill free"),
            "two calls",
            f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}{O20}{OUTS_END}",
            f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}\n{O20}{OUTS_END}",
        ),
    ),
    *rows(
        "words beside calls do not make these templates' calls vanish",
        (
            (*OLD, "distill", "distill free"),
            "words beside a call",
            f"{B}{U}a{A}Let me see.{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}b{E}{U}c{A}{BEGIN}",
            f"{B}{U}a{A}Let me see.{E}{OUTS}{O10}{OUTS_END}b{E}{U}c{A}{BEGIN}",
        ),
        (
            OLD,
            "words beside two calls",
            f"{B}{U}a{A}Let me see.{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}\n{O20}{OUTS_END}",
            f"{B}{U}a{A}Let me see.{E}{OUTS}{O10}\n{O20}{OUTS_END}",
        ),
    ),
    *rows(
        (
            "a second round is written as the first; these templates never forget that a call, "
            "and an output, came before"
        ),
        (
            ("r1", "r1 free", "nano"),
            "two rounds",
            (
                f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}{CALLS}{P}{CALLS_END}"
                f"{E}{OUTS}{O20}{OUTS_END}b{E}{U}c{A}{BEGIN}"
            ),
            (
                f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}\n{P}{CALLS_END}{E}{O20}"
                f"{OUTS_END}b{E}{U}c{A}{BEGIN}"
            ),
        ),
        (
            (*OLD, "distill", "distill free"),
            "two rounds",
            (
                f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}{CALLS}{P}{CALLS_END}"
                f"{E}{OUTS}{O20}{OUTS_END}b{E}{U}c{A}{BEGIN}"
            ),
            (
                f"{B}{U}a{A}{CALLS}{T}{OUTS}{O10}\n{P}{CALLS_END}{E}\n{O20}{OUTS_END}b{E}{U}c"
                f"{A}{BEGIN}"
            ),
        ),
        (
            ("r1", "r1 free", "nano"),
            "a round in each turn",
            (
                f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}b{E}{U}c{A}{CALLS}{P}"
                f"{CALLS_END}{E}{OUTS}{O20}{OUTS_END}"
            ),
            (
                f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}b{E}{U}c\n{P}"
                f"{CALLS_END}{E}{O20}{OUTS_END}"
            ),
        ),
        (
            (*OLD, "distill", "distill free"),
            "a round in each turn",
            (
                f"{B}{U}a{A}{CALLS}{T}{CALLS_END}{E}{OUTS}{O10}{OUTS_END}b{E}{U}c{A}{CALLS}{P}"
                f"{CALLS_END}{E}{OUTS}{O20}{OUTS_END}"
            ),
            (
                f"{B}{U}a{A}{CALLS}{T}{OUTS}{O10}{OUTS_END}b{E}{U}c\n{P}{CALLS_END}{E}\n{O20}"
                f"{OUTS_END}"
            ),
        ),
    ),
    *rows(
        "outputs always end; these templates end them only before an answer",
        (
            ("r1", "r1 free", "nano"),
            "a question instead of an answer",
            f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}{O20}{OUTS_END}{U}b{A}{BEGIN}",
            f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}{O20}{U}b{A}{BEGIN}",
        ),
        (
            (*OLD, "v3-0324", "r1-0528"),
            "a question instead of an answer",
            f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}\n{O20}{OUTS_END}{U}b{A}{BEGIN}",
            f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}\n{O20}{U}b{A}{BEGIN}",
        ),
    ),
    *rows(
        (
            "the reasoning before calls is left out as before any other answer; these templates "
            "cut it off only where no call follows"
        ),
        (
            ("r1", "r1 free", "nano"),
            "a thought before calls",
            f"{B}{U}a{A}{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}{O20}{OUTS_END}b{E}{U}c{A}{BEGIN}",
            (
                f"{B}{U}a{A}<think>\nhm\n</think>{CALLS}{T}\n{P}{CALLS_END}{E}{OUTS}{O10}{O20}"
                f"{OUTS_END}b{E}{U}c{A}{BEGIN}"
            ),
        ),
        (
            V3_1,
            "a thought before calls",
            f"{B}{U}a{A}</think>{CALLS}{CT}{CP}{CALLS_END}{E}{O10}{O20}b{E}{U}c{A}{BEGIN}",
            (
                f"{B}{U}a{A}</think><think>\nhm\n</think>{CALLS}{CT}{CP}{CALLS_END}{E}{O10}"
                f"{O20}b{E}{U}c{A}{BEGIN}"
            ),
        ),
    ),
]
DIFFERENT = {(pair, row.dialogue): row for row in DIFFERENCES for pair in row.pairs}
GOLDEN = [
    (name, dialogue)
    for name, pair in PAIRS.items()
    for dialogue in pair.dialogues()
    if (name, dialogue) not in DIFFERENT or (dialogue in SYSTEM and pair.given is not list)
]


@pytest.mark.parametrize(("name", "dialogue"), GOLDEN)
def test_as_the_template_renders(name: str, dialogue: str) -> None:
    pair, messages = PAIRS[name], ALL[dialogue]
    given = pair.given(messages)
    expected = rendered(pair.template, given, pair.variables)
    if any(m.role == "system" for m in given):
        expected = expected.removeprefix(pair.noise)
    assert pair.ours(messages) == expected


@pytest.mark.parametrize(("name", "dialogue"), DIFFERENT)
def test_a_deliberate_difference(name: str, dialogue: str) -> None:
    pair, row = PAIRS[name], DIFFERENT[name, dialogue]
    ours, theirs = (text.replace(BEGIN, pair.begin) for text in (row.ours, row.theirs))
    assert ours != theirs
    assert pair.ours(ALL[dialogue]) == ours
    assert rendered(pair.template, ALL[dialogue], pair.variables) == theirs


def test_cases_do_not_become_fewer_nor_differences_more() -> None:
    assert len(GOLDEN) >= 749
    assert len(DIFFERENT) <= 98


def test_no_family_is_left_out() -> None:
    assert set(FAMILIES) == {pair.family for pair in PAIRS.values()} | {
        name
        for name, family in FAMILIES.items()
        if family.is_base or isinstance(family.format, Dsml)  # test_dsml.py has those
    }
