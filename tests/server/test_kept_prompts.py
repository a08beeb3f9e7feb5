"""Proves that an agent's long preamble is evaluated once: by the next request, after a restart, a
kill, and where the client wrote the model's calls again.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tiny_checkpoints import write_checkpoint
from support.server.serving import Serving, serving
from support.waiting import exit_code_of, wait_until

import dslocal.convert as converter

N_CTX = 16_384
OPTIONS = ("--parallel", "2", "--ctx", str(N_CTX), "--no-math", "--family", "v3")
MAX_AGAIN = 0.01  # the share of a prompt that may be evaluated again
PREAMBLE = "You are an agent. " + " ".join(
    f"Rule {number}: never do {number * 37} things at once." for number in range(350)
)
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look up a number.",
        "parameters": {
            "type": "object",
            "properties": {"name": {"enum": ["Ada", "Bob"]}, "page": {"enum": [7, 8]}},
            "required": ["name", "page"],
        },
    },
}


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    """A home without anything in its cache."""
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A tiny DeepSeek-V3, whose attention to 12,000 tokens takes seconds and not minutes."""
    checkpoint = write_checkpoint(
        tmp_path / "tiny",
        "deepseek-v3",
        dtype="bf16",
        num_nextn_predict_layers=0,
        kv_lora_rank=64,
        qk_rope_head_dim=32,
        num_attention_heads=2,
        max_position_embeddings=N_CTX,
    )
    source = converter.open_checkpoint(converter.FolderSource(checkpoint))
    plan = converter.plan_conversion(source, [converter.recipe_named("Q8_0")])
    converter.write_gguf(plan, [tmp_path / "tiny.gguf"])
    return tmp_path / "tiny.gguf"


def ask(server: Serving, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the response to a conversation that has the model call the tool."""
    body = {
        "messages": messages,
        "tools": [TOOL],
        "tool_choice": "required",
        "temperature": 0,
        "max_tokens": 80,
    }
    answer = server.post("/v1/chat/completions", body, timeout=300)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rewritten(message: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as clients send it back: arguments with other spaces and another order."""
    (call,) = message["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    turned = json.dumps(dict(sorted(arguments.items(), reverse=True)), indent=3)
    assert turned != call["function"]["arguments"]
    function = {"name": call["function"]["name"], "arguments": turned}
    return {"role": "assistant", "content": None, "tool_calls": [{**call, "function": function}]}


def next_turn(messages: list[dict[str, Any]], answer: dict[str, Any]) -> list[dict[str, Any]]:
    message = rewritten(answer["choices"][0]["message"])
    # its vocabulary has no tokens for results of tools
    return [*messages, message, {"role": "user", "content": "It says 42. And the next one?"}]


def evaluated_again(before: dict[str, Any], answer: dict[str, Any]) -> float:
    """Return the share of the tokens of the exchange before that were evaluated again."""
    cached = int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    known = int(before["usage"]["prompt_tokens"])
    return max(0.0, 1 - cached / known)


def called(answer: dict[str, Any]) -> Any:
    return answer["choices"][0]["message"]["tool_calls"][0]["function"]


def kept(home: Path) -> list[Path]:
    return list((home / "cache" / "prompts").glob("*/*.kv"))


FIRST = [
    {"role": "system", "content": PREAMBLE},
    {"role": "user", "content": "Look up Ada on page 7."},
]


@pytest.mark.slow
def test_a_preamble_is_evaluated_once(own_home: Path, tiny: Path) -> None:
    with serving(own_home, *OPTIONS, models=[str(tiny)]) as server:
        first = ask(server, FIRST)
        assert first["usage"]["prompt_tokens"] > 12_000
        messages = next_turn(FIRST, first)
        second = ask(server, messages)
        assert evaluated_again(first, second) < MAX_AGAIN
        other = ask(server, [FIRST[0], {"role": "user", "content": "Look up Bob on page 8."}])
        assert evaluated_again(first, other) < MAX_AGAIN
        later = next_turn(messages, second)
    assert kept(own_home)
    with serving(own_home, *OPTIONS, models=[str(tiny)]) as server:
        third = ask(server, later)
        assert evaluated_again(second, third) < MAX_AGAIN


@pytest.mark.slow
def test_a_preamble_outlives_a_kill_and_damage_is_deleted(own_home: Path, tiny: Path) -> None:
    with serving(own_home, *OPTIONS, models=[str(tiny)]) as server:
        first = ask(server, FIRST)
        wait_until(lambda: bool(kept(own_home)))
        os.kill(server.worker, signal.SIGKILL)
        exit_code_of(server.process)
    with serving(own_home, *OPTIONS, models=[str(tiny)]) as server:
        second = ask(server, next_turn(FIRST, first))
        assert evaluated_again(first, second) < MAX_AGAIN
    for file in kept(own_home):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with serving(own_home, *OPTIONS, models=[str(tiny)]) as server:
        again = ask(server, FIRST)
        assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        assert called(again) == called(first)
