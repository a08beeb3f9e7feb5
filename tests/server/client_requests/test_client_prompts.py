"""Proves that prompts, gaps of code and numbers of real clients are answered as they expect."""

from __future__ import annotations

from typing import Any

import pytest
from support.server.client_bodies import CHAT, TEXT, asked, choices, message, prompt_tokens
from support.server.serving import Serving

BEGIN, HOLE = "<｜fim▁begin｜>", "<｜fim▁hole｜>"
END = "<｜fim▁end｜>"
BOS = "<｜begin▁of▁sentence｜>"
CODE = ("def add(a, b):\n", "\n\n\ndef sub(a, b):\n    return a - b\n")


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
