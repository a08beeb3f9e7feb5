"""Proves that a chat request can say what the vendor's encoders of V3.2 and V4 can: tools that a
message declares, and a reminder.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from dslocal import prompts
from dslocal.server.exchange.tasks import ChatTask
from dslocal.server.preparation.requests import ServedModel
from dslocal.server.preparation.sampled_answers import SampledAnswers
from dslocal.server.preparation.sent_messages import family_messages
from dslocal.server.preparation.tool_choice import offered_tools
from dslocal.server.wire.chat.request import read_chat
from dslocal.server.wire.chat.schemas import ChatRequest
from dslocal.server.wire.request_parsing import parse_request


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def read(messages: list[dict[str, Any]], **more: Any) -> ChatTask:
    return read_chat(
        parse_request(ChatRequest, json.dumps({"messages": messages, **more}).encode()).sent
    )


def prompt_of(task: ChatTask, family: prompts.Family) -> str:
    served = ServedModel(
        context=None,  # type: ignore[arg-type]  # no message depends on it
        family=family,
        settings=family.defaults,
        fim_settings=family.defaults,
        thinking=family.default_thinking,
        name="m",
        fingerprint="0",
        sampled_answers=SampledAnswers(None),  # type: ignore[arg-type]
    )
    messages = list(family_messages(served, task.messages, math=False))
    return prompts.render(family.render(messages, prompts.Thinking.BYPASSED, offered_tools(task)))


DIALOGUE: list[dict[str, Any]] = [
    {"role": "system", "content": "s"},
    {"role": "latest_reminder", "content": "2026-02-21"},
    {"role": "developer", "content": "d", "tools": [tool("search")]},
]


def test_a_developers_tools_stand_in_that_message() -> None:
    prompt = prompt_of(read(DIALOGUE), prompts.FAMILIES["v4"])
    before, after = prompt.split("## Tools")
    assert before.endswith("s<｜latest_reminder｜>2026-02-21<｜User｜>d\n\n")
    assert '{"name": "search"' in after


def test_tools_of_the_request_stand_in_the_first_message() -> None:
    prompt = prompt_of(read(DIALOGUE, tools=[tool("open")]), prompts.FAMILIES["v4"])
    first, second = prompt.split("<｜latest_reminder｜>")
    assert '{"name": "open"' in first
    assert '{"name": "open"' not in second
    assert '{"name": "search"' in second


def test_a_tool_in_both_places_is_one() -> None:
    task = read(DIALOGUE, tools=[tool("search")])
    assert [offered.tool.name for offered in task.tools] == ["search"]
    assert prompt_of(task, prompts.FAMILIES["v4"]).count('{"name": "search"') == 1


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ({"a": 1, "b": [True, {"c": None}]}, {"b": [True, {"c": None}], "a": 1}, 1),
        ({"a": 1}, {"a": 2}, 2),
        ({"a": [1, 2]}, {"a": [2, 1]}, 2),
        ({"a": 1}, {"a": True}, 2),
        ({}, {"a": {}}, 2),
    ],
)
def test_tools_with_equal_schemas_are_one(
    first: dict[str, Any], second: dict[str, Any], count: int
) -> None:
    def with_schema(schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "function", "function": {"name": "search", "parameters": schema}}

    messages = [{"role": "developer", "content": "d", "tools": [with_schema(second)]}]
    task = read(messages, tools=[with_schema(first)])
    assert len(task.tools) == count
    assert prompt_of(task, prompts.FAMILIES["v4"]).count('{"name": "search"') == count


def test_thousands_of_tools_are_not_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request of half a megabyte must not keep the server busy for minutes."""
    names = [f"tool_{number}" for number in range(3000)]
    compared = 0
    is_equal = prompts.Tool.__eq__

    def counted(one: prompts.Tool, other: object) -> bool:
        nonlocal compared
        compared += 1
        return is_equal(one, other)

    monkeypatch.setattr(prompts.Tool, "__eq__", counted)
    sent = [tool(name) for name in names]
    developers = [
        {"role": "developer", "content": "d", "tools": sent[max(0, start - 20) : start + 100]}
        for start in range(0, len(names), 100)
    ]
    task = read([*developers, {"role": "user", "content": "a"}], tools=sent[:50])
    assert [offered.tool.name for offered in task.tools] == names
    prompt = prompt_of(task, prompts.FAMILIES["v4"])
    assert prompt.count('{"name": "tool_') == sum(len(each["tools"]) for each in developers)
    assert compared <= 2 * len(names)


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_declared_tools_can_be_chosen_as_others_can(choice: str) -> None:
    task = read(DIALOGUE, tool_choice=choice)
    is_there = "## Tools" in prompt_of(task, prompts.FAMILIES["v4"])
    assert is_there == (choice == "auto")


def test_a_developer_without_tools_instructs() -> None:
    """Proves that OpenAI's clients, whose developer is what a system was, get what they mean."""
    messages = [{"role": "developer", "content": "d"}, {"role": "user", "content": "a"}]
    prompt = prompt_of(read(messages), prompts.FAMILIES["v4"])
    assert prompt.startswith("<｜begin▁of▁sentence｜>d<｜User｜>a")
