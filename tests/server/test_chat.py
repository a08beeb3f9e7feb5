"""Proves that the server speaks OpenAI's and DeepSeek's formats over nano: fields, streams, usage,
and what shapes an answer.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.server.serving import MODEL, SUM, Serving

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
AREA = '''def area(width, height):
    """Return the product of width and height."""

    return result
'''
GAP = "    result = width * height"
USAGE = {
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
}


def message(reply: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = reply["choices"][0]["message"]
    return found


def joined(events: list[dict[str, Any]], field: str, choice: int = 0) -> str:
    return "".join(
        c["delta"].get(field) or ""
        for event in events
        for c in event["choices"]
        if c["index"] == choice
    )


def test_a_whole_answer(served: Serving) -> None:
    reply = served.chat(seed=5)
    assert (reply["object"], reply["model"], reply["seed"]) == ("chat.completion", MODEL, 5)
    assert "88" in message(reply)["content"]
    assert "31" in message(reply)["reasoning_content"]
    assert reply["choices"][0]["finish_reason"] == "stop"
    usage = reply["usage"]
    assert set(usage) == USAGE
    assert (
        usage["prompt_tokens"]
        == usage["prompt_cache_hit_tokens"] + usage["prompt_cache_miss_tokens"]
    )
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_cache_hit_tokens"]


@pytest.mark.parametrize("base", ["", "/v1", "/beta"])
def test_a_stream_says_what_a_whole_answer_says(served: Serving, base: str) -> None:
    whole = served.chat()
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": SUM}],
        "temperature": 0,
        "stream_options": {"include_usage": True},
    }
    events = served.stream(f"{base}/chat/completions", body)
    assert joined(events, "content") == message(whole)["content"]
    assert joined(events, "reasoning_content") == message(whole)["reasoning_content"]
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [
        e["choices"][0]["finish_reason"] for e in events[:-1] if e["choices"][0]["finish_reason"]
    ] == ["stop"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert len({event["id"] for event in events}) == 1


def test_a_conversation_continues_from_its_cache(served: Serving) -> None:
    first = [
        {"role": "user", "content": "What is the capital of Japan? " + "Take your time. " * 20}
    ]
    reply = served.post("/v1/chat/completions", {"messages": first, "temperature": 0}).json()
    more = [
        *first,
        {"role": "assistant", "content": message(reply)["content"]},
        {"role": "user", "content": SUM},
    ]
    usage = served.post("/v1/chat/completions", {"messages": more, "temperature": 0}).json()[
        "usage"
    ]
    assert usage["prompt_cache_hit_tokens"] > 0.7 * reply["usage"]["prompt_tokens"]


@pytest.mark.parametrize(("kind", "thought"), [("enabled", True), ("disabled", False)])
def test_thinking_is_chosen(served: Serving, kind: str, thought: bool) -> None:
    reply = served.chat("capital of peru", thinking={"type": kind})
    assert bool(message(reply)["reasoning_content"]) is thought
    assert "Lima" in message(reply)["content"]


def test_a_thought_has_a_budget(served: Serving) -> None:
    reply = served.chat(thinking={"type": "enabled", "budget_tokens": 5})
    assert 0 < reply["usage"]["completion_tokens_details"]["reasoning_tokens"] <= 10
    assert message(reply)["content"]


def test_a_prefix_is_continued(served: Serving) -> None:
    prefilled: dict[str, Any] = {"role": "assistant", "content": "The capital of", "prefix": True}
    messages = [{"role": "user", "content": "capital of peru"}, prefilled]
    body = {"messages": messages, "temperature": 0, "thinking": {"type": "disabled"}}
    assert (
        message(served.post("/beta/chat/completions", body).json())["content"].strip()
        == "Peru is Lima."
    )
    prefilled["reasoning_content"] = (
        "The user asks for the capital of Peru. I recall that it is Lima."
    )
    assert (
        message(served.post("/beta/chat/completions", {**body, "thinking": None}).json())[
            "content"
        ].strip()
        == "Peru is Lima."
    )


def test_a_system_prompt_is_folded_and_roles_are_known(served: Serving) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "capital of peru"}]},
    ]
    reply = served.post("/v1/chat/completions", {"messages": messages, "temperature": 0})
    assert "Lima" in message(reply.json())["content"]


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        ({"type": "json_object"}, lambda value: isinstance(value, dict)),
        (
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "sum",
                    "strict": True,
                    "schema": {
                        "type": "object",
                        "properties": {"result": {"type": "integer"}},
                        "required": ["result"],
                        "additionalProperties": False,
                    },
                },
            },
            lambda value: value == {"result": 88},
        ),
    ],
)
def test_json_comes_after_a_free_thought(
    served: Serving, wanted: dict[str, Any], held: Any
) -> None:
    reply = served.chat(f"{SUM} Answer as JSON with the field result.", response_format=wanted)
    assert held(json.loads(message(reply)["content"]))
    assert "31" in message(reply)["reasoning_content"]


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_tool_that_must_be_called_is_called(served: Serving, choice: Any) -> None:
    reply = served.chat("The weather in Lima?", tools=[TOOL], tool_choice=choice, max_tokens=100)
    (call,) = message(reply)["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)
    assert (call["index"], call["type"], message(reply)["content"]) == (0, "function", None)
    assert reply["choices"][0]["finish_reason"] == "tool_calls"
    body = {
        "messages": [{"role": "user", "content": "The weather in Lima?"}],
        "temperature": 0,
        "tools": [TOOL],
        "tool_choice": choice,
    }
    deltas = [
        d
        for e in served.stream("/v1/chat/completions", body)
        for c in e["choices"]
        for d in c["delta"].get("tool_calls", [])
    ]
    assert deltas[0]["function"]["name"] == "get_weather"
    assert deltas[0]["id"].startswith("call_")
    assert {d["index"] for d in deltas} == {0}
    assert "".join(d["function"]["arguments"] for d in deltas) == call["function"]["arguments"]


def test_what_a_tool_gave_is_read(served: Serving) -> None:
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        for n in range(2)
    ]
    messages = [
        {"role": "user", "content": "capital of peru"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c0", "content": "sun"},
    ]
    body = {"messages": messages, "tools": [TOOL], "max_tokens": 5, "temperature": 0}
    there = served.post("/v1/chat/completions", body)
    assert there.status_code == 200, there.text
    messages[2:] = messages[
        :1:-1
    ]  # outputs stand in the order of the calls, whatever order they were sent in
    assert (
        served.post("/v1/chat/completions", body).json()["usage"]["prompt_cache_hit_tokens"]
        == there.json()["usage"]["prompt_tokens"] - 1
    )


def test_several_answers_share_their_prompt(served: Serving) -> None:
    reply = served.chat(temperature=1.0, n=5, seed=1, max_tokens=30)
    assert [choice["index"] for choice in reply["choices"]] == list(range(5))
    assert (
        len({message({"choices": [choice]})["reasoning_content"] for choice in reply["choices"]})
        > 1
    )
    assert reply["usage"]["completion_tokens"] > 30
    alone = served.chat(temperature=1.0, seed=4, max_tokens=30)
    assert message(alone) == reply["choices"][3]["message"], "the k-th answer has the seed + k"


def test_a_stream_of_several_answers(served: Serving) -> None:
    body = {
        "messages": [{"role": "user", "content": SUM}],
        "n": 3,
        "temperature": 0,
        "max_tokens": 40,
    }
    events = served.stream("/v1/chat/completions", body)
    assert len({joined(events, "reasoning_content", choice) for choice in range(3)}) == 1


def test_a_stop_text_and_a_limit_end_an_answer(served: Serving) -> None:
    assert (
        message(served.chat("capital of peru", stop=["Lima"]))["content"]
        == "The capital of Peru is"
    )
    assert message(served.chat("capital of peru", stop="Peru"))["content"] == "The capital of"
    cut = served.chat(max_completion_tokens=3)
    assert (cut["choices"][0]["finish_reason"], cut["usage"]["completion_tokens"]) == ("length", 3)


def test_the_same_seed_says_the_same(served: Serving) -> None:
    one, other = (
        message(served.chat("Tell me a joke", temperature=1.5, seed=7, max_tokens=40))
        for _ in range(2)
    )
    assert one == other


def test_logprobs_of_every_token(served: Serving) -> None:
    body = {
        "messages": [{"role": "user", "content": "capital of peru"}],
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
    }
    reply = served.post("/v1/chat/completions", body).json()
    listed = reply["choices"][0]["logprobs"]
    assert "".join(entry["token"] for entry in listed["content"]).endswith(
        message(reply)["content"]
    )
    assert all(
        len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0
        for entry in [*listed["content"], *listed["reasoning_content"]]
    )
    assert all(
        entry["top_logprobs"][0]["token"] == entry["token"] for entry in listed["content"]
    ), "temperature 0 takes the likeliest"
    events = served.stream("/v1/chat/completions", body)
    streamed = [
        entry
        for e in events
        for c in e["choices"]
        if c["logprobs"]
        for entry in c["logprobs"]["content"] or []
    ]
    assert streamed == listed["content"]


def test_a_bias_is_by_token(served: Serving) -> None:
    ids = served.post(
        "/v1/completions", {"prompt": "x", "max_tokens": 1, "temperature": 0, "logprobs": 1}
    ).json()["choices"][0]
    assert list(ids["logprobs"]) == ["tokens", "token_logprobs", "top_logprobs", "text_offset"]
    assert served.chat("capital of peru", logit_bias={"0": -100}, max_tokens=5)["choices"]


@pytest.mark.parametrize("base", ["/v1", "/beta"])
def test_a_gap_is_filled(served: Serving, base: str) -> None:
    prefix, suffix = AREA.split("\n\n")
    body = {
        "model": MODEL,
        "prompt": prefix + "\n",
        "suffix": "\n" + suffix,
        "max_tokens": 32,
        "temperature": 0,
    }
    reply = served.post(f"{base}/completions", body).json()
    assert (reply["object"], reply["choices"][0]["text"]) == ("text_completion", GAP)
    assert set(reply["usage"]) == USAGE
    events = served.stream(f"{base}/completions", body)
    assert "".join(e["choices"][0]["text"] for e in events) == GAP


def test_a_text_is_continued(served: Serving) -> None:
    body = {"prompt": "The capital of Peru", "max_tokens": 4, "temperature": 0}
    plain = served.post("/v1/completions", body).json()["choices"][0]["text"]
    echoed = served.post("/v1/completions", {**body, "echo": True}).json()["choices"][0]["text"]
    assert plain
    assert echoed == "The capital of Peru" + plain


def test_what_is_served(served: Serving) -> None:
    for base in ("", "/v1", "/beta"):
        (model,) = served.http.get(f"{base}/models").json()["data"]
        assert (model["id"], model["object"], model["context_length"]) == (MODEL, "model", 1024)
    assert served.http.get(f"/v1/models/{MODEL}").json()["id"] == MODEL
    health = served.http.get("/health").json()
    assert (health["status"], health["places"]) == ("ok", 3)
    counted = served.http.get("/metrics").text
    assert 'dslocal_requests_total{route="/v1/models",status="200"}' in counted
    assert served.http.get("/openapi.json").json()["openapi"].startswith("3.1")
