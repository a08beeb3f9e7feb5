"""Proves what every level of reasoning means to a family that has levels, one that reasons or does
not, and one that has no reasoning.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from dslocal import prompts
from dslocal.prompts.messages import Thinking
from dslocal.server.exchange.tasks import ReasoningWish
from dslocal.server.preparation.reasoning_switches import choose_reasoning
from dslocal.server.preparation.requests import ServedModel
from dslocal.server.preparation.sampled_answers import SampledAnswers
from dslocal.server.wire.anthropic.request import read_messages
from dslocal.server.wire.anthropic.schemas import MessagesRequest
from dslocal.server.wire.chat.request import read_chat
from dslocal.server.wire.chat.schemas import ChatRequest
from dslocal.server.wire.errors import ApiError
from dslocal.server.wire.ollama.request import read_ollama_chat
from dslocal.server.wire.ollama.schemas import OllamaChatRequest
from dslocal.server.wire.request_parsing import parse_request
from dslocal.server.wire.responses.request import read_responses
from dslocal.server.wire.responses.schemas import ResponsesRequest

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a"}]}


def served(family: prompts.Family) -> ServedModel:
    return ServedModel(
        context=None,  # type: ignore[arg-type]  # no level depends on it
        family=family,
        settings=family.defaults,
        fim_settings=family.defaults,
        thinking=family.default_thinking,
        name="m",
        fingerprint="0",
        sampled_answers=SampledAnswers(None),  # type: ignore[arg-type]
    )


def wish_of(form: str, level: str) -> ReasoningWish:
    """What a request says in the field that its format has for a level."""
    match form:
        case "chat":
            body = json.dumps({**CHAT, "reasoning_effort": level}).encode()
            return read_chat(parse_request(ChatRequest, body).sent).reasoning
        case "anthropic":
            body = json.dumps({**CHAT, "output_config": {"effort": level}}).encode()
            return read_messages(parse_request(MessagesRequest, body).sent).reasoning
        case "responses":
            body = json.dumps({"input": "a", "reasoning": {"effort": level}}).encode()
            return read_responses(parse_request(ResponsesRequest, body).sent, ()).reasoning
    body = json.dumps({**CHAT, "think": level}).encode()
    return read_ollama_chat(parse_request(OllamaChatRequest, body).sent).reasoning


FORCED = Thinking.FORCED
BYPASSED = Thinking.BYPASSED
NONE = Thinking.NONE
CASES = [
    # the family, the level, how the answer begins, the family's own level, whether it is noted
    ("v4", "none", BYPASSED, None, False),
    ("v4", "minimal", FORCED, "high", False),
    ("v4", "low", FORCED, "high", False),
    ("v4", "medium", FORCED, "high", False),
    ("v4", "high", FORCED, "high", False),
    ("v4", "xhigh", FORCED, "high", False),
    ("v4", "max", FORCED, "max", False),
    ("v3.1", "none", BYPASSED, None, False),
    ("v3.1", "minimal", FORCED, None, True),
    ("v3.1", "max", FORCED, None, True),
    ("r1", "none", BYPASSED, None, False),
    ("r1", "low", FORCED, None, True),
    ("r1", "xhigh", FORCED, None, True),
    ("v3", "none", NONE, None, False),
    ("v3", "medium", NONE, None, True),
]


@pytest.mark.parametrize("form", ["chat", "anthropic", "responses", "ollama"])
@pytest.mark.parametrize(("name", "level", "thinking", "effort", "noted"), CASES)
def test_a_level_by_family(
    form: str, name: str, level: str, thinking: Thinking, effort: str | None, noted: bool
) -> None:
    family = prompts.FAMILIES[name]
    choice = choose_reasoning(served(family), wish_of(form, level), has_prefilled_call=False)
    assert choice.thinking is thinking
    assert (family.effort_named(choice.effort) if choice.effort else None) == effort
    assert bool(choice.ignored) is noted


@pytest.mark.parametrize("form", ["chat", "anthropic", "responses", "ollama"])
def test_a_level_that_is_not_known_is_refused(form: str) -> None:
    with pytest.raises(ApiError) as refused:
        wish_of(form, "heroic")
    assert refused.value.status == 422


def test_formats_differ_in_what_is_a_wish() -> None:
    """Anthropic's clients enable thinking for every model; OpenAI's for one that can."""
    v3 = served(prompts.FAMILIES["v3"])
    enabled = {**CHAT, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    body = json.dumps(enabled).encode()
    noted = choose_reasoning(
        v3,
        read_messages(parse_request(MessagesRequest, body).sent).reasoning,
        has_prefilled_call=False,
    )
    assert [field.name for field in noted.ignored] == ["thinking.type"]
    with pytest.raises(ApiError):
        choose_reasoning(
            v3,
            read_chat(parse_request(ChatRequest, body).sent).reasoning,
            has_prefilled_call=False,
        )
