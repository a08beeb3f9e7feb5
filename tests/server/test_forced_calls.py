"""Proves that a tool call in DSML is forced after free reasoning, and that strict tools are held to
their schemas in every format. nano knows no DSML, so that the grammar alone makes the calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.server.serving import Serving, serving

from dslocal.server.ignored_fields import HEADER

CHAT = "/v1/chat/completions"
OFF = {"thinking": {"type": "disabled"}}


def tool(name: str, *, strict: bool | None = None, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": name, "parameters": parameters, "strict": strict}
    return {"type": "function", "function": function}


ADD = tool("add", x={"type": "integer", "minimum": 0, "maximum": 9}, why={"enum": ["a", "</b>"]})
SUB = tool("sub", y={"type": ["string", "null"], "maxLength": 5})
TOOLS = [ADD, SUB]


@pytest.fixture(scope="module", params=["v4", "v3.2"])
def in_dsml(request: pytest.FixtureRequest, new_home: Any) -> Iterator[Serving]:
    with serving(new_home("dsml"), "--family", request.param) as server:
        yield server


def asked(server: Serving, **more: Any) -> dict[str, Any]:
    reply = server.chat("What is 31 + 57? Call one tool.", tools=TOOLS, max_tokens=400, **more)
    choice: dict[str, Any] = reply["choices"][0]
    return choice


def is_valid(call: dict[str, Any]) -> bool:
    arguments = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "sub":
        return arguments.keys() == {"y"} and len(arguments["y"] or "") <= 5
    return arguments["x"] in range(10) and arguments["why"] in ("a", "</b>")


@pytest.mark.parametrize("more", [{}, {"temperature": 1.5, "seed": 3}, OFF, {"tool_choice": "any"}])
def test_some_tool_is_called_after_the_reasoning(in_dsml: Serving, more: dict[str, Any]) -> None:
    choice = asked(in_dsml, **{"tool_choice": "required", **more})
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert bool(choice["message"]["reasoning_content"]) is (more != OFF)
    assert choice["message"]["tool_calls"]
    assert all(is_valid(call) for call in choice["message"]["tool_calls"])


@pytest.mark.parametrize("name", ["add", "sub"])
def test_the_tool_that_is_named_is_called_once(in_dsml: Serving, name: str) -> None:
    choice = asked(
        in_dsml, tool_choice={"type": "function", "function": {"name": name}}, seed=1, **OFF
    )
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == name
    assert is_valid(call)


def test_a_forced_call_comes_as_deltas(in_dsml: Serving) -> None:
    body = {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": TOOLS,
        "tool_choice": "required",
        "temperature": 0,
        "parallel_tool_calls": False,
    }
    deltas = [
        call
        for event in in_dsml.stream(CHAT, body)
        for choice in event["choices"]
        for call in choice["delta"].get("tool_calls", [])
    ]
    assert {call["index"] for call in deltas} == {0}
    arguments = "".join(call["function"]["arguments"] for call in deltas)
    assert is_valid({"function": {"name": deltas[0]["function"]["name"], "arguments": arguments}})


def test_a_schema_that_is_wrong_is_refused(in_dsml: Serving) -> None:
    body = {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [tool("broken", x={"type": "text"})],
        "tool_choice": "required",
    }
    response = in_dsml.post(CHAT, body)
    assert response.status_code == 400
    assert "broken" in response.json()["error"]["message"]


@pytest.mark.parametrize("strict", [True, False])
def test_what_cannot_be_enforced_is_refused_or_said(in_dsml: Serving, *, strict: bool) -> None:
    body = {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [tool("f", strict=strict, x={"type": "string", "format": "hostname"})],
        "tool_choice": "required",
        "max_tokens": 2,
    }
    response = in_dsml.post(CHAT, body)
    assert response.status_code == (400 if strict else 200)
    named = response.headers.get(HEADER.decode(), "")
    assert ("tools[].function.parameters" in named) is not strict


@pytest.mark.parametrize("more", [{}, {"parallel_tool_calls": False}])
def test_strict_tools_leave_the_answer_free(in_dsml: Serving, more: dict[str, Any]) -> None:
    """Proves it against the answer without tools' grammar: the same tokens at temperature 0."""
    strict = [tool("add", strict=True, x={"type": "integer"})]
    free = in_dsml.chat("hi", tools=[tool("add", x={"type": "integer"})])
    held = in_dsml.chat("hi", tools=strict, **more)
    assert held["choices"][0]["message"] == free["choices"][0]["message"]


@pytest.mark.parametrize("question", ["capital of peru", "What is 31 + 57?"])
def test_strict_tools_leave_the_answer_free_in_json_formats(served: Serving, question: str) -> None:
    """Proves it for an answer and for a call that nano makes rightly without a grammar, too."""
    numbers = {name: {"type": "integer"} for name in ("x", "y")}
    free, held = (
        served.chat(question, temperature=0, tools=[tool("add", strict=strict, **numbers)])
        for strict in (None, True)
    )
    assert without_id(held) == without_id(free)


def without_id(reply: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = reply["choices"][0]["message"]
    functions = [call["function"] for call in message.get("tool_calls", [])]
    return {**message, "tool_calls": functions}
