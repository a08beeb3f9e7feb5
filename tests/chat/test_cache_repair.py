"""Proves that only the tokens of the next question are evaluated when it comes: what must be
evaluated again without the reasoning is done while the user types.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.engine.contexts import llama_context
from support.timing import at_most
from support.waiting import wait_until

from dslocal.chat import Repair, Session
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.prompts import FAMILIES, Family, Message, encode, recognise_family

FIRST = "What is 987654 × 321?"
ANSWER = (
    "It is 317036934, if I have not made a mistake on the way, which with numbers of this"
    " size may well be."
)
NEXT = "And now?"


@pytest.fixture
def session(nano: Path) -> Iterator[Session]:
    with LlamaModel(nano) as model, LlamaContext(model, 4096) as context:
        family = recognise_family(model.header).family
        yield Session(context, family, family.defaults)


def asked(session: Session, text: str, seed: int = 1) -> None:
    for _ in session.stream(text, seed):
        pass


def own_tokens(session: Session, text: str) -> int:
    """What a question adds to a prompt that the conversation before it is part of."""
    return len(encode(session.prompt(text), session.context.model)) - len(session.certain_ids())


def evaluated(session: Session, text: str) -> int:
    asked(session, text)
    assert session.turn is not None
    return session.turn.prompt_tokens - session.turn.cached_tokens


def with_long_thought(session: Session) -> None:
    """A first turn of 800 tokens of reasoning, in the cache as if the model had said it."""
    model, close = session.context.model, session.context.model.special_id("</think>")
    assert close is not None
    thought = (model.encode("First, I need to think about this for a while. " * 200))[:800]
    prompt = encode(session.prompt(FIRST), model)
    llama_context(session).prefill([*prompt, *thought, close, *model.encode(ANSWER)])
    session.history = [Message("user", FIRST), Message("assistant", ANSWER, "thought")]


def test_the_question_alone_when_there_was_time(session: Session) -> None:
    with_long_thought(session)
    own = own_tokens(session, NEXT)
    certain = session.certain_ids()
    repair = Repair(session.context, certain)
    repair.start()
    wait_until(lambda: session.context.ids == certain)
    repair.stop()
    assert own <= evaluated(session, NEXT) <= own + 8


def test_the_answer_and_the_question_when_there_was_none(session: Session) -> None:
    with_long_thought(session)
    own = own_tokens(session, NEXT)
    answer = len(session.context.model.encode(session.history[-1].content))
    assert evaluated(session, NEXT) <= own + answer + 8


def with_long_answer(session: Session) -> list[int]:
    """A first turn that takes a while to evaluate: the ids that the next prompt begins with."""
    text = "one two three four five " * 500
    session.history = [Message("user", "x"), Message("assistant", text)]
    certain = session.certain_ids()
    assert len(certain) > 1500
    return certain


def test_stopped_and_continued(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that what was evaluated until then is used."""
    context = llama_context(session)
    prefill = context.prefill
    half = 512
    certain = with_long_answer(session)

    def until_stopped(ids: Sequence[int]) -> int:
        found = prefill(ids)
        if len(ids) >= half:
            wait_until(context.abort.is_set)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(context, "prefill", until_stopped)
        repair = Repair(context, certain)
        repair.start()
        wait_until(lambda: len(context.ids) >= half)
        repair.stop()
    done = len(context.ids)
    assert half <= done < len(certain)
    assert not context.abort.is_set()
    assert context.ids == certain[:done]
    assert context.prefill(encode(session.prompt(NEXT), context.model)) == done


@pytest.mark.timed
def test_stopped_at_once(session: Session) -> None:
    """Proves it in the midst of an evaluation."""
    certain = with_long_answer(session)
    repair = Repair(session.context, certain)
    repair.start()
    wait_until(lambda: len(session.context.ids) >= 64)
    with at_most(0.2):
        repair.stop()
    assert session.context.ids == certain[: len(session.context.ids)]


def test_a_repair_that_is_not_needed_does_nothing(session: Session) -> None:
    for ids in ([], session.certain_ids()):
        repair = Repair(session.context, ids)
        repair.start()
        repair.stop()
    assert session.context.ids == []
    asked(session, "hello")
    certain = session.certain_ids()
    for _ in range(2):
        repair = Repair(session.context, certain)
        repair.start()
        wait_until(lambda: session.context.ids[: len(certain)] == certain)
        repair.stop()
        assert session.context.ids[: len(certain)] == certain


class Letters:
    """A vocabulary of bytes, and of every special token there is."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def special_id(self, token: str) -> int:
        return 256 + zlib.crc32(token.encode())


@pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES.values() if not family.is_base],
    ids=lambda family: family.name,
)
def test_what_is_certain_begins_every_prompt(family: Family) -> None:
    context = cast(LlamaContext, SimpleNamespace(model=Letters(), n_ctx=4096))
    session = Session(context, family, family.defaults, "Be kind.")
    assert session.certain_ids() == []
    session.history = [
        Message("user", "What is it?"),
        Message("assistant", "It is this.", "thought " * 20),
        Message("user", "And?"),
    ]
    session.history += [Message("assistant", "That.", "more")]
    certain = session.certain_ids()
    assert bytes(id for id in certain if id < 256).find(b"That.") > 0
    assert b"thought" not in bytes(id for id in certain if id < 256)
    for text in ("x", "1 + 1", "好", " leading blanks", "<think>"):
        assert encode(session.prompt(text), Letters())[: len(certain)] == certain
