"""Proves that messages and reasoning switches of real clients are answered as they expect."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from support.server.client_bodies import CHAT, TOOLS, asked, message, prompt_tokens
from support.server.serving import Serving


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
