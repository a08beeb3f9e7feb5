"""Conversations with DeepSeek's own API, against exchanges as they were recorded there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engines.fake_engine import FakeEngine, Raw, Status

from dslocal.chat import Session, open_session
from dslocal.engine import LlamaModel
from dslocal.engine.remote import EngineConnection, MessageContext, engine_address, find_engine
from dslocal.errors import DslocalError, RemoteEngineError, UsageError
from dslocal.output import constraint_from_choices
from dslocal.prompts import FAMILIES, Message, Thinking, Tool, ToolCall
from dslocal.types import FinishReason

V4 = FAMILIES["v4-0731"]
VECTORS = Path(__file__).parents[1] / "vectors" / "engines"
RECORDED = json.loads((VECTORS / "deepseek_api.json").read_text(encoding="utf-8"))
WEATHER = Tool("get_weather", "Weather", {"type": "object", "properties": {"city": {}}})


@pytest.fixture
def api(model: LlamaModel) -> Iterator[FakeEngine]:
    """DeepSeek's API."""
    with FakeEngine(model, "deepseek", name="deepseek-flash") as fake:
        yield fake


@pytest.fixture
def session(api: FakeEngine) -> Iterator[Session]:
    with EngineConnection(engine_address(api.url, "key")) as connection:
        found = find_engine(connection, "deepseek-flash")
        assert found.takes_messages
        context = MessageContext(connection, found.model, list[str]().append)
        yield open_session(context, V4, V4.defaults, "Be brief.", Thinking.FORCED)


def stream_of(name: str) -> Raw:
    """Return a stream as it was recorded, with comments that keep the connection open."""
    events = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in RECORDED[name]]
    return Raw([b": keep-alive\n\n", *events, b"data: [DONE]\n\n"])


def asked(session: Session, text: str = "hello") -> Session:
    list(session.stream(text, seed=1))
    return session


def test_a_recorded_answer_with_reasoning(api: FakeEngine, session: Session) -> None:
    api.replies = [stream_of("reasoning")]
    turn = asked(session).turn
    assert turn is not None
    assert (turn.reasoning, turn.text) == ("Okay, a greeting.", "Hello!")
    assert turn.finish_reason is FinishReason.STOP
    assert (turn.prompt_tokens, turn.cached_tokens) == (6, 0)
    assert (turn.completion_tokens, turn.reasoning_tokens) == (14, 9)
    assert session.history[-1] == Message("assistant", "Hello!", "Okay, a greeting.")


def test_what_is_sent(api: FakeEngine, session: Session) -> None:
    api.replies = [stream_of("reasoning")]
    asked(asked(session), "again")
    body = api.generated[-1]
    assert body["model"] == "deepseek-flash"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "again"},
    ]
    assert body["thinking"] == {"type": "enabled"}
    assert body["reasoning_effort"] == V4.default_effort
    session.thinking = Thinking.BYPASSED
    asked(session)
    assert api.generated[-1]["thinking"] == {"type": "disabled"}
    assert "reasoning_effort" not in api.generated[-1]
    assert api.sent[-1].headers["Authorization"] == "Bearer key"


def test_a_recorded_tool_call(api: FakeEngine, session: Session) -> None:
    api.replies = [stream_of("tool_call")]
    session.tools = [WEATHER]
    turn = asked(session).turn
    assert turn is not None
    assert turn.calls == [ToolCall("get_weather", '{"city": "Rome"}')]
    session.history.append(Message("tool", "sunny"))
    asked(session, "thanks")
    called, result = api.generated[-1]["messages"][2:4]
    assert called["tool_calls"][0]["function"]["name"] == "get_weather"
    assert called["reasoning_content"] == "Look it up."
    assert result == {
        "role": "tool",
        "content": "sunny",
        "tool_call_id": called["tool_calls"][0]["id"],
    }


def test_an_answer_that_was_cut_is_continued(api: FakeEngine, session: Session) -> None:
    cut = stream_of("reasoning")
    assert not callable(cut.pieces)
    api.replies = [Raw(cut.pieces[:-2])]
    with pytest.raises(RemoteEngineError, match="the connection was lost after"):
        asked(session)
    assert session.is_unfinished
    assert session.history[-1].content == "Hello!"
    api.replies = [stream_of("continuation")]
    list(session.continue_answer())
    assert session.history[-1].content == "Hello! How are you?"
    assert api.sent[-1].path == "/beta/chat/completions"
    last = api.sent[-1].body["messages"][-1]
    assert last["prefix"] is True
    assert last["content"] == "Hello!"


REFUSED: dict[str, Any] = {
    "top_k": lambda s: setattr(s, "settings", s.settings.with_value("top_k", 5, "t")),
    "min_p": lambda s: setattr(s, "settings", s.settings.with_value("min_p", 0.1, "t")),
    "logit_bias": lambda s: setattr(s, "settings", s.settings.with_value("logit_bias", "5=1", "t")),
    "think_budget": lambda s: setattr(s, "settings", s.settings.with_value("think_budget", 5, "t")),
    "logprobs": lambda s: setattr(s, "top_logprobs", 1),
    "schema or a grammar": lambda s: setattr(s, "constraint", constraint_from_choices(["a"], "t")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_do_is_refused_before_anything_is_sent(
    api: FakeEngine, session: Session, name: str
) -> None:
    api.replies = [stream_of("reasoning")]
    REFUSED[name](session)
    with pytest.raises(UsageError, match=name):
        asked(session)
    assert api.generated == []
    assert session.history == []


LACKING = {"top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1, "logit_bias": "5=1", "think_budget": 5}


@pytest.mark.parametrize("name", LACKING)
def test_a_setting_that_it_lacks_is_refused_when_it_is_set(
    api: FakeEngine, session: Session, name: str
) -> None:
    before = session.settings
    with pytest.raises(UsageError, match=f"DeepSeek's API has no {name}"):
        session.change_settings({"temperature": 0.5, name: LACKING[name]}, "/set")
    assert session.settings == before
    with pytest.raises(UsageError, match=f"DeepSeek's API has no {name}"):
        open_session(session.context, V4, before.with_value(name, LACKING[name], "config.toml"))
    assert api.generated == []


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, "sends an event without choices"),
        ({"choices": [5]}, "sends an event without choices"),
        ({"choices": [{"delta": 5}]}, "sends no delta"),
        ({"choices": [{"delta": {"content": 5}}]}, "sends what is not text"),
        ({"choices": [{"delta": {"tool_calls": 5}}]}, "sends tool calls that are no list"),
        ({"choices": [{"delta": {"tool_calls": [5]}}]}, "sends a tool call that makes no sense"),
        (
            {"choices": [{"delta": {"tool_calls": [{"index": 7, "function": {}}]}}]},
            "sends tool calls out of order",
        ),
        (
            {"choices": [{"delta": {}, "finish_reason": "insufficient_system_resource"}]},
            "gave the answer up: insufficient_system_resource",
        ),
    ],
)
def test_an_event_that_makes_no_sense(
    api: FakeEngine, session: Session, event: Any, message: str
) -> None:
    api.replies = [Raw([b"data: " + json.dumps(event).encode() + b"\n\n"])]
    with pytest.raises(RemoteEngineError) as caught:
        asked(session)
    assert str(caught.value) == f"{api.url}: {message}"


def test_no_credit_left(api: FakeEngine, session: Session) -> None:
    api.replies = [Status(402, b'{"error": {"message": "Insufficient Balance"}}')]
    with pytest.raises(DslocalError, match=r"refuses the request \(402\): Insufficient Balance"):
        asked(session)
