"""Proves that a running server gives ``dslocal ask`` what a process of its own would: the same
tokens, whatever came before.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.server.serving import Serving

from dslocal import chat, output, prompts
from dslocal.engine import LlamaContext
from dslocal.prompts.families import FAMILIES
from dslocal.server.wire.ask.turn_json import turn_from_json

NANO = FAMILIES["nano"]
SCHEMA = {
    "type": "object",
    "properties": {"result": {"type": "integer"}},
    "required": ["result"],
    "additionalProperties": False,
}


def asked(
    served: Serving, text: str, settings: prompts.Settings, seed: int, **more: Any
) -> tuple[str, output.Turn]:
    """The answer as it came in parts, and the turn."""
    found = served.note()
    body = {
        "fingerprint": found.fingerprint,
        "family": "nano",
        "text": text,
        "thinking": "forced",
        "settings": {name: getattr(settings, name).value for name in prompts.SETTINGS},
        "seed": seed,
        **more,
    }
    answer = served.post("/dslocal/ask", body, headers={"Authorization": f"Bearer {found.token}"})
    assert answer.status_code == 200, answer.text
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-2]]
    assert answer.text.endswith("data: [DONE]\n\n")
    return "".join(event.get("answer", "") for event in events), turn_from_json(events[-1]["turn"])


@pytest.mark.parametrize(
    ("text", "changed", "form"),
    [
        (
            (
                "What is 47 × 86?\nPlease reason step by step, and put your final answer within"
                " \\boxed{}."
            ),
            {},
            None,
        ),
        ("Tell me a joke", {"temperature": 1.5, "max_tokens": 60}, None),
        ("capital of peru", {"stop": ["Lima"], "repeat_penalty": 1.2}, None),
        ("What is 31 + 57?", {"think_budget": 20}, SCHEMA),
    ],
)
def test_the_same_tokens(
    served: Serving, context: LlamaContext, text: str, changed: dict[str, Any], form: Any
) -> None:
    settings = NANO.defaults
    for name, value in changed.items():
        settings = settings.with_value(name, value, "test")
    settings = (
        settings if "max_tokens" in changed else settings.with_value("max_tokens", 500, "test")
    )
    session = chat.Session(
        context,
        NANO,
        settings,
        top_logprobs=1,
        constraint=output.constraint_from_schema(form, "test") if form else None,
    )
    list(session.stream(text, 11))
    local = session.turn
    assert local is not None
    sent = {"source": "test", "schema_text": json.dumps(form)} if form else None
    for _ in range(2):
        said, turn = asked(served, text, settings, 11, form=sent, top_logprobs=1)
        assert said == turn.text == local.text
        for field in (
            "reasoning",
            "ids",
            "finish_reason",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "reasoning_tokens",
            "seed",
            "loop",
        ):
            assert getattr(turn, field) == getattr(local, field), field
        assert [entry.id for entry in turn.logprobs] == [entry.id for entry in local.logprobs]


def test_another_model_is_not_taken(served: Serving) -> None:
    found = served.note()
    body = {
        "fingerprint": "0" * 64,
        "family": "nano",
        "text": "x",
        "thinking": "forced",
        "settings": {},
        "seed": 1,
    }
    answer = served.post("/dslocal/ask", body, headers={"Authorization": f"Bearer {found.token}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
