"""The ids that an engine gets are those that a run on this machine evaluates, for every family."""

from __future__ import annotations

import pytest
from support.engines.fake_engine import FakeEngine, Tokens
from support.prompts.dialogues import WEATHER
from support.prompts.nano_tokens import missing_tokens

from dslocal.chat.session import Session
from dslocal.engine import EngineContext, LlamaContext
from dslocal.output import Turn, fill_gap
from dslocal.prompts import FAMILIES, Family, Gap, Message

from .conftest import OpenContext

QUESTION = "And the capital of <｜User｜> Perú? 你好 🙂 </think>"
TALKING = [family for family in FAMILIES.values() if not missing_tokens(family)]


def session(context: EngineContext, family: Family, *, has_tools: bool) -> Session:
    """Return a conversation in its third turn, or the only turn of a base model."""
    history = [
        Message("user", "What is 2 + 2?"),
        Message("assistant", "4", reasoning="Two and two."),
    ]
    return Session(
        context,
        family,
        family.defaults.with_value("max_tokens", 1, "test"),
        "" if family.is_base else "Be brief.",
        tools=[WEATHER] if has_tools else [],
        history=[] if family.is_base else history,
    )


def asked_here(context: LlamaContext, family: Family, *, has_tools: bool) -> list[int]:
    """Return the ids that a run on this machine evaluates."""
    here = session(context, family, has_tools=has_tools)
    for _ in here.stream(QUESTION, seed=1):
        pass
    assert here.turn is not None
    return context.ids[: here.turn.prompt_tokens]


@pytest.mark.parametrize("family", TALKING, ids=lambda family: family.name)
def test_a_conversation(
    vllm: FakeEngine, context: LlamaContext, open_context: OpenContext, family: Family
) -> None:
    vllm.replies = [Tokens([5, 1])]
    for has_tools in {False, family.format.tools is not None}:
        context.clear()
        there = session(open_context(vllm), family, has_tools=has_tools)
        list(there.stream(QUESTION, seed=1))
        assert vllm.prompt() == asked_here(context, family, has_tools=has_tools)


def test_every_kind_of_engine(
    engine: FakeEngine, context: LlamaContext, open_context: OpenContext
) -> None:
    engine.replies = [Tokens([5, 1])]
    family = FAMILIES["r1"]
    there = session(open_context(engine), family, has_tools=False)
    list(there.stream(QUESTION, seed=1))
    assert engine.prompt() == asked_here(context, family, has_tools=False)


def test_a_gap(vllm: FakeEngine, context: LlamaContext, open_context: OpenContext) -> None:
    vllm.replies = [Tokens([5, 1])]
    family = FAMILIES["nano"]
    assert family.fim is not None
    settings = family.fim.defaults.with_value("max_tokens", 1, "test")
    gap = Gap("def f(x):\n    return ", "\n\nprint(f(2))")
    prompts = []
    for place in (context, open_context(vllm)):
        turn = Turn(0)
        list(fill_gap(turn, place, family, settings, gap))
        prompts.append(place.ids[: turn.prompt_tokens])
    assert prompts[0] == prompts[1] == vllm.prompt()
