"""Proves that the server speaks Anthropic's format over nano: blocks, events, tools, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.server.serving import MODEL, SUM, Serving
from support.server.sse_events import named_events

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def said(content: Any = SUM, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": MODEL, "max_tokens": 200, "temperature": 0, "messages": messages, **more}


def answer(served: Serving, body: dict[str, Any], path: str = PATH) -> dict[str, Any]:
    response = served.post(path, body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def text(reply: dict[str, Any]) -> str:
    return "".join(block["text"] for block in reply["content"] if block["type"] == "text")


def accumulated(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client makes of a stream, which must be in order."""
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
    message: dict[str, Any] = events[0]["message"]
    assert (message["content"], message["stop_reason"]) == ([], None)
    partial: dict[int, str] = {}
    is_open = False
    for event in events[1:-1]:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
                is_open = True
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(message["content"]) - 1
                block, delta = message["content"][-1], event["delta"]
                match delta["type"]:
                    case "input_json_delta":
                        partial[event["index"]] = (
                            partial.get(event["index"], "") + delta["partial_json"]
                        )
                    case kind:
                        field = kind.removesuffix("_delta")
                        block[field] += delta[field]
            case "content_block_stop":
                assert is_open
                is_open = False
            case "message_delta":
                assert not is_open
                message |= event["delta"]
                message["usage"] |= event["usage"]
            case kind:
                assert kind == "ping"
    for index, arguments in partial.items():
        message["content"][index]["input"] = json.loads(arguments)
    return message


@pytest.mark.parametrize("path", [PATH, "/anthropic/v1/messages"])
def test_a_whole_answer(served: Serving, path: str) -> None:
    reply = answer(served, said(), path)
    assert [reply[key] for key in ("type", "role", "model")] == ["message", "assistant", MODEL]
    assert [block["type"] for block in reply["content"]] == ["thinking", "text"]
    assert "31" in reply["content"][0]["thinking"]
    assert reply["content"][0]["signature"]
    assert "88" in text(reply)
    assert (reply["stop_reason"], reply["stop_sequence"]) == ("end_turn", None)
    assert reply["id"].startswith("msg_")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"thinking": {"type": "disabled"}},
        {"stop_sequences": ["88"]},
        {"max_tokens": 5},
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        {"thinking": {"type": "adaptive", "display": "omitted"}},
    ],
    ids=["plain", "without thinking", "stop", "cut", "tool", "thinking omitted"],
)
def test_a_stream_says_what_a_whole_answer_says(served: Serving, more: dict[str, Any]) -> None:
    whole = answer(served, said(**more))
    response = served.post(PATH, said(**more, stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    streamed = accumulated(named_events(response.text))
    counted = {"id", "usage", "content"}
    assert {k: v for k, v in streamed.items() if k not in counted} == {
        k: v for k, v in whole.items() if k not in counted
    }
    for one, other in zip(streamed["content"], whole["content"], strict=True):
        assert {**one, "id": ""} == {**other, "id": ""}
    assert streamed["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_usage_counts_what_the_cache_held_apart(served: Serving) -> None:
    question = "What is the capital of Japan? " + "Take your time. " * 20
    answer(served, said(question))
    usage = answer(served, said(question))["usage"]
    counted = answer(served, {"messages": said(question)["messages"]}, COUNT)["input_tokens"]
    assert usage["cache_read_input_tokens"] > 0
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == counted


@pytest.mark.parametrize(
    ("more", "stop"),
    [
        ({"stop_sequences": ["88"]}, ("stop_sequence", "88")),
        ({"max_tokens": 5}, ("max_tokens", None)),
    ],
)
def test_why_an_answer_ended(
    served: Serving, more: dict[str, Any], stop: tuple[str, str | None]
) -> None:
    reply = answer(served, said(**more))
    assert (reply["stop_reason"], reply["stop_sequence"]) == stop
    assert "88" not in text(reply)


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "any"}, True),
        ({"type": "tool", "name": "get_weather"}, True),
        ({"type": "any", "disable_parallel_tool_use": True}, True),
        ({"type": "none"}, False),
    ],
)
def test_a_tool_is_chosen(served: Serving, choice: dict[str, Any], called: bool) -> None:
    reply = answer(served, said("The weather in Lima?", tools=[TOOL], tool_choice=choice))
    calls = [block for block in reply["content"] if block["type"] == "tool_use"]
    assert bool(calls) is called
    assert (reply["stop_reason"] == "tool_use") is called
    for call in calls:
        assert (call["name"], list(call["input"])) == ("get_weather", ["city"])
        assert call["id"].startswith("toolu_")


def test_a_result_of_a_tool_is_read_and_reasoning_is_taken_back(served: Serving) -> None:
    body = said("The weather in Lima?", tools=[TOOL], tool_choice={"type": "any"})
    reply = answer(served, body)
    (call,) = [block for block in reply["content"] if block["type"] == "tool_use"]
    result = [{"type": "text", "text": "22 degrees, sunny"}]
    thinking = {"type": "thinking", "thinking": "I need the weather.", "signature": "of others"}
    body["messages"] += [
        {"role": "assistant", "content": [thinking, *reply["content"]]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call["id"], "content": result},
                {"type": "text", "text": "Thanks."},
            ],
        },
    ]
    counted = answer(served, {"messages": body["messages"], "tools": [TOOL]}, COUNT)
    without = answer(served, {"messages": body["messages"][:1], "tools": [TOOL]}, COUNT)
    assert counted["input_tokens"] > without["input_tokens"] + 10
    assert answer(served, {**body, "tool_choice": {"type": "auto"}})["content"]


def test_results_of_several_calls_are_in_the_order_of_the_calls(served: Serving) -> None:
    def counted(order: list[int]) -> int:
        calls = [
            {"type": "tool_use", "id": f"toolu_{n}", "name": "get_weather", "input": {"city": city}}
            for n, city in enumerate(("Lima", "Oslo"))
        ]
        results = [
            {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": str(n) * 3}
            for n in order
        ]
        messages = [
            {"role": "user", "content": "The weather?"},
            {"role": "assistant", "content": calls},
            {"role": "user", "content": results},
        ]
        body = {**said(), "messages": messages, "tools": [TOOL], "max_tokens": 1}
        usage = answer(served, body)["usage"]
        assert answer(served, body)["usage"]["input_tokens"] <= usage["input_tokens"]
        return int(answer(served, body)["usage"]["cache_read_input_tokens"])

    assert counted([0, 1]) == counted([1, 0])


def test_an_answer_that_has_started_is_continued(served: Serving) -> None:
    body = said("capital of peru")
    body["messages"].append({"role": "assistant", "content": "The capital of"})
    reply = answer(served, body)
    assert [block["type"] for block in reply["content"]] == ["text"]
    assert text(reply).strip() == "Peru is Lima."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"system": "Be brief."}, {"system": [{"type": "text", "text": "Be brief."}]}),
        (
            {"system": "Be brief."},
            {
                "system": [
                    {"type": "text", "text": "x-anthropic-billing-header: cch=1f2e3;"},
                    {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                ]
            },
        ),
        (
            {"messages": [{"role": "user", "content": "a\n\nb"}]},
            {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        ),
        (
            {"messages": [{"role": "user", "content": "a"}]},
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "text", "media_type": "text/plain", "data": "a"},
                            }
                        ],
                    }
                ]
            },
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": "a\n\n<system-reminder>\nb\n</system-reminder>",
                    }
                ]
            },
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
        ),
    ],
    ids=["blocks", "a billing header", "turns of one role", "a document of text", "late system"],
)
def test_what_is_the_same_prompt(
    served: Serving, one: dict[str, Any], other: dict[str, Any]
) -> None:
    bodies = [{"messages": said()["messages"], **more} for more in (one, other)]
    counts = [answer(served, body, COUNT)["input_tokens"] for body in bodies]
    assert counts[0] == counts[1]


def test_json_follows_a_schema(served: Serving) -> None:
    schema = {
        "type": "object",
        "properties": {"result": {"type": "integer"}},
        "required": ["result"],
        "additionalProperties": False,
    }
    body = said(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(text(answer(served, body))) == {"result": 88}


BLOCK = {"type": "text", "text": "a"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
SERVER_TOOL = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("more", "status", "kind"),
    [
        ({"messages": []}, 422, "invalid_request_error"),
        ({"messages": [{"role": "user"}]}, 422, "invalid_request_error"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 422, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": [{}]}]}, 422, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": 1}]}, 422, "invalid_request_error"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            422,
            "invalid_request_error",
        ),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, 400, "invalid_request_error"),
        ({"system": [IMAGE]}, 400, "invalid_request_error"),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]},
                ]
            },
            400,
            "invalid_request_error",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]},
            422,
            "invalid_request_error",
        ),
        ({"max_tokens": 0}, 422, "invalid_request_error"),
        ({"max_tokens": -5}, 422, "invalid_request_error"),
        ({"max_tokens": "many"}, 422, "invalid_request_error"),
        ({"temperature": 1e999}, 422, "invalid_request_error"),
        ({"temperature": -1}, 422, "invalid_request_error"),
        ({"top_p": 7}, 422, "invalid_request_error"),
        ({"tools": [{"name": "bad name"}]}, 422, "invalid_request_error"),
        ({"tools": [SERVER_TOOL]}, 400, "invalid_request_error"),
        ({"tool_choice": {"type": "tool", "name": "none"}}, 400, "invalid_request_error"),
        ({"tool_choice": {"type": "tool"}}, 422, "invalid_request_error"),
        ({"tool_choice": {"type": "any"}}, 400, "invalid_request_error"),
        ({"thinking": {"type": "perhaps"}}, 422, "invalid_request_error"),
        ({"output_config": {"effort": "heroic"}}, 422, "invalid_request_error"),
        ({"mcp_servers": [{"url": "http://x"}]}, 400, "invalid_request_error"),
        ({"model": "claude-sonnet-4"}, 404, "not_found_error"),
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, 400, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": "x" * (1 << 20)}]}, 413, "request_too_large"),
    ],
)
def test_what_is_refused(served: Serving, more: dict[str, Any], status: int, kind: str) -> None:
    body = json.dumps({**said(), **more}).replace("Infinity", "1e999")
    response = served.http.post(PATH, content=body)
    assert response.status_code == status, response.text
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == kind
    assert response.json()["error"]["message"]


def test_a_prompt_that_is_too_long_is_called_so(served: Serving) -> None:
    body = said("word " * 9000)
    assert "prompt is too long" in served.post(PATH, body).json()["error"]["message"]
    counted = answer(served, {"messages": body["messages"]}, COUNT)
    assert counted["input_tokens"] > 9000


def test_what_is_not_obeyed_is_named(served: Serving) -> None:
    body = said(
        [{**BLOCK, "cache_control": {"type": "ephemeral"}}],
        metadata={"user_id": "x"},
        context_management={"edits": []},
        unheard_of=1,
        max_tokens=1,
    )
    named = served.post(PATH, body).headers["x-dslocal-ignored"].split(", ")
    assert {"messages[].content[].cache_control", "metadata", "unheard_of"} <= set(named)


@pytest.mark.parametrize("headers", [{"anthropic-version": "2023-06-01"}, {}])
def test_models_are_listed_as_the_client_knows_them(
    served: Serving, headers: dict[str, str]
) -> None:
    path = "/v1/models" if headers else "/anthropic/v1/models"
    listed = served.http.get(path, headers=headers).json()
    assert [model["id"] for model in listed["data"]] == [MODEL]
    assert (listed["has_more"], listed["first_id"]) == (False, MODEL)
    one = served.http.get(f"{path}/{MODEL}", headers=headers).json()
    assert (one["type"], one["display_name"]) == ("model", MODEL)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("POST", "/v1/messages/batches", 404),
        ("POST", "/anthropic/v1/complete", 404),
    ],
)
def test_errors_of_routes_are_anthropics(
    served: Serving, method: str, path: str, status: int
) -> None:
    response = served.http.request(method, path)
    assert (response.status_code, response.json()["type"]) == (status, "error")
