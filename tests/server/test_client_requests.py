"""Proves that what real clients send is answered as they expect: prompts, paths, headers, names,
reasoning switches, messages, tools and schemas, as their sources have them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.server.serving import MODEL, Serving, serving

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ORIGIN = "http://localhost:5174"
BEGIN, HOLE = "<｜fim▁begin｜>", "<｜fim▁hole｜>"
END = "<｜fim▁end｜>"
BOS = "<｜begin▁of▁sentence｜>"
CODE = ("def add(a, b):\n", "\n\n\ndef sub(a, b):\n    return a - b\n")
SCHEMA = {
    "type": "object",
    "properties": {"zebra": {"type": "integer", "maximum": 99}},
    "required": ["zebra"],
    "additionalProperties": False,
}


def asked(content: Any = "What is 2 + 2?", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 12, "seed": 1, **more}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


REQUIRED = {"tool_choice": "required"}
NUMBER = {"type": "integer", "minimum": 0, "maximum": 99}
TOOLS = [tool("add", x=NUMBER), tool("add_two", y=NUMBER), tool("sub", z=NUMBER)]


@pytest.fixture(scope="module")
def named(new_home: Callable[[str], Path]) -> Iterator[Serving]:
    options = ("--alias", "gpt-4o", "--alias", "deepseek-chat", "--allow-origin", ORIGIN)
    with serving(new_home("named"), *options, "--parallel", "1", "--ctx", "1024") as server:
        yield server


def choices(served: Serving, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = served.post(path, body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["choices"]
    return found


def message(served: Serving, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = choices(served, CHAT, body)[0]["message"]
    return found


def prompt_tokens(served: Serving, path: str, body: dict[str, Any]) -> int:
    response = served.post(path, body)
    assert response.status_code == 200, response.text
    return int(response.json()["usage"]["prompt_tokens"])


# Prompts.


@pytest.mark.parametrize(
    ("prompt", "n", "answers"),
    [
        ("a", 1, 1),
        (["a"], 1, 1),
        (["a", "b", "c"], 1, 3),
        (["a", "b"], 3, 6),
        ([5, 6, 7], 1, 1),
        ([[5, 6], [7]], 2, 4),
        (["a"] * 20, 1, 20),
    ],
)
def test_prompts_are_answered_in_order(served: Serving, prompt: Any, n: int, answers: int) -> None:
    body = {"prompt": prompt, "n": n, "max_tokens": 2, "seed": 1}
    found = choices(served, TEXT, body)
    assert [choice["index"] for choice in found] == list(range(answers))
    events = served.stream(TEXT, body)
    for choice in found:
        streamed = "".join(
            each["text"]
            for event in events
            for each in event["choices"]
            if each["index"] == choice["index"]
        )
        assert streamed == choice["text"]


def test_each_prompt_has_the_answer_that_it_has_alone(served: Serving) -> None:
    prompts = ["The capital of Peru", "The capital of Japan", "2 + 3"]
    body = {"max_tokens": 4, "temperature": 0}
    together = choices(served, TEXT, {**body, "prompt": prompts, "echo": True})
    for prompt, choice in zip(prompts, together, strict=True):
        alone = choices(served, TEXT, {**body, "prompt": prompt})[0]
        assert choice["text"] == prompt + alone["text"]


def test_usage_counts_every_prompt_once(served: Serving) -> None:
    one, two = (prompt_tokens(served, TEXT, {"prompt": p, "max_tokens": 1}) for p in ("a b", "c"))
    both = {"prompt": ["a b", "c"], "n": 2, "max_tokens": 1}
    assert prompt_tokens(served, TEXT, both) == one + two


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": []}, 422, "prompt"),
        ({"prompt": [[]]}, 422, "prompt"),
        ({"prompt": ["a", 5]}, 422, "prompt"),
        ({"prompt": None}, 422, "prompt"),
        ({}, 422, "prompt"),
        ({"prompt": [1 << 40]}, 422, "prompt"),
        ({"prompt": [-1]}, 422, "prompt"),
        ({"prompt": ["a"] * 129}, 422, None),
        ({"prompt": [5], "suffix": "x"}, 400, "suffix"),
        ({"prompt": "a", "best_of": 4}, 400, "best_of"),
        ({"prompt": "a", "max_tokens": 0}, 422, "max_tokens"),
        ({"prompt": "a", "echo": True, "logprobs": 1, "stream": True}, 400, "stream"),
    ],
)
def test_prompts_that_cannot_be_meant(
    served: Serving, body: dict[str, Any], status: int, param: str | None
) -> None:
    response = served.post(TEXT, body)
    assert response.status_code == status, response.text
    if param:
        assert response.json()["error"]["param"] == param


def test_a_prompt_is_scored_as_lm_evaluation_harness_does(served: Serving) -> None:
    ids = [[5, 6, 7, 8, 9], [5, 6, 10]]
    body = {"prompt": ids, "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0}
    for tokens, choice in zip(ids, choices(served, TEXT, {**body, "seed": 1234}), strict=True):
        logprobs = choice["logprobs"]
        lengths = {len(values) for values in logprobs.values()}
        assert lengths == {len(tokens) + 1}
        assert logprobs["token_logprobs"][0] is None
        for value, top in zip(
            logprobs["token_logprobs"][1:], logprobs["top_logprobs"][1:], strict=True
        ):
            assert value <= max(top.values())


def test_a_scored_token_has_the_logprob_that_it_is_generated_with(served: Serving) -> None:
    body = {"prompt": "The capital of Peru is", "temperature": 0, "logprobs": 1}
    made = choices(served, TEXT, {**body, "max_tokens": 1})[0]
    whole = {**body, "prompt": body["prompt"] + made["text"], "echo": True, "max_tokens": 0}
    scored = choices(served, TEXT, whole)[0]
    assert scored["text"] == whole["prompt"]
    assert scored["logprobs"]["token_logprobs"][-1] == pytest.approx(
        made["logprobs"]["token_logprobs"][0], abs=0.01
    )


@pytest.mark.parametrize("begin", ["", BOS])
@pytest.mark.parametrize("before", [CODE[0], ""])
@pytest.mark.parametrize("after", [CODE[1], ""])
def test_a_gap_may_be_spelled(served: Serving, begin: str, before: str, after: str) -> None:
    body = {"max_tokens": 8, "temperature": 0}
    with_suffix = {**body, "prompt": before, "suffix": after}
    spelled = {**body, "prompt": f"{begin}{BEGIN}{before}{HOLE}{after}{END}"}
    assert (
        choices(served, TEXT, with_suffix)[0]["text"] == choices(served, TEXT, spelled)[0]["text"]
    )
    assert prompt_tokens(served, TEXT, with_suffix) == prompt_tokens(served, TEXT, spelled)


@pytest.mark.parametrize(
    "prompt",
    [
        f"{BEGIN}a",
        f"{BEGIN}a{END}",
        f"{BEGIN}a{HOLE}b{HOLE}c{END}",
        f"{BEGIN}{BEGIN}a{HOLE}b{END}",
        f"{BEGIN}a{HOLE}b{END}c",
    ],
)
def test_a_gap_that_is_not_one_is_refused(served: Serving, prompt: str) -> None:
    response = served.post(TEXT, {"prompt": prompt, "max_tokens": 1})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "prompt")


def test_the_end_of_a_spelled_gap_may_be_missing(served: Serving) -> None:
    body = {"max_tokens": 1}
    tokens = {
        prompt_tokens(served, TEXT, {**body, "prompt": f"{BEGIN}a{HOLE}b{end}"})
        for end in ("", END)
    }
    assert len(tokens) == 1


def test_special_tokens_elsewhere_are_text_and_said_to_be(served: Serving) -> None:
    response = served.post(TEXT, {"prompt": "<｜User｜>hi<｜Assistant｜>", "max_tokens": 1})
    assert response.headers["x-dslocal-ignored"] == "prompt"
    assert response.json()["usage"]["prompt_tokens"] > 6
    assert "x-dslocal-ignored" not in served.post(TEXT, {"prompt": "hi", "max_tokens": 1}).headers


def test_llama_vim_gets_its_infill(served: Serving) -> None:
    fields = ["content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached"]
    body = {
        "input_prefix": CODE[0],
        "input_suffix": CODE[1],
        "input_extra": [{"text": "x = 1\n", "time": [1, 2], "filename": "a.py"}] * 100,
        "prompt": "    ",
        "n_predict": 8,
        "n_indent": 4,
        "samplers": ["top_k", "top_p", "infill"],
        "response_fields": fields,
    }
    response = served.post("/infill", body)
    assert response.status_code == 200, response.text
    assert list(response.json()) == fields
    whole = served.post("/infill", {**body, "response_fields": []}).json()
    assert whole["tokens_evaluated"] <= 1024
    assert whole["tokens_predicted"] <= 8


def test_llama_vim_prepares_a_gap_without_an_answer(served: Serving) -> None:
    """It sends the files around with ``n_predict`` 0, to have them ready."""
    sent = {"input_prefix": CODE[0], "input_suffix": CODE[1], "n_predict": 0}
    body = served.post("/infill", sent).json()
    assert body["content"] == ""
    assert body["tokens_predicted"] == 0


# Numbers that mean none, and lists that are long.


@pytest.mark.parametrize(
    "more",
    [
        {"seed": -1},
        {"seed": -(1 << 63)},
        {"seed": (1 << 63) - 1, "n": 2},
        {"top_k": -1},
        {"repeat_penalty": -1},
        {"thinking": {"type": "enabled", "budget_tokens": -1}},
        {"thinking_budget": -1},
        {"logit_bias": []},
        {"logit_bias": False},
        {"logit_bias": [[5, -1.5], [6, False]]},
        {"stop": [f"<{number}>" for number in range(64)]},
        {"stop": []},
        {"stop": ""},
        {"stop": [""]},
        {"stop": ["", "<end>"]},
        {"seed": 1.0, "n": 1.0, "top_k": -1.0},
        {"max_completion_tokens": 2.0},
        {"top_logprobs": 0},
        {"tools": []},
        {"tools": None, "tool_choice": None, "stop": None, "user": None},
    ],
)
def test_a_value_that_says_nothing(served: Serving, more: dict[str, Any]) -> None:
    assert served.post(CHAT, asked(**more)).status_code == 200


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n_predict"])
@pytest.mark.parametrize("none", [-1, -2])
def test_no_limit_is_the_context(served: Serving, field: str, none: int) -> None:
    body = asked("capital of peru", temperature=0)
    del body["max_tokens"]
    found = choices(served, CHAT, {**body, field: none})[0]
    assert found["finish_reason"] == "stop"


def test_negative_seeds_are_seeds(served: Serving) -> None:
    one, other = (message(served, asked(seed=-5, temperature=1.5)) for _ in range(2))
    assert one == other


# Paths and names.


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1//chat/completions"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat//completions///"),
        ("POST", "/chat/completions"),
        ("POST", "/beta/chat/completions"),
        ("GET", "/models"),
        ("GET", "/v1/models/"),
        ("GET", "//models//"),
        ("GET", f"/v1//models/{MODEL}/"),
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
    ],
)
def test_slashes_and_missing_prefixes(served: Serving, method: str, path: str) -> None:
    body = None if method == "GET" else asked(max_tokens=1)
    response = served.http.request(method, f"http://127.0.0.1:{served.port}{path}", json=body)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/embeddings", 501),
        ("/v1/audio/speech", 501),
        ("/v1/v1/chat/completions", 404),
        ("/apis", 404),
        ("/api/v0/models", 501),
        ("/openai/deployments/nano/chat/completions", 501),
        ("/completion", 501),
        ("/tokenize", 501),
        ("/props", 501),
    ],
)
def test_what_is_not_here_says_what_is(served: Serving, path: str, status: int) -> None:
    for response in (served.http.get(path), served.post(path, {})):
        assert response.status_code == status
        assert "/v1/chat/completions" in response.json()["error"]["message"]


def test_the_base_urls_say_what_this_is(served: Serving) -> None:
    for path in ("/", "/v1", "/beta"):
        facts = served.http.get(path).json()
        assert facts["model"] == MODEL
        assert "/v1/chat/completions" in facts["routes"]


@pytest.mark.parametrize(
    ("name", "status"),
    [(MODEL, 200), ("gpt-4o", 200), ("deepseek-chat", 200), ("gpt-4", 404), ("", 404), (None, 200)],
)
def test_an_alias_is_a_name(named: Serving, name: str | None, status: int) -> None:
    response = named.post(CHAT, asked(model=name, max_tokens=1))
    assert response.status_code == status
    if status == 404:
        assert "--alias" in response.json()["error"]["message"]


def test_aliases_are_listed(named: Serving) -> None:
    listed = [each["id"] for each in named.http.get("/v1/models").json()["data"]]
    assert listed == [MODEL, "gpt-4o", "deepseek-chat"]
    assert named.http.get("/v1/models/gpt-4o").json()["id"] == "gpt-4o"


# Headers.


@pytest.mark.parametrize(
    "headers",
    [
        "authorization,content-type",
        "authorization,content-type,x-stainless-os,x-stainless-helper-method",
        "anthropic-version, x-api-key, anthropic-dangerous-direct-browser-access",
        "openai-organization,openai-project,openai-beta",
        "http-referer,x-title",
    ],
)
def test_a_preflight_allows_the_headers_that_it_asks_for(named: Serving, headers: str) -> None:
    response = named.http.options(
        CHAT,
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": headers,
            "Access-Control-Request-Private-Network": "true",
        },
    )
    assert response.status_code == 204
    assert response.headers["access-control-allow-headers"] == headers
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-private-network"] == "true"


def test_a_preflight_of_another_origin_is_refused(named: Serving) -> None:
    asked_for = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Headers": "x-stainless-os",
    }
    response = named.http.options(CHAT, headers=asked_for)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_headers_that_are_not_lists_of_names_are_not_repeated(named: Serving) -> None:
    asked_for = {"Origin": ORIGIN, "Access-Control-Request-Headers": "a b<script>, c"}
    response = named.http.options(CHAT, headers=asked_for)
    assert "script" not in response.headers["access-control-allow-headers"]


# Reasoning.


@pytest.mark.parametrize(
    ("more", "reasons"),
    [
        ({}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "auto"}}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, True),
        ({"reasoning_effort": "xhigh"}, True),
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"exclude": True}}, False),
        ({"include_reasoning": False}, False),
        ({"enable_thinking": False}, False),
        ({"think": False}, False),
        ({"think": "low"}, True),
        ({"chat_template_kwargs": {"thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"reasoning_effort": "none"}}, False),
        ({"chat_template_kwargs": {}}, True),
        ({"reasoning_effort": "none", "chat_template_kwargs": {"thinking": False}}, False),
    ],
)
def test_reasoning_is_switched(served: Serving, more: dict[str, Any], reasons: bool) -> None:
    assert bool(message(served, asked(**more))["reasoning_content"]) is reasons
    events = served.stream(CHAT, asked(**more))
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert any(delta.get("reasoning_content") for delta in deltas) is reasons


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "none"}, 400, "reasoning_effort"),
        ({"enable_thinking": True, "think": False}, 400, "think"),
        (
            {"chat_template_kwargs": {"thinking": True, "enable_thinking": False}},
            400,
            "chat_template_kwargs.enable_thinking",
        ),
        ({"chat_template_kwargs": {"tool_mode": "x"}}, 400, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"thinking": "yes"}}, 400, "chat_template_kwargs"),
        ({"reasoning_effort": "lots"}, 422, "reasoning_effort"),
        (
            {"thinking_budget": 5, "thinking": {"type": "enabled", "budget_tokens": 6}},
            400,
            "thinking_budget",
        ),
        ({"think": 5}, 422, None),
    ],
)
def test_switches_that_cannot_be_meant(
    served: Serving, more: dict[str, Any], status: int, param: str | None
) -> None:
    response = served.post(CHAT, asked(**more))
    assert response.status_code == status, response.text
    if param:
        assert response.json()["error"]["param"] == param


# Messages.


@pytest.mark.parametrize(
    "answer",
    [
        "<think>\nTwelve times three is a long story.\n</think>\n\n36",
        "<think></think>36",
        "\n<think>\n\n</think>\n\n36",
        "Twelve times three, the prompt opened this.\n</think>\n\n36",
        [{"type": "text", "text": "<think>x</think>36"}],
        [{"type": "thinking", "thinking": "a long story"}, {"type": "text", "text": "36"}],
        [{"type": "output_text", "text": "36"}],
        ["36"],
    ],
)
def test_reasoning_of_earlier_answers_is_not_read(served: Serving, answer: Any) -> None:
    def tokens(content: Any) -> int:
        talk = [
            {"role": "user", "content": "What is 12 * 3?"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": "And 5?"},
        ]
        return prompt_tokens(served, CHAT, {"max_tokens": 1, "messages": talk})

    assert tokens(answer) == tokens("36")


@pytest.mark.parametrize(
    "answer", ["Use <think> and </think> as tags.", "36 </think>", "a </think> b", "36\n<think>"]
)
def test_tags_within_an_earlier_answer_are_text(served: Serving, answer: str) -> None:
    def tokens(content: str) -> int:
        talk = [{"role": "user", "content": "x"}, {"role": "assistant", "content": content}]
        talk.append({"role": "user", "content": "y"})
        return prompt_tokens(served, CHAT, {"max_tokens": 1, "messages": talk})

    assert tokens(answer) > tokens("36")


CALL = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (gzip.compress(b"{}", mtime=0), "compressed by gzip"),
        ("{}".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_body_that_is_not_json_is_named(served: Serving, body: bytes, reason: str) -> None:
    response = served.http.post(CHAT, content=body)
    assert response.status_code == 400
    assert reason in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "messages",
    [
        [
            {"role": "user", "content": "What is 2 + 2?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "sum", "arguments": {"a": 2, "b": 2}}}],
            },
            {"role": "tool", "content": "4"},
        ],
        [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        [{"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "anna"}],
        [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "2"}]},
        ],
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "", "tool_calls": [CALL], "refusal": None},
            {"role": "tool", "tool_call_id": "c", "content": "2", "name": "add"},
        ],
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "function_call": {"name": "add", "arguments": "{}"}},
            {"role": "function", "name": "add", "content": "2"},
        ],
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "user", "content": "why?"},
        ],
        [{"role": "system", "content": ""}, {"role": "user", "content": "hi"}],
        [{"role": "latest_reminder", "content": "2026-02-21"}, {"role": "user", "content": "hi"}],
        [{"role": "developer", "content": "hi", "tools": TOOLS}],
    ],
)
def test_messages_of_all_kinds(served: Serving, messages: list[dict[str, Any]]) -> None:
    response = served.post(CHAT, {"messages": messages, "max_tokens": 1})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "video_url", "video_url": {"url": "http://x"}},
        {"type": "made_up"},
    ],
)
def test_parts_that_are_not_text_are_refused_by_name(served: Serving, part: dict[str, Any]) -> None:
    response = served.post(CHAT, asked([{"type": "text", "text": "hi"}, part]))
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "messages.0.content.1")
    assert part["type"] in error["message"]


# Tools.


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


# What an answer must look like.


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
