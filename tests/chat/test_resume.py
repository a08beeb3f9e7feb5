"""Proves on the real nano that an answer that was cut, anywhere, continues as if it had not been
cut, and that what cannot continue is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from dslocal.chat import HistoryTrimmed, PartialAnswer, Session
from dslocal.engine import LlamaContext, LlamaModel
from dslocal.errors import ContextOverflowError, UsageError
from dslocal.output import OutputConstraint, constraint_from_schema
from dslocal.prompts import Message, Settings, Thinking
from dslocal.prompts.families.r1 import R1
from dslocal.prompts.families.v3 import V3

CALM = R1.defaults.with_value("temperature", 0, "test")
WARM = R1.defaults.with_value("temperature", 1.3, "test").with_value(
    "frequency_penalty", 0.3, "test"
)
QUESTION = "What is 47 × 86?"


def whole(
    context: LlamaContext, settings: Settings, form: OutputConstraint | None = None
) -> Session:
    talk = Session(context, R1, settings, constraint=form)
    list(talk.stream(QUESTION, 7))
    return talk


def cut_after(
    context: LlamaContext, settings: Settings, tokens: int, form: OutputConstraint | None = None
) -> Session:
    talk = Session(context, R1, settings.with_value("max_tokens", tokens, "test"), constraint=form)
    list(talk.stream(QUESTION, 7))
    talk.settings = settings
    return talk


@pytest.fixture(scope="module", params=[CALM, WARM], ids=["likeliest", "drawn"])
def uncut(
    request: pytest.FixtureRequest, model: LlamaModel
) -> Iterator[tuple[LlamaContext, Settings, Session]]:
    with LlamaContext(model, 2048) as context:
        yield context, request.param, whole(context, request.param)


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9, 0.97])
def test_a_cut_changes_nothing(uncut: tuple[LlamaContext, Settings, Session], share: float) -> None:
    """Proves that text, tokens and counts are those of an answer without the cut, in reasoning and
    answer, at any temperature.
    """
    context, settings, complete = uncut
    assert complete.turn is not None
    ids = complete.turn.ids
    talk = cut_after(context, settings, max(1, int(share * len(ids))))
    assert talk.turn is not None
    assert talk.is_unfinished
    assert talk.history[-1].cut == "length"
    assert talk.certain_ids() == []  # the cache stays
    list(talk.continue_answer())
    assert talk.turn.ids == ids
    assert talk.history == complete.history
    assert not talk.is_unfinished
    assert talk.partial is None
    assert talk.turn.cached_tokens == talk.turn.prompt_tokens - 1
    counts = (complete.turn.completion_tokens, complete.turn.reasoning_tokens)
    assert (talk.turn.completion_tokens, talk.turn.reasoning_tokens) == counts


def test_cut_many_times(uncut: tuple[LlamaContext, Settings, Session]) -> None:
    """Proves the same of an answer that is interrupted every few tokens, in the midst of whatever
    they say.
    """
    context, settings, complete = uncut
    talk = Session(context, R1, settings)
    stream = talk.stream(QUESTION, 7)
    rounds = 0
    while True:
        with closing(stream) as events:
            seen = [event for event, _ in zip(events, range(9), strict=False)]
        if not talk.is_unfinished:
            break
        rounds += 1
        assert seen
        assert talk.history[-1].cut == "interrupted"
        stream = talk.continue_answer()
    assert rounds > 2
    assert talk.history == complete.history


def test_under_a_schema_and_a_budget(context: LlamaContext) -> None:
    """Proves that a grammar and a budget of reasoning continue where they were, in the reasoning,
    at its end and in the answer.
    """
    schema = {
        "type": "object",
        "properties": {"result": {"type": "integer"}},
        "required": ["result"],
        "additionalProperties": False,
    }
    form, settings = (
        constraint_from_schema(schema, "test"),
        CALM.with_value("think_budget", 50, "test"),
    )
    complete = whole(context, settings, form)
    assert complete.turn is not None
    assert complete.history[-1].content.startswith("{")
    for tokens in (1, 30, 49, 50, 53, len(complete.turn.ids) - 2):
        talk = cut_after(context, settings, tokens, form)
        list(talk.continue_answer())
        assert talk.history == complete.history, tokens


def test_after_a_restart(model: LlamaModel) -> None:
    """Proves that an empty cache and the saved tokens are enough."""
    with LlamaContext(model, 2048) as context:
        complete = whole(context, CALM)
        cut = cut_after(context, CALM, 60)
    with LlamaContext(model, 2048) as context:
        talk = Session(context, R1, CALM, history=list(cut.history), partial=cut.partial)
        list(talk.continue_answer())
        assert talk.history == complete.history


def test_by_its_text_where_the_tokens_are_of_no_use(context: LlamaContext) -> None:
    """Proves that tokens which do not spell the answer are ignored, and that its text continues, in
    reasoning and answer.
    """
    complete = whole(context, CALM)
    assert complete.turn is not None
    for tokens in (20, len(complete.turn.ids) - 8):
        cut = cut_after(context, CALM, tokens)
        assert cut.partial is not None
        for ids in ((), cut.partial.ids[:-1], (*cut.partial.ids, model_end(context)), (10**6,)):
            talk = Session(
                context, R1, CALM, history=list(cut.history), partial=PartialAnswer(ids, 7)
            )
            list(talk.continue_answer())
            assert talk.history[-1].content.endswith(complete.history[-1].content[-12:])
            assert talk.history[-1].reasoning.startswith(cut.history[-1].reasoning)
            assert talk.history[-1].content.startswith(cut.history[-1].content)
            assert not talk.is_unfinished


def model_end(context: LlamaContext) -> int:
    return next(
        token for token in range(context.model.n_vocab) if context.model.is_end_token(token)
    )


def test_interrupted_before_anything_new_came(context: LlamaContext) -> None:
    """Proves that going on and stopping at once loses nothing, by tokens and by text."""
    cut = cut_after(context, CALM, 30)
    for partial in (cut.partial, None):
        talk = Session(context, R1, CALM, history=list(cut.history), partial=partial)
        with closing(talk.continue_answer()) as events:
            next(events)
        assert talk.history[-1].reasoning.startswith(cut.history[-1].reasoning)
        assert talk.is_unfinished


def test_what_cannot_be_continued(context: LlamaContext) -> None:
    """Proves that there is an error for a whole answer, for none, and for calls of which only the
    text is known.
    """
    talk = Session(context, R1, CALM)
    with pytest.raises(UsageError, match="nothing has been asked"):
        next(talk.continue_answer())
    talk.history = [Message("user", "a"), Message("assistant", "b")]
    with pytest.raises(UsageError, match="is whole"):
        next(talk.continue_answer())
    assert talk.history == [Message("user", "a"), Message("assistant", "b")]


def test_a_full_context_lets_old_turns_go_first(model: LlamaModel) -> None:
    """Proves that an answer cut by the context goes on when older turns make room, and is refused
    with the numbers when none are left.
    """
    old = [
        Message(role, f"{role} {i} " + "word " * 40)
        for i in range(3)
        for role in ("user", "assistant")
    ]
    with LlamaContext(model, 640) as context:
        babble = replace(CALM).with_value("logit_bias", [f"{model_end(context)}=-100"], "test")
        talk = Session(context, R1, babble, history=old)
        list(talk.stream("capital of peru", 1))
        assert talk.turn is not None
        while talk.is_unfinished and talk.first_kept < len(old):
            events = list(talk.continue_answer())
            assert isinstance(events[0], HistoryTrimmed) or talk.turn.loop
        while talk.turn.loop:  # which ends an answer before the context is full
            list(talk.continue_answer())
        with pytest.raises(ContextOverflowError, match="the context holds 640"):
            next(talk.continue_answer())
        assert talk.history[: len(old)] == old


def test_the_way_it_began_is_kept(context: LlamaContext) -> None:
    """Proves that switching thinking between does not change the answer that continues."""
    complete = whole(context, CALM)
    talk = cut_after(context, CALM, 20)
    talk.thinking = Thinking.BYPASSED
    assert talk.partial is not None
    talk.partial = replace(talk.partial, thinking=Thinking.FORCED)
    list(talk.continue_answer())
    assert talk.history == complete.history


def test_taking_back(context: LlamaContext) -> None:
    """Proves that the last question and all that came of it can be forgotten, one by one."""
    history = [
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c", typed="d"),
        Message("assistant", "e"),
        Message("tool", "f"),
    ]
    talk = Session(context, V3, V3.defaults, history=list(history), first_kept=4)
    assert talk.remove_last_turn() == history[2]
    assert (talk.history, talk.first_kept) == (history[:2], 2)
    assert talk.remove_last_turn() == history[0]
    assert talk.remove_last_turn() is None
