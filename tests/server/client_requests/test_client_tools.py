"""Proves that tools and constraints that real clients send hold for the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.server.client_bodies import CHAT, TEXT, TOOLS, asked, choices, message, tool
from support.server.serving import Serving

SCHEMA = {
    "type": "object",
    "properties": {"zebra": {"type": "integer", "maximum": 99}},
    "required": ["zebra"],
    "additionalProperties": False,
}


REQUIRED = {"tool_choice": "required"}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"add", "add_two", "sub"}),
        ("any", {"add", "add_two", "sub"}),
        ({"type": "function", "function": {"name": "add_two"}}, {"add_two"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "add"}},
                        {"type": "function", "function": {"name": "sub"}},
                    ],
                },
            },
            {"add", "sub"},
        ),
    ],
)
def test_one_of_the_tools_is_called(served: Serving, choice: Any, names: set[str]) -> None:
    body = asked(tools=TOOLS, tool_choice=choice, temperature=0, max_tokens=60, stop=["{"])
    found = choices(served, CHAT, body)[0]
    (call,) = found["message"]["tool_calls"]
    assert call["function"]["name"] in names
    assert len(json.loads(call["function"]["arguments"])) == 1
    assert (found["finish_reason"], found["message"]["content"]) == ("tool_calls", None)
    deltas = [
        delta
        for event in served.stream(CHAT, body)
        for each in event["choices"]
        for delta in each["delta"].get("tool_calls", [])
    ]
    assert deltas[0]["function"]["name"] == call["function"]["name"]
    assert "".join(d["function"]["arguments"] for d in deltas) == call["function"]["arguments"]


def test_functions_of_2023_are_called_as_then(served: Serving) -> None:
    body = asked(
        functions=[each["function"] for each in TOOLS],
        function_call={"name": "sub"},
        max_tokens=60,
        temperature=0,
    )
    found = choices(served, CHAT, body)[0]
    assert found["finish_reason"] == "function_call"
    assert found["message"]["function_call"]["name"] == "sub"
    deltas = [each["delta"] for event in served.stream(CHAT, body) for each in event["choices"]]
    calls = [delta["function_call"] for delta in deltas if "function_call" in delta]
    assert calls[0]["name"] == "sub"
    assert (
        "".join(call["arguments"] for call in calls)
        == (found["message"]["function_call"]["arguments"])
    )


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, None),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
        ({"tools": TOOLS, "tool_choice": "any", "guided_regex": "a"}, "tool_choice"),
        ({"tools": [tool(f"t{n}", x={"enum": [0] * 999}) for n in range(99)], **REQUIRED}, None),
        ({"functions": [], "function_call": {"name": "x"}}, "tool_choice"),
        (
            {"messages": [{"role": "user", "content": "hi", "tools": TOOLS}]},
            "messages.0.tools",
        ),
        (
            {"messages": [{"role": "developer", "content": "", "tools": [{"type": "web_search"}]}]},
            "messages.0.tools.0.type",
        ),
    ],
)
def test_tools_that_cannot_be_called(
    served: Serving, more: dict[str, Any], param: str | None
) -> None:
    response = served.post(CHAT, asked(**more))
    assert response.status_code == 400, response.text
    if param:
        assert response.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "more",
    [
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": SCHEMA},
            }
        },
        {"response_format": {"type": "json_schema", "schema": SCHEMA}},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"response_format": {"type": "json_object", "json_schema": {"schema": SCHEMA}}},
        {"response_format": {"type": "json", "value": SCHEMA}},
        {"json_schema": SCHEMA},
        {"json_schema": json.dumps(SCHEMA)},
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": json.dumps(SCHEMA)}},
    ],
)
def test_a_schema_holds_wherever_it_stands(served: Serving, more: dict[str, Any]) -> None:
    body = asked(thinking={"type": "disabled"}, max_tokens=60, **more)
    assert list(json.loads(message(served, body)["content"])) == ["zebra"]


@pytest.mark.parametrize(
    ("more", "texts"),
    [
        ({"guided_choice": ["red", "redder", "a (b) [c] \\ {d}"]}, None),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, {"yes", "no"}),
        ({"guided_regex": "(cat|dog)s?"}, {"cat", "cats", "dog", "dogs"}),
        ({"regex": "[0]{3}"}, {"000"}),
        ({"structured_outputs": {"regex": "x"}}, {"x"}),
        ({"grammar": 'root ::= "up" | "down"'}, {"up", "down"}),
        ({"guided_grammar": 'root ::= "up"'}, {"up"}),
        ({"ebnf": 'root ::= "up"'}, {"up"}),
        ({"response_format": {"type": "grammar", "grammar": 'root ::= "up"'}}, {"up"}),
    ],
)
def test_other_constraints_hold(
    served: Serving, more: dict[str, Any], texts: set[str] | None
) -> None:
    expected = texts or set(more["guided_choice"])
    body = asked(thinking={"type": "disabled"}, max_tokens=40, **more)
    assert message(served, body)["content"] in expected
    if "response_format" not in more:
        text = choices(served, TEXT, {"prompt": "a", "max_tokens": 40, **more})[0]["text"]
        assert text in expected


@pytest.mark.parametrize(
    "more",
    [
        {"json_schema": SCHEMA, "guided_json": SCHEMA},
        {"json_schema": SCHEMA, "response_format": {"type": "json_object"}},
        {"guided_regex": "("},
        {"guided_regex": "a(?=b)"},
        {"guided_choice": []},
        {"guided_choice": [""]},
        {"grammar": "no grammar"},
        {"guided_regex": "a" * 100_000},
        {"json_schema": {"enum": [{"a": [number]} for number in range(10_000)]}},
        {"response_format": {"type": "json_object", "schema": SCHEMA, "value": SCHEMA}},
    ],
)
def test_constraints_that_cannot_be_held_are_refused(served: Serving, more: dict[str, Any]) -> None:
    response = served.post(CHAT, asked(**more))
    assert response.status_code == 400, response.text
