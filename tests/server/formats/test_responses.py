"""Proves that the server speaks OpenAI's Responses API over nano: items, events, what is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.server.serving import MODEL, SUM, Serving
from support.server.sse_events import named_events

from dslocal.server.response_store import ResponseStore
from dslocal.server.wire.errors import ApiError

PATH = "/v1/responses"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "name": "get_weather", "parameters": PARAMETERS}
NAMESPACE = {"type": "namespace", "name": "weather", "tools": [TOOL]}
CUSTOM = {"type": "custom", "name": "note", "description": "Write a note."}


def asked(content: Any = SUM, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": content, "temperature": 0, **more}


def answer(served: Serving, body: dict[str, Any]) -> dict[str, Any]:
    response = served.post(PATH, body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def items(reply: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item for item in reply["output"] if item["type"] == kind]


def text(reply: dict[str, Any]) -> str:
    return "".join(part["text"] for item in items(reply, "message") for part in item["content"])


def tokens(served: Serving, body: dict[str, Any]) -> int:
    response = served.post(f"{PATH}/input_tokens", body)
    assert response.status_code == 200, response.text
    return int(response.json()["input_tokens"])


def accumulated(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The response that a client makes of a stream, whose events must be in order."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    made: list[dict[str, Any]] = []
    for event in events[2:-1]:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(made)
            made.append(event["item"])
            assert event["item"]["status"] == "in_progress"
            continue
        assert event["output_index"] == len(made) - 1
        item = made[-1]
        if kind == "output_item.done":
            whole = event["item"]
            assert {**item, "status": "completed"} | {"encrypted_content": ""} == {
                **whole,
                "encrypted_content": "",
            }
            made[-1] = whole
            continue
        assert event["item_id"] == item["id"]
        match kind:
            case "content_part.added":
                item["content"].append(event["part"])
            case "output_text.delta" | "reasoning_text.delta":
                item["content"][event["content_index"]]["text"] += event["delta"]
                item["content"][event["content_index"]].get("logprobs", []).extend(
                    event.get("logprobs", [])
                )
            case "output_text.done" | "reasoning_text.done":
                assert item["content"][event["content_index"]]["text"] == event["text"]
            case "content_part.done":
                assert item["content"][event["content_index"]] == event["part"]
            case "function_call_arguments.delta":
                item["arguments"] += event["delta"]
            case "function_call_arguments.done":
                assert item["arguments"] == event["arguments"]
            case "custom_tool_call_input.delta":
                item["input"] += event["delta"]
            case _:
                assert kind == "custom_tool_call_input.done"
    last = events[-1]
    assert last["type"] == f"response.{last['response']['status']}"
    assert last["response"]["output"] == made
    response: dict[str, Any] = last["response"]
    return response


def without_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if k not in ("id", "call_id", "usage")}
    return value


def test_a_whole_answer(served: Serving) -> None:
    reply = answer(served, asked(instructions="Be brief.", metadata={"a": "b"}))
    assert (reply["object"], reply["status"], reply["model"]) == ("response", "completed", MODEL)
    assert [item["type"] for item in reply["output"]] == ["reasoning", "message"]
    assert "31" in reply["output"][0]["content"][0]["text"]
    assert "88" in text(reply)
    assert (reply["metadata"], reply["instructions"]) == ({"a": "b"}, "Be brief.")
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert 0 < usage["output_tokens_details"]["reasoning_tokens"] < usage["output_tokens"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reasoning": {"effort": "none"}},
        {"max_output_tokens": 5},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [CUSTOM], "tool_choice": "required", "max_output_tokens": 40},
        {"tools": [NAMESPACE], "tool_choice": "required"},
        {"include": ["reasoning.encrypted_content"]},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "max_output_tokens": 90},
    ],
    ids=[
        "plain",
        "without reasoning",
        "cut",
        "tool",
        "custom tool",
        "namespace",
        "sealed",
        "logprobs",
    ],
)
def test_a_stream_says_what_a_whole_answer_says(served: Serving, more: dict[str, Any]) -> None:
    whole = answer(served, asked(**more))
    response = served.post(PATH, asked(**more, stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    streamed = accumulated(named_events(response.text))
    assert without_ids({**streamed, "created_at": 0}) == without_ids({**whole, "created_at": 0})


def test_an_answer_that_is_cut_is_incomplete(served: Serving) -> None:
    reply = answer(served, asked(max_output_tokens=5))
    assert reply["status"] == "incomplete"
    assert reply["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_tool_is_called_and_its_result_read(served: Serving) -> None:
    body = asked("The weather in Lima?", tools=[TOOL], tool_choice="required")
    reply = answer(served, body)
    (call,) = items(reply, "function_call")
    assert list(json.loads(call["arguments"])) == ["city"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "22 degrees"}
    history = [{"role": "user", "content": "The weather in Lima?"}, *reply["output"], result]
    by_items = {"input": history, "tools": [TOOL]}
    by_id = {"input": [result], "previous_response_id": reply["id"], "tools": [TOOL]}
    assert tokens(served, by_items) == tokens(served, by_id)
    assert answer(served, asked(**by_id, max_output_tokens=20))["output"]


def test_a_tool_of_a_namespace_is_called_by_both_names(served: Serving) -> None:
    body = asked("The weather in Lima?", tools=[NAMESPACE], tool_choice="required")
    (call,) = items(answer(served, body), "function_call")
    assert (call["namespace"], call["name"]) == ("weather", "get_weather")
    plain = {**call, "namespace": None, "name": "weather__get_weather"}
    counts = [tokens(served, {"input": [one], "tools": [NAMESPACE]}) for one in (call, plain)]
    assert counts[0] == counts[1]


def test_a_custom_tool_takes_any_text(served: Serving) -> None:
    choice = {"type": "custom", "name": "note"}
    body = asked("hello", tools=[CUSTOM], tool_choice=choice, max_output_tokens=60)
    (call,) = items(answer(served, body), "custom_tool_call")
    assert (call["name"], type(call["input"])) == ("note", str)
    output = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "done"}
    assert tokens(served, {"input": [call, output], "tools": [CUSTOM]})


def test_a_response_is_kept_shown_continued_and_deleted(served: Serving) -> None:
    first = answer(served, asked("My name is Ada. What is 2 + 2?"))
    one = f"{PATH}/{first['id']}"
    assert served.http.get(one).json() == first
    second = answer(served, asked(previous_response_id=first["id"]))
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    listed = served.http.get(f"{PATH}/{second['id']}/input_items", params={"order": "asc"}).json()
    assert [item["type"] for item in listed["data"]] == [
        "message",
        "reasoning",
        "message",
        "message",
    ]
    assert listed["data"][0]["content"] == [
        {"type": "input_text", "text": "My name is Ada. What is 2 + 2?"}
    ]
    page = served.http.get(
        f"{PATH}/{second['id']}/input_items",
        params={"limit": 2, "order": "asc", "after": listed["data"][0]["id"]},
    ).json()
    assert (page["data"], page["has_more"]) == (listed["data"][1:3], True)
    assert served.http.delete(one).json()["deleted"] is True
    assert served.http.get(one).status_code == 404
    gone = served.post(PATH, asked(previous_response_id=second["id"]))
    assert (gone.status_code, gone.json()["error"]["code"]) == (400, "previous_response_not_found")


def test_a_response_is_not_kept_if_the_client_says_so(served: Serving) -> None:
    reply = answer(served, asked(store=False))
    assert reply["store"] is False
    assert served.http.get(f"{PATH}/{reply['id']}").status_code == 404


def test_sealed_reasoning_is_the_reasoning(served: Serving) -> None:
    reply = answer(served, asked(include=["reasoning.encrypted_content"]))
    (reasoning, message) = reply["output"]
    sealed = {**reasoning, "content": None}
    question = {"role": "user", "content": SUM}
    assert reasoning["encrypted_content"]
    counts = [
        tokens(served, {"input": [question, one, message, question]}) for one in (reasoning, sealed)
    ]
    assert counts[0] == counts[1]
    for content in ("of another server", "é", "////"):
        foreign = {**sealed, "encrypted_content": content}
        assert tokens(served, {"input": [question, foreign, message, question]})


@pytest.mark.parametrize(
    ("form", "held"),
    [
        ({"type": "json_object"}, lambda value: isinstance(value, dict)),
        (
            {
                "type": "json_schema",
                "name": "sum",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"result": {"type": "integer"}},
                    "required": ["result"],
                    "additionalProperties": False,
                },
            },
            lambda value: value == {"result": 88},
        ),
    ],
)
def test_json_follows_a_schema(served: Serving, form: dict[str, Any], held: Any) -> None:
    assert held(json.loads(text(answer(served, asked(text={"format": form})))))


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"input": []}, 422, "input"),
        ({"input": 5}, 422, None),
        ({"input": [{}]}, 422, "input.0.role"),
        ({"input": [{"role": "robot", "content": "a"}]}, 422, None),
        ({"input": [{"type": "function_call", "call_id": "a"}]}, 422, "input.0.name"),
        ({"input": [{"type": "computer_call"}]}, 400, "input.0.type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, 400, "input.0.type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            400,
            "input.0.content.0",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            422,
            "input.0.content.0",
        ),
        ({"tools": [{"type": "file_search"}]}, 400, "tools.0.type"),
        ({"tools": [{"type": "function"}]}, 400, "tools.0.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, 400, "tool_choice"),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "none"}}, 400, "tool_choice"),
        ({"max_output_tokens": 0}, 422, "max_output_tokens"),
        ({"temperature": -1}, 422, "temperature"),
        ({"top_logprobs": 99}, 422, "top_logprobs"),
        ({"reasoning": {"effort": "heroic"}}, 422, "reasoning.effort"),
        ({"text": {"format": {"type": "json_schema"}}}, 422, "text.format.schema"),
        ({"background": True}, 400, "background"),
        ({"conversation": "conv_1"}, 400, "conversation"),
        ({"prompt": {"id": "p"}}, 400, "prompt"),
        ({"metadata": {"a": 1}}, 422, "metadata.a"),
        ({"previous_response_id": "resp_none"}, 400, "previous_response_id"),
        ({"previous_response_id": "../etc"}, 422, "previous_response_id"),
        ({"model": "gpt-5"}, 404, "model"),
        ({"input": "word " * 9000}, 400, "messages"),
    ],
)
def test_what_is_refused(
    served: Serving, more: dict[str, Any], status: int, param: str | None
) -> None:
    response = served.post(PATH, asked() | more)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["message"]
    if param:
        assert error["param"] == param


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{PATH}/resp_none", 404),
        ("DELETE", f"{PATH}/resp_none", 404),
        ("GET", f"{PATH}/resp_none/input_items", 404),
        ("POST", f"{PATH}/resp_none/cancel", 404),
        ("PUT", PATH, 405),
    ],
)
def test_what_is_not_kept(served: Serving, method: str, path: str, status: int) -> None:
    assert served.http.request(method, path).status_code == status


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"order": "up"}])
def test_a_page_is_checked(served: Serving, query: dict[str, Any]) -> None:
    reply = answer(served, asked(max_output_tokens=1))
    response = served.http.get(f"{PATH}/{reply['id']}/input_items", params=query)
    assert response.status_code == 422


def test_what_is_not_obeyed_is_named(served: Serving) -> None:
    body = asked(
        user="x",
        truncation="auto",
        tools=[{"type": "web_search"}],
        reasoning={"effort": "high", "summary": "auto"},
        max_output_tokens=1,
    )
    named = served.post(PATH, body).headers["x-dslocal-ignored"].split(", ")
    assert {"user", "truncation", "tools[].type", "reasoning.summary"} <= set(named)


def response_named(id: str, size: int = 0) -> dict[str, Any]:
    return {"id": id, "output": [{"text": "x" * size}]}


def test_the_store_keeps_so_many_and_what_is_used() -> None:
    store = ResponseStore(max_responses=3, max_bytes=1000)
    for number in range(3):
        store.add(response_named(f"r{number}"), [], f"r{number - 1}" if number else "")
    store.history("r1")
    store.add(response_named("r3"), [], "")
    with pytest.raises(ApiError):
        store.get("r2")
    assert store.get("r0").response["id"] == "r0"
    store.add(response_named("large", 940), [], "")
    with pytest.raises(ApiError):
        store.get("r0")
    store.remove("large")
    store.add(response_named("r4", 800), [], "")
    assert store.get("r4")
    store.add(response_named("too large", 2000), [], "")
    with pytest.raises(ApiError):
        store.get("too large")
