"""Proves that the server speaks Ollama's format over nano: lines of JSON, options, models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.server.serving import MODEL, SUM, Serving, serving
from support.waiting import wait_until

from dslocal.server.wire.ollama.durations import seconds_of

CHAT, GENERATE = "/api/chat", "/api/generate"
COLD = {"temperature": 0}
AREA = ('def area(width, height):\n    """Return the product of width and height."""\n', "\n")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
STATS = {
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
}


def asked(text: str = SUM, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "options": COLD, **more}


def whole(served: Serving, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = served.post(path, {**body, "stream": False})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def lines(served: Serving, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = served.post(path, body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"think": False},
        {"options": {**COLD, "num_predict": 5}},
        {"format": "json"},
        {"logprobs": True, "top_logprobs": 2, "options": {**COLD, "num_predict": 5}},
    ],
    ids=["plain", "without thinking", "cut", "json", "logprobs"],
)
def test_a_chat_streams_by_itself_and_says_what_a_whole_answer_says(
    served: Serving, more: dict[str, Any]
) -> None:
    reply = whole(served, CHAT, asked(**more))
    found = lines(served, CHAT, asked(**more))
    assert [line["done"] for line in found] == [False] * (len(found) - 1) + [True]
    for field in ("content", "thinking"):
        joined = "".join(line["message"].get(field, "") for line in found)
        assert joined == reply["message"].get(field, "")
    assert bool(reply["message"].get("thinking")) is (more.get("think") is not False)
    assert found[-1]["eval_count"] == reply["eval_count"]
    assert set(found[-1]) >= STATS
    logprobs = [entry for line in found for entry in line.get("logprobs", [])]
    assert logprobs == reply.get("logprobs", [])
    assert bool(logprobs) is bool(more.get("logprobs"))


def test_a_question_is_answered_by_generate(served: Serving) -> None:
    body = {"model": f"{MODEL}:latest", "prompt": SUM, "system": "Be brief.", "options": COLD}
    reply = whole(served, GENERATE, body)
    assert "88" in reply["response"]
    assert "31" in reply["thinking"]
    assert (reply["model"], reply["done_reason"]) == (f"{MODEL}:latest", "stop")
    found = lines(served, GENERATE, body)
    assert "".join(line["response"] for line in found) == reply["response"]


def test_a_gap_is_filled_and_a_text_continued(served: Serving) -> None:
    prompt, suffix = AREA
    body: dict[str, Any] = {"model": MODEL, "prompt": prompt, "suffix": suffix, "options": COLD}
    assert "return width * height" in whole(served, GENERATE, body)["response"]
    body = {"model": MODEL, "prompt": "The capital of Peru", "raw": True, "options": COLD}
    assert whole(served, GENERATE, body)["response"]


@pytest.mark.parametrize(("path", "empty"), [(CHAT, "message"), (GENERATE, "response")])
def test_a_request_without_a_question_loads_the_model(
    served: Serving, path: str, empty: str
) -> None:
    """The server is shared: a shorter time would unload the model under a later test."""
    reply = served.post(path, {"model": MODEL, "keep_alive": "-1s"}).json()
    assert (reply["done"], reply["done_reason"]) == (True, "load")
    assert empty in reply


def test_options_are_obeyed(served: Serving) -> None:
    reply = whole(served, CHAT, asked(options={**COLD, "num_predict": 5}))
    assert (reply["eval_count"], reply["done_reason"]) == (5, "length")
    reply = whole(served, CHAT, asked(options={**COLD, "stop": ["88"]}))
    assert "88" not in reply["message"]["content"]
    one, other = (
        whole(served, CHAT, asked("Tell me a joke", options={"seed": 7, "temperature": 1.5}))
        for _ in range(2)
    )
    assert one["message"] == other["message"]


def test_an_answer_follows_a_schema(served: Serving) -> None:
    schema = {
        "type": "object",
        "properties": {"result": {"type": "integer"}},
        "required": ["result"],
    }
    reply = whole(served, CHAT, asked(format=schema))
    assert json.loads(reply["message"]["content"])["result"] == 88


def test_tools_are_called_and_their_results_read(served: Serving) -> None:
    body = asked("What is the weather in Lima?", tools=[TOOL])
    reply = whole(served, CHAT, body)
    (call,) = reply["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert isinstance(call["function"]["arguments"], dict)
    (streamed,) = [
        call for line in lines(served, CHAT, body) for call in line["message"].get("tool_calls", [])
    ]
    assert streamed["function"] == call["function"]
    result = {"role": "tool", "tool_name": "get_weather", "content": "22 degrees, sunny"}
    body["messages"] += [reply["message"], result]
    assert whole(served, CHAT, body)["message"]["content"]


def test_models_are_listed_shown_and_said_to_run(served: Serving) -> None:
    (listed,) = served.http.get("/api/tags").json()["models"]
    assert listed["name"] == listed["model"] == f"{MODEL}:latest"
    assert listed["size"] > 1 << 20
    assert listed["details"]["format"] == "gguf"
    (running,) = served.http.get("/api/ps").json()["models"]
    assert running["context_length"] == 1024
    shown = served.post("/api/show", {"name": MODEL}).json()
    assert set(shown["capabilities"]) == {"completion", "tools", "insert", "thinking"}
    info = shown["model_info"]
    assert info[f"{info['general.architecture']}.context_length"] == 1024
    assert served.http.get("/api/version").json()["version"].count(".") == 2


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, {}, 422),
        (CHAT, {"model": 5}, 422),
        (CHAT, {"model": "llama3"}, 404),
        (CHAT, asked(think="heroically"), 422),
        (CHAT, asked(think=5), 422),
        (CHAT, asked(format="xml"), 422),
        (CHAT, asked(format=5), 422),
        (CHAT, asked(format={"type": "nothing"}), 400),
        (CHAT, asked(options={"temperature": -1}), 422),
        (CHAT, asked(options={"temperature": "hot"}), 422),
        (CHAT, asked(options={"num_predict": 0}), 422),
        (CHAT, asked(options={"mirostat": 2}), 400),
        (CHAT, asked(options=[]), 422),
        (CHAT, asked(top_logprobs=3), 400),
        (CHAT, asked(messages=[{"role": "robot", "content": "a"}]), 422),
        (CHAT, asked(messages=[{"role": "user", "content": "a", "images": ["AA=="]}]), 400),
        (CHAT, asked(tools=[{"type": "other"}]), 422),
        (CHAT, asked("word " * 9000), 400),
        (GENERATE, {"model": MODEL, "prompt": "a", "images": ["AA=="]}, 400),
        (GENERATE, {"model": MODEL, "prompt": "a", "template": "{{ .Prompt }}"}, 400),
        (GENERATE, {"model": MODEL, "prompt": "a", "context": [1, 2]}, 400),
        (GENERATE, {"model": MODEL, "prompt": "a", "raw": True, "system": "b"}, 400),
        ("/api/show", {"model": "llama3"}, 404),
        ("/api/show", {}, 422),
        ("/api/embed", {"model": MODEL, "input": "a"}, 501),
        ("/api/embeddings", {"model": MODEL, "prompt": "a"}, 501),
        ("/api/pull", {"model": "llama3"}, 501),
        ("/api/blobs/sha256:0", {}, 501),
    ],
)
def test_what_is_refused(served: Serving, path: str, body: dict[str, Any], status: int) -> None:
    response = served.post(path, body)
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    assert isinstance(response.json()["error"], str)


def test_what_is_not_obeyed_is_named(served: Serving) -> None:
    options = {**COLD, "num_ctx": 8192, "mirostat_tau": 5.0, "num_predict": 1, "num_gpu": 1}
    response = served.post(CHAT, asked(options=options, keep_alive=-1))
    named = response.headers["x-dslocal-ignored"].split(", ")
    assert set(named) == {"options.num_ctx", "options.num_gpu"}


def test_an_answer_ends_where_num_ctx_does(served: Serving) -> None:
    prompt = whole(served, CHAT, asked(options={**COLD, "num_predict": 1}))["prompt_eval_count"]
    for path, body in ((CHAT, asked()), (GENERATE, {"model": MODEL, "prompt": "What is 31 + 57?"})):
        reply = served.post(
            path, {**body, "stream": False, "options": {**COLD, "num_ctx": prompt + 5}}
        )
        assert "x-dslocal-ignored" not in reply.headers
        found = reply.json()
        assert (found["eval_count"], found["done_reason"]) == (5, "length")


@pytest.mark.parametrize("num_ctx", [1, 2, 100_000])
def test_a_context_that_cannot_be_had_is_named(served: Serving, num_ctx: int) -> None:
    response = served.post(CHAT, asked(options={**COLD, "num_ctx": num_ctx}, stream=False))
    assert response.headers["x-dslocal-ignored"] == "options.num_ctx"
    assert "88" in response.json()["message"]["content"]


@pytest.mark.parametrize("num_ctx", [0, -1, None])
def test_no_context_is_asked_for(served: Serving, num_ctx: int | None) -> None:
    response = served.post(CHAT, asked(options={**COLD, "num_ctx": num_ctx}, stream=False))
    assert "x-dslocal-ignored" not in response.headers


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (0, 0),
        ("0", 0),
        ("0s", 0),
        (300, 300),
        (1.5, 1.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("+2s", 2),
        ("90", 90),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1m", math.inf),
        (1e300, math.inf),
        ("99999999999h", math.inf),
        ("5", 5),
    ],
)
def test_durations_are_read_as_ollama_does(sent: Any, seconds: float) -> None:
    assert seconds_of(sent) == seconds


@pytest.mark.parametrize("sent", ["soon", "5 m", "5x", "", "m", True, [], {}, "1m2", "1" * 100])
def test_what_is_no_duration_is_refused(served: Serving, sent: Any) -> None:
    response = served.post(CHAT, asked(keep_alive=sent))
    assert response.status_code == 422, response.text
    assert "keep_alive" in response.json()["error"]


def test_a_model_stays_loaded_as_long_as_is_asked(
    new_home: Callable[[str], Path],
) -> None:
    question = asked(options={**COLD, "num_predict": 1}, stream=False)
    with serving(new_home("keep-alive"), "--ctx", "1024", "--no-math") as server:

        def running() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = server.http.get("/api/ps").json()["models"]
            return found

        assert running()[0]["expires_at"] == "9999-12-31T23:59:59Z"
        server.post(CHAT, {**question, "keep_alive": "1h"})
        assert running()[0]["expires_at"] < "9999"
        assert server.post(CHAT, {**question, "keep_alive": 0}).json()["done"]
        wait_until(lambda: not running())
        assert server.post(CHAT, {**question, "keep_alive": -1}).json()["done"]  # loads it again
        assert running()[0]["expires_at"] == "9999-12-31T23:59:59Z"
        for _ in range(2):
            reply = server.post(GENERATE, {"model": MODEL, "keep_alive": 0}).json()
            assert (reply["done"], reply["done_reason"], reply["response"]) == (True, "unload", "")
            assert not running()
        assert server.log.count(" loaded nano") == 1  # a model that is not here is not loaded to go
